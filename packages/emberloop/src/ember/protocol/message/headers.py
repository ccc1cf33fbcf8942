"""Header fields: what arrives (`Headers`) and what is sent (`MutableHeaders`).

Names and values that are sent pass `check_name` and `check_value`, and nothing else builds a field
line: CR, LF and NUL never reach the wire.
"""

from __future__ import annotations

import re
from typing import overload

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator, Mapping
    from typing import Protocol, TypeAlias, TypeVar

    T = TypeVar("T")

    class HasItems(Protocol):
        def items(self) -> Iterable[tuple[str, str]]: ...

    HeadersInit: TypeAlias = Mapping[str, str] | HasItems | Iterable[tuple[str, str]]


# token (RFC 9110 section 5.6.2)
_name = re.compile(r"[!#$%&'*+\-.^_`|~0-9A-Za-z]+").fullmatch
# field-value (RFC 9110 section 5.5): visible characters, SP, HTAB, obs-text
_value = re.compile(r"[\t\x20-\x7e\x80-\xff]*").fullmatch


#: Fields of a response that belong to the connection, in lower case.
CONNECTION_FIELDS = frozenset(
    ("connection", "content-length", "date", "keep-alive", "transfer-encoding")
)


def check_name(name: str) -> str:
    """`name` if it is a token (RFC 9110 section 5.6.2); raises `ValueError` otherwise."""
    if not isinstance(name, str):
        raise TypeError(f"header name {name!r}: expected str, got {type(name).__name__}")
    if _name(name) is None:
        raise ValueError(f"header name {name!r} is not a token (RFC 9110 section 5.6.2)")
    return name


def check_value(name: str, value: str) -> str:
    """`value` without surrounding white space; raises `ValueError` for CR, LF, NUL, other control
    characters and anything outside latin-1 (RFC 9110 section 5.5)."""
    if not isinstance(value, str):
        raise TypeError(f"header {name}: expected a str value, got {type(value).__name__}")
    if _value(value) is None:
        bad = next(c for c in value if _value(c) is None)
        kind = "line breaks and control characters are refused"
        if ord(bad) > 0xFF:
            kind = "only latin-1 fits into a header; percent-encode it"
        raise ValueError(f"header {name}: value has the character {bad!r}; {kind}")
    return value.strip(" \t")


class _Fields:
    """The reading half: a case-insensitive multi-map of str to str, in order of arrival."""

    __slots__ = ()

    def _pairs(self) -> Iterable[tuple[str, str]]:
        raise NotImplementedError

    def _values(self, name: str) -> list[str]:
        raise NotImplementedError

    @overload
    def get(self, name: str) -> str | None: ...
    @overload
    def get(self, name: str, default: T) -> str | T: ...
    def get(self, name: str, default: object = None) -> object:
        """The first value of `name`, or `default`."""
        values = self._values(name)
        return values[0] if values else default

    def get_all(self, name: str) -> list[str]:
        """Every value of `name`, in order; empty when there is none."""
        return list(self._values(name))

    def __getitem__(self, name: str) -> str:
        values = self._values(name)
        if not values:
            raise KeyError(name)
        return values[0]

    def __contains__(self, name: object) -> bool:
        return isinstance(name, str) and bool(self._values(name))

    def items(self) -> list[tuple[str, str]]:
        """All fields as (name, value), repeated ones repeated."""
        return list(self._pairs())

    def keys(self) -> list[str]:
        """The names, each once, in order of first appearance."""
        seen: dict[str, str] = {}
        for name, _ in self._pairs():
            seen.setdefault(name.lower(), name)
        return list(seen.values())

    def values(self) -> list[str]:
        """All values, in order."""
        return [value for _, value in self._pairs()]

    def __iter__(self) -> Iterator[str]:
        return iter(self.keys())

    def __len__(self) -> int:
        return sum(1 for _ in self._pairs())

    def __eq__(self, other: object) -> bool:
        if not isinstance(other, _Fields):
            return NotImplemented
        return sorted((n.lower(), v) for n, v in self._pairs()) == sorted(
            (n.lower(), v) for n, v in other._pairs()
        )

    __hash__ = None  # type: ignore[assignment]

    def __repr__(self) -> str:
        return f"{type(self).__name__}({self.items()!r})"


class Headers(_Fields):
    """The fields of a request, immutable. Names compare without case; keys are lower case.

    `get`, `[]`: the first value; `get_all`: every value; `raw`: (name, value) bytes as received.
    """

    __slots__ = ("_index", "_raw")

    def __init__(self, fields: HeadersInit = ()) -> None:
        pairs = fields.items() if hasattr(fields, "items") else fields
        self._index: dict[str, list[str]] | None = None
        self._raw: tuple[tuple[bytes, bytes], ...] = tuple(
            (check_name(n).encode("latin-1"), check_value(n, v).encode("latin-1")) for n, v in pairs
        )

    @classmethod
    def from_raw(cls, raw: Iterable[tuple[bytes, bytes]]) -> Headers:
        """Fields that a parser has already checked."""
        self = cls.__new__(cls)
        self._index = None
        self._raw = tuple(raw)
        return self

    @property
    def raw(self) -> tuple[tuple[bytes, bytes], ...]:
        """(name, value) as the bytes that were received, in order."""
        return self._raw

    def _pairs(self) -> Iterable[tuple[str, str]]:
        return [(n.decode("latin-1").lower(), v.decode("latin-1")) for n, v in self._raw]

    def _values(self, name: str) -> list[str]:
        if self._index is None:
            index: dict[str, list[str]] = {}
            for key, value in self._pairs():
                index.setdefault(key, []).append(value)
            self._index = index
        return self._index.get(name.lower(), [])

    def __len__(self) -> int:
        return len(self._raw)


class MutableHeaders(_Fields):
    """The fields of a response. `headers[name] = value` replaces, `add` appends.

    Names and values are checked where they are set: `ValueError` for a name that is no token,
    and for CR, LF, NUL and other control characters in a value.
    """

    __slots__ = ("_encoded", "_list")

    def __init__(self, fields: HeadersInit | None = None) -> None:
        self._list: list[tuple[str, str]] = []
        #: what `encoded` gave, until something changes
        self._encoded: bytes | None = None
        if fields is not None:
            for name, value in fields.items() if hasattr(fields, "items") else fields:
                self.add(name, value)

    def _pairs(self) -> Iterable[tuple[str, str]]:
        return self._list

    def _values(self, name: str) -> list[str]:
        lower = name.lower()
        return [value for key, value in self._list if key.lower() == lower]

    def add(self, name: str, value: str) -> None:
        """Append a field; others of that name stay."""
        self._encoded = None
        self._list.append((check_name(name), check_value(name, value)))

    def __setitem__(self, name: str, value: str) -> None:
        pair = (check_name(name), check_value(name, value))
        self._encoded = None
        lower = name.lower()
        for at, (key, _) in enumerate(self._list):
            if key.lower() == lower:
                rest = [p for p in self._list[at + 1 :] if p[0].lower() != lower]
                self._list[at:] = [pair, *rest]
                return
        self._list.append(pair)

    def __delitem__(self, name: str) -> None:
        lower = name.lower()
        kept = [pair for pair in self._list if pair[0].lower() != lower]
        if len(kept) == len(self._list):
            raise KeyError(name)
        self._encoded = None
        self._list = kept

    def pop(self, name: str, default: str | None = None) -> str | None:
        """Remove every field of that name; the first value, or `default`."""
        value = self.get(name, default)
        if name in self:
            del self[name]
        return value

    def setdefault(self, name: str, value: str) -> str:
        """The first value of `name`, after setting it to `value` when there was none."""
        if name not in self:
            self.add(name, value)
        return self[name]

    def take(self, other: MutableHeaders) -> None:
        """Have the fields of `other` and no others; they were checked there."""
        self._list = list(other._list)
        self._encoded = other._encoded

    def update(self, fields: HeadersInit) -> None:
        """Replace each of the given fields."""
        for name, value in fields.items() if hasattr(fields, "items") else fields:
            self[name] = value

    @property
    def raw(self) -> tuple[tuple[bytes, bytes], ...]:
        """(name, value) as the bytes that will be sent."""
        return tuple((n.encode("latin-1"), v.encode("latin-1")) for n, v in self._list)

    def encoded(self) -> bytes | None:
        """The field lines as they are sent, kept until a field changes; None when there are some
        that the connection has a say in (Content-Length, Date, Upgrade ...)."""
        if self._encoded is None:
            lines = []
            for name, value in self._list:
                if (lower := name.lower()) in CONNECTION_FIELDS or lower == "upgrade":
                    return None
                lines.append(f"{name}: {value}\r\n")
            self._encoded = "".join(lines).encode("latin-1")
        return self._encoded

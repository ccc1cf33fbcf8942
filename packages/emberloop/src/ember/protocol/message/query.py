"""Query strings and urlencoded forms (the URL Standard's application/x-www-form-urlencoded).

Compiled with the types of `query.pxd`; `query.pyi` tells type checkers what the overloads are.
"""

from __future__ import annotations

from ember.protocol.message.quoting import unquote

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Iterator
    from typing import Any

#: Up to so many pairs are looked through; more get an index, or a query of thousands would be a way
#: to make every look-up slow.
_FEW = 8


def parse_query(query: bytes) -> list[tuple[str, str]]:
    """(name, value) pairs in order; `+` is a space; what is not UTF-8 becomes U+FFFD."""
    pairs: list[tuple[str, str]] = []
    # Every separator is ASCII, so that what is broken cannot swallow one: all is decoded at once.
    text = query.decode("utf-8", "replace")
    if "+" in text:
        text = text.replace("+", " ")
    encoded = "%" in text
    for part in text.split("&"):
        if part:
            at = part.find("=")
            name = part if at < 0 else part[:at]
            value = "" if at < 0 else part[at + 1 :]
            if encoded:
                name = decode(name)
                value = decode(value)
            pairs.append((name, value))
    return pairs


def decode(text: str) -> str:
    """`text` with every %XX replaced."""
    if "%" not in text:
        return text
    return unquote(text.encode()).decode("utf-8", "replace")


class QueryParams:
    """A multi-map of str to str: `get` and `[]` give the first value, `get_all` every one."""

    __slots__ = ("_index", "_pairs")

    def __init__(self, pairs: list[tuple[str, str]]) -> None:
        self._pairs = pairs
        self._index: dict[str, list[str]] | None = None
        if len(pairs) > _FEW:
            self._index = index_of(pairs)

    def get(self, name: str, default: Any = None) -> Any:
        """The first value of `name`, or `default`."""
        if self._index is not None:
            values = self._index.get(name)
            return default if values is None else values[0]
        for pair in self._pairs:
            if pair[0] == name:
                return pair[1]
        return default

    def get_all(self, name: str) -> list[str]:
        """Every value of `name`, in order; empty when there is none."""
        if self._index is not None:
            return list(self._index.get(name, ()))
        return [pair[1] for pair in self._pairs if pair[0] == name]

    def items(self) -> list[tuple[str, str]]:
        """All (name, value) pairs, in order, repeated ones repeated."""
        return list(self._pairs)

    def keys(self) -> list[str]:
        """The names, each once."""
        return list(dict.fromkeys([name for name, _ in self._pairs]))

    def __getitem__(self, name: str) -> str:
        value = self.get(name, None)
        if value is None:
            raise KeyError(name)
        return str(value)

    def __contains__(self, name: object) -> bool:
        return isinstance(name, str) and self.get(name, None) is not None

    def __iter__(self) -> Iterator[str]:
        return iter(self.keys())

    def __len__(self) -> int:
        return len(self._pairs)

    def __eq__(self, other: object) -> bool:
        if isinstance(other, QueryParams):
            return self.items() == other.items()
        return NotImplemented

    __hash__ = None  # type: ignore[assignment]

    def __repr__(self) -> str:
        return f"QueryParams({self._pairs!r})"


def index_of(pairs: list[tuple[str, str]]) -> dict[str, list[str]]:
    """Name to its values."""
    index: dict[str, list[str]] = {}
    for name, value in pairs:
        index.setdefault(name, []).append(value)
    return index

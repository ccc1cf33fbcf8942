"""Path converters: what `{name:converter}` accepts and what the handler gets for it.

A new one is a class here, listed in `BUILT_IN`; an application adds its own with
`app.add_converter(name, regex, to_python)`.
"""

from __future__ import annotations

import re
from collections.abc import Callable
from typing import Any


class Converter:
    """Turns the text of a path segment into a value and back."""

    name = "str"
    #: What the text must match as a whole. The built-in ones take time linear in the text.
    regex = "[^/]+"
    #: What `to_python` gives; None when that is not known.
    python_type: type | None = str
    #: Lower is tried first where several converters compete for one segment.
    order = 90
    #: Spans slashes.
    spans = False

    def __init__(self) -> None:
        self._match = re.compile(self.regex, re.ASCII | re.DOTALL).fullmatch

    def to_python(self, text: str) -> Any:
        """The value for `text`, which matches `regex`; raises ValueError to refuse it after all."""
        return text

    def to_url(self, value: Any) -> str:
        """The text for `value`, not yet percent-encoded."""
        return str(value)

    def matches(self, text: str) -> bool:
        """Whether `text` as a whole is what `regex` describes."""
        return self._match(text) is not None

    def convert(self, text: str) -> Any:
        """The value for `text`; raises ValueError when the text does not fit."""
        if self._match(text) is None:
            raise ValueError(f"{text!r} is not {self.name}")
        return self.to_python(text)


class StrConverter(Converter):
    """Any text without a slash; an encoded slash (`%2F`) is part of the value."""

    regex = ".+"


class IntConverter(Converter):
    """Decimal digits with an optional minus sign."""

    name, regex, python_type, order = "int", "-?[0-9]++", int, 10

    def to_python(self, text: str) -> int:
        return int(text)


class FloatConverter(Converter):
    """A decimal number with an optional minus sign and fraction; no exponent, no `nan`."""

    name, regex, python_type, order = "float", r"-?[0-9]++(?:\.[0-9]++)?", float, 30

    def to_python(self, text: str) -> float:
        return float(text)

    def to_url(self, value: Any) -> str:
        return f"{float(value):.17f}".rstrip("0").rstrip(".")


class UUIDConverter(Converter):
    """A UUID in its canonical form (RFC 9562 section 4), in either case."""

    name, order = "uuid", 20
    regex = "[0-9a-fA-F]{8}-[0-9a-fA-F]{4}-[0-9a-fA-F]{4}-[0-9a-fA-F]{4}-[0-9a-fA-F]{12}"
    python_type = None

    def to_python(self, text: str) -> Any:
        from uuid import UUID  # here, because most applications never need the module

        return UUID(text)


class PathConverter(Converter):
    """The rest of the path with its slashes; may be empty."""

    name, regex, order, spans = "path", ".*", 99, True


class CustomConverter(Converter):
    """What `add_converter` makes out of a regex and a function.

    The regex is asked with text that a client chose: one that backtracks, such as `(a+)+`, lets a
    client hold the loop. Possessive quantifiers (`a++`) do not backtrack.
    """

    python_type = None
    order = 50

    def __init__(
        self,
        name: str,
        regex: str,
        to_python: Callable[[str], Any],
        to_url: Callable[[Any], str] = str,
    ) -> None:
        self.name = name
        self.regex = regex
        self._to_python = to_python
        self._to_url = to_url
        if isinstance(to_python, type):
            self.python_type = to_python
        super().__init__()

    def to_python(self, text: str) -> Any:
        return self._to_python(text)

    def to_url(self, value: Any) -> str:
        return self._to_url(value)


BUILT_IN: tuple[type[Converter], ...] = (
    IntConverter,
    StrConverter,
    FloatConverter,
    UUIDConverter,
    PathConverter,
)


def built_in_converters() -> dict[str, Converter]:
    """A fresh table of the built-in converters by name."""
    return {cls.name: cls() for cls in BUILT_IN}

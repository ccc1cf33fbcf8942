"""Path converters: the text that `{name:converter}` accepts, and the value for the handler.

To add a built-in converter, write a class here and add it to `BUILT_IN`. An application adds its
own with `app.add_converter(name, regex, to_python)`.
"""

from __future__ import annotations

import re
from collections.abc import Callable
from typing import Any


class Converter:
    """Converts the text of a path segment to a value and back."""

    name = "str"
    #: The whole text must match it. Those of built-in converters take linear time.
    regex = "[^/]+"
    #: The type of the values; None if it is not known.
    python_type: type | None = str
    #: The lowest is tried first, if several converters may match one segment.
    order = 90
    #: Whether it matches text with slashes.
    spans = False

    def __init__(self) -> None:
        self._match = re.compile(self.regex, re.ASCII | re.DOTALL).fullmatch

    def to_python(self, text: str) -> Any:
        """The value for `text`, which matches `regex`. May raise ValueError to refuse it."""
        return text

    def to_url(self, value: Any) -> str:
        """The text for `value`, without percent-encoding."""
        return str(value)

    def matches(self, text: str) -> bool:
        """Whether the whole `text` matches `regex`."""
        return self._match(text) is not None

    def convert(self, text: str) -> Any:
        """The value for `text`. Raises ValueError if the text does not match."""
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
    """The rest of the path, with its slashes. It may be empty."""

    name, regex, order, spans = "path", ".*", 99, True


class CustomConverter(Converter):
    """The converter that `add_converter` makes from a regex and a function.

    Clients choose the text: with a regex that backtracks, such as `(a+)+`, a client can block the
    event loop. Possessive quantifiers (`a++`) do not backtrack.
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
    """A new dict with the built-in converters by name."""
    return {cls.name: cls() for cls in BUILT_IN}

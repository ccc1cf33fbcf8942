"""Segments with text and several parameters, `{name}-{version}.tar.gz`, split in linear time.

A regular expression with several parameters backtracks: two parameters take quadratic time, three
cubic time. This code looks at each position of a literal once for each parameter, from the last
parameter to the first.
"""

from __future__ import annotations

import re
from bisect import bisect_right
from typing import Any

from ember.routing.converters import (
    Converter,
    FloatConverter,
    IntConverter,
    StrConverter,
    UUIDConverter,
)

#: How often the regex of a custom converter is tried for one segment. A segment that needs more
#: tries does not match.
MAX_TRIES = 256

_UUID_LENGTH = 36

_digits = re.compile(r"[0-9]*+").match


class MixedSegment:
    """A segment with literal text and one or more parameters.

    Each parameter takes as much text as possible, the first one first: `{a}-{b}` splits `x-y-z`
    into `x-y` and `z`.
    """

    def __init__(self, segment: list[Any], converters: dict[str, Converter]) -> None:
        #: The texts before each parameter, and after the last one. Those between two are not empty.
        self.literals: list[str] = []
        self.converters: list[Converter] = []
        text = ""
        for part in segment:
            if isinstance(part, str):
                text = part
            else:
                self.literals.append(text)
                self.converters.append(converters[part.converter])
                text = ""
        self.literals.append(text)

    @property
    def key(self) -> str:
        """A key that is equal for segments that accept the same text."""
        return "\x00".join([*self.literals, *(c.name for c in self.converters)])

    def split(self, text: str) -> list[str] | None:
        """The text of each parameter; None if `text` does not match."""
        literals = self.literals
        stop = len(text) - len(literals[-1])
        if stop < 0 or not text.startswith(literals[0]) or not text.endswith(literals[-1]):
            return None
        ends = [stop]  # the possible ends of the current parameter, in ascending order
        chosen: list[dict[int, int]] = []
        for index in range(len(self.converters) - 1, 0, -1):
            literal = literals[index]
            longest = _Longest(self.converters[index], text, ends)
            found: dict[int, int] = {}
            places = []
            place = text.find(literal, 0, stop)
            while place >= 0:
                start = place + len(literal)
                end = longest(start)
                if end:
                    found[start] = end
                    places.append(place)
                place = text.find(literal, place + 1, stop)
            if not places:
                return None
            ends = places
            chosen.append(found)
        start = len(literals[0])
        end = _Longest(self.converters[0], text, ends)(start)
        if not end:
            return None
        parts = [text[start:end]]
        for index in range(1, len(self.converters)):
            start = end + len(literals[index])
            end = chosen[-index][start]
            parts.append(text[start:end])
        return parts


class _Longest:
    """Finds the end of the longest text of one parameter. The starts must ascend."""

    def __init__(self, converter: Converter, text: str, ends: list[int]) -> None:
        self._text = text
        self._ends = ends
        self._convert = converter
        self._tries = MAX_TRIES
        #: The end of the last run of digits: a run is read once.
        self._run = 0
        #: The position of the last decimal point, and the end of its fraction.
        self._fraction = -1, -1
        self._find = _FINDERS.get(type(converter), _Longest._by_regex)

    def __call__(self, start: int) -> int:
        """The last possible end after `start`; 0 if there is none."""
        return self._find(self, start)

    def _last_end(self, least: int, most: int) -> int:
        """The last possible end between `least` and `most`; 0 if there is none."""
        at = bisect_right(self._ends, most)
        end = self._ends[at - 1] if at else 0
        return end if end >= least else 0

    def _after_digits(self, start: int) -> int:
        if not start < self._run:
            match = _digits(self._text, start)
            assert match is not None
            self._run = match.end()
        return self._run

    def _any(self, start: int) -> int:
        return self._last_end(start + 1, len(self._text))

    def _integer(self, start: int) -> int:
        first = start + self._text.startswith("-", start)
        return self._last_end(first + 1, self._after_digits(first))

    def _number(self, start: int) -> int:
        text = self._text
        first = start + text.startswith("-", start)
        point = self._after_digits(first)
        if point > first and text.startswith(".", point):
            if self._fraction[0] != point:
                match = _digits(text, point + 1)
                assert match is not None
                self._fraction = point, match.end()
            end = self._last_end(point + 2, self._fraction[1])
            if end:
                return end
        return self._last_end(first + 1, point)

    def _uuid(self, start: int) -> int:
        end = self._last_end(start + _UUID_LENGTH, start + _UUID_LENGTH)
        return end if end and self._convert.matches(self._text[start:end]) else 0

    def _by_regex(self, start: int) -> int:
        for at in range(len(self._ends) - 1, -1, -1):
            end = self._ends[at]
            if end <= start or not self._tries:
                return 0
            self._tries -= 1
            if self._convert.matches(self._text[start:end]):
                return end
        return 0


_FINDERS = {
    StrConverter: _Longest._any,
    IntConverter: _Longest._integer,
    FloatConverter: _Longest._number,
    UUIDConverter: _Longest._uuid,
}

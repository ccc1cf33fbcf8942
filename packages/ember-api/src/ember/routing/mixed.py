"""Segments of text and parameters: `{name}-{version}.tar.gz`, split in time linear in the segment.

A regular expression of several parameters tries every way to share out what does not fit: two take
the square of the length of the segment, three its cube. Here each place where a literal stands is
looked at once for each parameter, from the last one to the first.
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

#: How often the regex of one custom converter is asked for one segment. A segment with more places
#: where its literals stand does not match.
MAX_TRIES = 256

_UUID_LENGTH = 36

_digits = re.compile(r"[0-9]*+").match


class MixedSegment:
    """A segment that holds literal text and one parameter or more.

    Each parameter takes as much as it can, the first one first, as long as the others find what
    they need: `{a}-{b}` makes `x-y` and `z` of `x-y-z`.
    """

    def __init__(self, segment: list[Any], converters: dict[str, Converter]) -> None:
        #: What stands before each parameter, and behind the last one; between two it is not empty.
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
        """Equal for segments that accept the same."""
        return "\x00".join([*self.literals, *(c.name for c in self.converters)])

    def split(self, text: str) -> list[str] | None:
        """The text of each parameter; None when `text` does not fit."""
        literals = self.literals
        stop = len(text) - len(literals[-1])
        if stop < 0 or not text.startswith(literals[0]) or not text.endswith(literals[-1]):
            return None
        ends = [stop]  # where the parameter at hand may end, rising
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
    """Where the longest text of one parameter ends, for starts that rise from call to call."""

    def __init__(self, converter: Converter, text: str, ends: list[int]) -> None:
        self._text = text
        self._ends = ends
        self._convert = converter
        self._tries = MAX_TRIES
        #: Up to where the digits go that were seen last: a run of them is read once.
        self._run = 0
        #: The point of a number that was seen last, and where its fraction ends.
        self._fraction = -1, -1
        self._find = _FINDERS.get(type(converter), _Longest._by_regex)

    def __call__(self, start: int) -> int:
        """The last possible end behind `start`; 0 when there is none."""
        return self._find(self, start)

    def _last_end(self, least: int, most: int) -> int:
        """The last possible end from `least` to `most`."""
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

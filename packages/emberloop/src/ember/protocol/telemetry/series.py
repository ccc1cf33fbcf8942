"""The memory in which a process counts its requests, so that others can add it up.

An area is a header and then records; each says itself what it counts, so that a reader needs
nothing but the memory, and processes of different versions can be summed. Every number is eight
aligned bytes with one writer, stored at once: of one that is killed in mid-write the value before
or after is left. A record is written whole before `used` says that it is there.

    header    words 0 to 15: MAGIC, used (bytes), and the numbers named below
    record    one word: kind | bytes of the label << 8 | words of the values << 24
              the label, UTF-8, its parts separated by NUL, padded with NUL to a word
              the values
"""

from __future__ import annotations

import sys
from bisect import bisect_left
from typing import NamedTuple

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Iterator

__all__ = ["BOUNDS", "Record", "Series", "read", "read_header"]

MAGIC = int.from_bytes(b"EMBERS01", sys.byteorder)

#: Words of the header.
HEADER = 16
USED, IN_FLIGHT, CONNECTIONS, ACCEPTED, LOG_DROPPED = 1, 2, 3, 4, 5

#: Kinds of records. One that changes its meaning gets a new number.
#: (route, method, status): how many requests, bytes that were sent for them.
REQUESTS = 1
#: (route, method): nanoseconds, how many were broken off, how many within each of BOUNDS, beyond.
DURATIONS = 2
#: (route, outcome): how often a cache gave that outcome.
CACHE = 3

#: Upper bounds of the durations that are counted together, in seconds.
BOUNDS = (
    0.0001,
    0.00025,
    0.0005,
    0.001,
    0.0025,
    0.005,
    0.01,
    0.025,
    0.05,
    0.1,
    0.25,
    0.5,
    1.0,
    2.5,
    5.0,
    10.0,
)
VALUES = {REQUESTS: 2, DURATIONS: len(BOUNDS) + 3, CACHE: 1}

#: What counts where no route was found, and where the request was refused before one was looked
#: for; and everything that there is no room for.
UNMATCHED, REFUSED, OTHER = "(unmatched)", "(refused)", "(other)"
#: Methods that are told apart (RFC 9110 section 9, RFC 5789), and what a client invents.
METHODS = ("GET", "HEAD", "POST", "PUT", "DELETE", "PATCH", "OPTIONS", "CONNECT", "TRACE", "QUERY")
OTHER_METHOD = "_OTHER"

#: Bytes at the end of an area that only records of OTHER may use: they always fit.
_RESERVE = 12288
_WORD = 8


class Record(NamedTuple):
    """One record, as it was read."""

    kind: int
    label: tuple[str, ...]
    values: tuple[int, ...]


class Series:
    """The writer's side of an area: where each of its numbers is.

    What an earlier process counted there stays, and is gone on with. `area` is a writable
    memoryview of bytes, aligned to eight. Raises ValueError when it is too small.
    """

    def __init__(self, area: memoryview) -> None:
        if area.nbytes < 2 * _RESERVE or area.nbytes % _WORD:
            raise ValueError(
                f"a metrics region of {area.nbytes} bytes: expected {2 * _RESERVE} or more"
            )
        self.area = area
        #: The same memory, word by word.
        self.words = area.cast("B").cast("Q")
        self._known: dict[tuple[int, tuple[str, ...]], int] = {}
        words = self.words
        if words[0] != MAGIC or not self._index():
            words[0] = 0
            for i in range(2, HEADER):
                words[i] = 0
            words[USED] = HEADER * _WORD
            words[0] = MAGIC
        # These are of now: whoever was counted by an earlier process has gone with it.
        words[IN_FLIGHT] = words[CONNECTIONS] = 0

    def _index(self) -> bool:
        try:
            shared = (self.area.nbytes - _RESERVE) // _WORD
            for at, record in _records(self.words):
                if at + len(record.values) > shared and record.label[0] != OTHER:
                    raise ValueError("the reserve is used up")
                self._known[record.kind, record.label] = at
        except ValueError:
            self._known.clear()
            return False
        return True

    def requests(self, route: str, method: str, status: int) -> int:
        """The index of the first of the values: `words[i]` requests, `words[i + 1]` bytes."""
        return self._find(REQUESTS, (route, method, str(status))) or self._overflow(
            REQUESTS, (OTHER, method, f"{status // 100}xx")
        )

    def durations(self, route: str, method: str) -> int:
        """The index of the first of the values: nanoseconds, broken off, one for each bound, one
        for what is beyond."""
        return self._find(DURATIONS, (route, method)) or self._overflow(DURATIONS, (OTHER, method))

    def cache(self, route: str, outcome: str) -> int | None:
        """The index of the value; None when there is no room."""
        return self._find(CACHE, (route, outcome))

    def _overflow(self, kind: int, label: tuple[str, ...]) -> int:
        at = self._find(kind, label, reserve=0)
        if at is None:
            raise RuntimeError(f"no room for {label} in the metrics region")
        return at

    def _find(self, kind: int, label: tuple[str, ...], reserve: int = _RESERVE) -> int | None:
        at = self._known.get((kind, label))
        return self._add(kind, label, reserve) if at is None else at

    def _add(self, kind: int, label: tuple[str, ...], reserve: int) -> int | None:
        words, count = self.words, VALUES[kind]
        text = "\0".join(label).encode("utf-8", "replace")
        label_words = -(-len(text) // _WORD)
        size = (1 + label_words + count) * _WORD
        used = words[USED]
        if len(text) > 0xFFFF or used + size > self.area.nbytes - reserve:
            return None
        start = used // _WORD
        self.area[used + _WORD : used + size] = text.ljust(size - _WORD, b"\0")
        words[start] = kind | len(text) << 8 | count << 24
        words[USED] = used + size
        at = self._known[kind, label] = start + 1 + label_words
        return at


def _records(words: memoryview) -> Iterator[tuple[int, Record]]:
    """Every record with the index of its values. Raises ValueError for what is no record."""
    area = words.cast("B")
    at, end = HEADER, words[USED] // _WORD
    if not HEADER <= end <= len(words):
        raise ValueError("the end is not inside")
    while at < end:
        head = words[at]
        kind, size, count = head & 0xFF, head >> 8 & 0xFFFF, head >> 24
        values = at + 1 + -(-size // _WORD)
        if not kind or values + count > end or VALUES.get(kind, count) != count:
            raise ValueError(f"no record at {at}")
        text = bytes(area[(at + 1) * _WORD : (at + 1) * _WORD + size]).decode("utf-8", "replace")
        numbers = tuple(words[values + i] for i in range(count))
        yield values, Record(kind, tuple(text.split("\0")), numbers)
        at = values + count


def read(area: memoryview) -> list[Record]:
    """What an area holds; nothing when nobody has written there, or in another format."""
    words = area.cast("B").cast("Q")
    if words[0] != MAGIC:
        return []
    try:
        return [record for _, record in _records(words)]
    except ValueError:
        return []


def read_header(area: memoryview) -> tuple[int, int, int, int]:
    """Requests in flight, connections open, connections accepted, log lines dropped."""
    words = area.cast("B").cast("Q")
    if words[0] != MAGIC:
        return (0, 0, 0, 0)
    return (words[IN_FLIGHT], words[CONNECTIONS], words[ACCEPTED], words[LOG_DROPPED])


def bucket(seconds: float) -> int:
    """Which of BOUNDS a duration belongs to; len(BOUNDS) when it is beyond."""
    return bisect_left(BOUNDS, seconds)

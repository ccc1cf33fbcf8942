"""What processes read of each other: the counts in shared memory, the lines of workers, and the
page that `ember top` looks at. Whatever lies there, a reader gives numbers or says why not."""

from __future__ import annotations

import json
import random
import socket
import sys
import time
from types import SimpleNamespace
from typing import Any

from ember.cli.top.figures import difference
from ember.cli.top.report import tables
from ember.cli.top.scrape import CannotScrape, Scrape
from ember.protocol.telemetry import series
from ember.server.terminal import Style
from ember.server.workers.process import WorkerProcess

from fuzz.engine import Finding

#: Bytes of an area: twice the least, as the boards' are 64 KiB and slower to make up.
SIZE = 32768
#: What stands behind an area, to see whether somebody writes there.
GUARD = b"\xa5" * 4096

_NAMES = (
    "ember_http_requests_in_flight",
    "ember_http_connections",
    "ember_http_requests_total",
    "ember_http_request_duration_seconds_bucket",
    "ember_worker_info",
    "ember_worker_requests_total",
    "ember_worker_cpu_seconds_total",
    "ember_worker_resident_memory_bytes",
    "ember_worker_heartbeat_age_seconds",
    "ember_worker_uptime_seconds",
    "ember_worker_connections",
    "ember_cache_requests_total",
)
_LABELS = {
    "route": ("/a", "/b", "\x1b[2J", "", "\u2028", "a\\nb", "ä" * 60),
    "method": ("GET", "\x1b[31m", ""),
    "status": ("200", "500", "x", "5"),
    "le": ("0.1", "+Inf", "0.2", "nan", "x", "-1", "1e999"),
    "worker": ("0", "1", "x", "٣", "9" * 5000, "²"),
    "pid": ("7", "x", "", "9" * 5000, "²"),
    "state": ("ready", "\x07"),
    "outcome": ("hit", "miss", "x"),
}
_VALUES = ("0", "1", "2", "17", "1e3", "0.5", "nan", "+Inf", "-Inf", "-5", "1e308", "x", "1_0", "")
_LINES = (
    *(b"@ready io_uring", b"@failed x", b"@stop", b"@", b"@@", b"@ ", b"Fatal", b"\n", b"\n"),
    *(b"\xff\xfe", b"\x00", b"z" * 300, b'  File "x"', b"\r"),
)


class SharedFuzzer:
    """`check()` one round of every reader; raises `Finding`. `counts`: what came out, by kind."""

    def __init__(self, seed: int) -> None:
        self._random = random.Random(seed)
        self.counts: dict[str, int] = {}

    def check(self) -> None:
        """Raises `Finding`."""
        for reader in (self._area, self._lines, self._page):
            name = reader.__name__.strip("_")
            self._given: object = None
            try:
                came = f"{name}: {reader()}"
            except Finding:
                raise
            except Exception as error:
                raise Finding(f"{name}: {error!r} of {self._given!r}") from error
            self.counts[came] = self.counts.get(came, 0) + 1

    # -- the counts ---------------------------------------------------------------------------

    def _area(self) -> str:
        """An area that somebody wrote over: it is read, gone on with, and read again."""
        r = self._random
        memory = bytearray(SIZE) + GUARD
        area = memoryview(memory)[:SIZE]
        own = series.Series(area)
        for _ in range(r.randrange(20)):
            own.words[own.requests(f"/{r.randrange(5)}", "GET", r.choice((200, 404)))] += 1
            own.words[own.durations(f"/{r.randrange(5)}", "GET")] += 5
        used = own.words[series.USED]
        for _ in range(r.randrange(4)):
            how = r.random()
            if how < 0.3:  # a number anywhere in use
                number = r.choice((0, 1, 5, SIZE, SIZE + 8, 2**32, 2**63, r.getrandbits(64)))
                own.words[r.randrange(used // 8)] = number
            elif how < 0.6:
                memory[r.randrange(used)] ^= 1 << r.randrange(8)
            elif how < 0.7:
                at = r.randrange(used)
                memory[at : at + 16] = r.randbytes(16)
            else:  # a record with more or fewer values than its kind has
                kind, count = r.randrange(5), r.choice((0, 1, 2, 19, 30))
                label = r.choice((b"/0\0GET\x00200", b"(other)\0GET", b"/9", b""))
                words = 1 + -(-len(label) // 8) + count
                at, room = used // 8, (SIZE - used) // 8 - words
                if room < 1:
                    continue
                if r.random() < 0.3:  # the last one that there is room for
                    own.words[at] = 9 | room - 1 << 24
                    at += room
                own.words[at] = kind | len(label) << 8 | count << 24
                memory[(at + 1) * 8 : (at + 1) * 8 + len(label)] = label
                used = own.words[series.USED] = (at + words) * 8
        self._given = bytes(area[:256])
        read = series.read(area)
        for record in read:
            if any(not 0 <= value < 2**64 for value in record.values):
                raise Finding(f"no count: {record!r}")
        series.read_header(area)
        again = series.Series(area)
        size = len(again.words)
        found: tuple[tuple[int, int | None], ...] = (
            (series.REQUESTS, again.requests("/0", "GET", 200)),
            (series.REQUESTS, again.requests("/new", "PUT", 201)),
            (series.DURATIONS, again.durations("/0", "GET")),
            (series.CACHE, again.cache("/0", "hit")),
        )
        for kind, place in found:
            if place is not None and not series.HEADER < place <= size - series.VALUES[kind]:
                raise Finding(f"values of kind {kind} at {place} of {size} words: {self._given!r}")
            for word in range(series.VALUES[kind] if place is not None else 0):
                again.words[(place or 0) + word] |= 3
        if memory[SIZE:] != GUARD:
            raise Finding(f"written beyond the end: {self._given!r}")
        if not series.read(area):
            raise Finding(f"counting has destroyed a record: {self._given!r}")
        return "gone on with" if read else "begun again"

    # -- the lines of a worker ----------------------------------------------------------------

    def _lines(self) -> str:
        r = self._random
        sent = b"".join(r.choice(_LINES) for _ in range(r.randrange(20)))
        self._given = sent
        whole, stack = self._heard([sent])
        at = r.randrange(len(sent) + 1)
        pieces, same = self._heard([sent[:at], sent[at:]])
        if (whole, stack) != (pieces, same):
            raise Finding(f"a line that was cut is another: {whole!r}, {pieces!r} of {sent!r}")
        return "words" if whole else "none"

    def _heard(self, pieces: list[bytes]) -> tuple[list[tuple[str, str]], list[str]]:
        ours, theirs = socket.socketpair()
        slot: Any = SimpleNamespace(index=0, heartbeat=0)
        with ours, theirs:
            ours.setblocking(False)
            worker = WorkerProcess(1, ours, slot, 1, born=0.0)
            said = []
            for piece in pieces:
                theirs.sendall(piece)
                said += worker.receive()
            theirs.close()
            said += worker.receive()
            if not worker.hung_up:
                raise Finding("the end of a worker's line was not seen")
            worker.ended(self._random.randrange(1 << 16))
        return said, worker.stack

    # -- ember top ----------------------------------------------------------------------------

    def _page(self) -> str:
        before, after = self._text(), self._text()
        if self._random.random() < 0.5:
            after = before + after
        self._given = before, after
        try:
            figures = difference(Scrape(before, 1.0), Scrape(after, 2.0))
        except CannotScrape:
            return "refused"
        shown = tables(figures, "http://x/metrics", Style(sys.stdout), height=40)
        if any(not (c.isprintable() or c == "\n") for c in shown):
            raise Finding(f"what a terminal would take for an order: {shown!r} of {self._given!r}")
        json.dumps(figures.document("http://x/metrics"), allow_nan=False)
        return "shown"

    def _text(self) -> str:
        r = self._random
        lines = []
        for _ in range(r.randrange(12)):
            names = r.sample(list(_LABELS), r.randrange(4))
            plain = r.random() < 0.7
            labels = ",".join(
                f'{n}="{_LABELS[n][0] if plain else r.choice(_LABELS[n])}"' for n in names
            )
            value = r.choice(_VALUES[:6] if r.random() < 0.9 else _VALUES)
            lines.append(f"{r.choice(_NAMES)}{'{' + labels + '}' if labels else ''} {value}")
        text = "\n".join(lines) + "\n"
        if r.random() < 0.1:
            at = r.randrange(len(text))
            text = text[:at] + r.choice(("{", "}", '"', "\\", "\n", " ", "\x00")) + text[at + 1 :]
        return text


def run(seconds: float, seed: int) -> dict[str, int]:
    """Fuzz so long. What came out, by reader; raises `Finding`."""
    fuzzer, end = SharedFuzzer(seed), time.monotonic() + seconds
    while time.monotonic() < end:
        fuzzer.check()
    return fuzzer.counts

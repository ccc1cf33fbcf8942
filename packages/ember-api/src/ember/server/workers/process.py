"""A worker as its supervisor sees it."""

from __future__ import annotations

import contextlib
import os
import signal
import socket
import time

from ember.server.workers.board import Slot
from ember.server.workers.place import Order

#: Seconds of a start after which it is said to be slow; again after twice as long.
SLOW_START = 10.0
#: Characters of what a worker may write to its line without ending it, and lines that are kept.
_LONGEST, _LINES = 65536, 400


class WorkerProcess:
    """A child: what it has said, how long its loop has been silent, how it ended."""

    def __init__(
        self, pid: int, line: socket.socket, slot: Slot, generation: int, *, born: float
    ) -> None:
        self.pid = pid
        self.line = line
        self.slot = slot
        #: which reload it belongs to
        self.generation = generation
        #: nanoseconds of the epoch, and seconds of the monotonic clock
        self.spawned = time.time_ns()
        self.born = born
        #: seconds after which its start is said to be slow
        self.slow_after = SLOW_START
        #: when it said that it serves, and on which loop
        self.ready: float | None = None
        self.loop = ""
        #: it was told to end; a successor serves in its place
        self.retiring = False
        #: why it wants to be replaced, or could not start
        self.wish = ""
        self.failure = ""
        #: what faulthandler wrote
        self.stack: list[str] = []
        #: seconds that its loop has not turned, and when its stack was asked for
        self.silence = 0.0
        self.asked: float | None = None
        #: what it is killed for; "": it is stuck
        self.charge = ""
        #: when it has to have ended, and what is said when it has not
        self.end_by: float | None = None
        self.end_reason = ""
        #: the supervisor has killed it
        self.killed = False
        #: its end of the line is closed
        self.hung_up = False
        self._beat = 0
        self._rest = b""

    def __str__(self) -> str:
        return f"worker {self.slot.index} (pid {self.pid})"

    def hear(self) -> list[tuple[str, str]]:
        """What it has said since; the words and their text."""
        said = []
        while True:
            try:
                data = self.line.recv(65536)
            except BlockingIOError:
                break
            except OSError:
                data = b""
            if not data:
                self.hung_up = True
                break
            *lines, self._rest = (self._rest + data).split(b"\n")
            self._rest = self._rest[-_LONGEST:]
            for line in lines:
                text = line.decode(errors="replace")
                if text.startswith("@"):
                    word, _, rest = text[1:].partition(" ")
                    said.append((word, rest))
                elif len(self.stack) < _LINES:
                    self.stack.append(text)
        return said

    def note_beat(self, seconds: float) -> None:
        """`seconds` have passed: has its loop turned?"""
        beat = self.slot.heartbeat
        if beat != self._beat:
            self._beat = beat
            self.silence = 0.0
        else:
            self.silence += seconds

    def end_within(self, now: float, seconds: float, reason: str) -> None:
        """It has to end in `seconds`; an earlier time stays. `reason` is what is said when it has
        not."""
        if self.end_by is None or now + seconds < self.end_by:
            self.end_by, self.end_reason = now + seconds, reason

    def send(self, number: int) -> None:
        """A signal; nothing when it is gone."""
        with contextlib.suppress(ProcessLookupError):
            os.kill(self.pid, number)

    def tell(self, order: Order) -> None:
        """Give it an order. By the line and not by a signal: whoever ends a service often signals
        all its processes, and twice means at once."""
        with contextlib.suppress(OSError):
            self.line.send(order.value)

    def ended(self, status: int) -> str:
        """How it ended, for people; `status` is what waitpid gave."""
        if self.failure:
            return self.failure
        if os.WIFSIGNALED(status):
            number = os.WTERMSIG(status)
            try:
                name = signal.Signals(number).name
            except ValueError:
                name = "a signal"
            reason = f"it was killed by {name} ({number})"
        else:
            reason = f"it exited with status {os.WEXITSTATUS(status)}"
        if self.stack:
            reason += f": {self.stack[0].rstrip(':')}"
            frame = next((line.strip() for line in self.stack if line.startswith("  File")), "")
            reason += f", {frame}" if frame else ""
        return reason

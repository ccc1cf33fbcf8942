"""A worker process, as its supervisor sees it."""

from __future__ import annotations

import contextlib
import os
import signal
import socket
import time

from ember.server.workers.context import Order
from ember.server.workers.scoreboard import Slot

#: Seconds after which a start is logged as slow; logged again after twice as long.
SLOW_START = 10.0
#: The longest line on the control socket, and the most lines of a stack that are kept.
_LONGEST, _LINES = 65536, 400


class WorkerProcess:
    """A child process: what it has reported, how long its loop did not run, how it ended."""

    def __init__(
        self, pid: int, control_socket: socket.socket, slot: Slot, generation: int, *, born: float
    ) -> None:
        self.pid = pid
        self.control_socket = control_socket
        self.slot = slot
        #: The number of the reload that it belongs to.
        self.generation = generation
        #: When it was started: nanoseconds since the epoch, and seconds of the monotonic clock.
        self.spawned = time.time_ns()
        self.born = born
        #: Seconds after which its start is logged as slow.
        self.slow_after = SLOW_START
        #: When it reported that it serves, and on which loop.
        self.ready: float | None = None
        self.loop = ""
        #: It was told to end, because another worker replaces it.
        self.retiring = False
        #: Why it has to be replaced, and why it could not start.
        self.recycle_reason = ""
        self.failure = ""
        #: The stack that faulthandler wrote.
        self.stack: list[str] = []
        #: Seconds without a heartbeat, and when its stack was asked for.
        self.silence = 0.0
        self.stack_asked: float | None = None
        #: Why it is killed; "": its loop is stuck.
        self.kill_reason = ""
        #: Its deadline to end, and the reason to log if it does not.
        self.end_by: float | None = None
        self.end_reason = ""
        #: The supervisor has killed it.
        self.killed = False
        #: It has closed its end of the control socket.
        self.hung_up = False
        self._beat = 0
        self._rest = b""

    def __str__(self) -> str:
        return f"worker {self.slot.index} (pid {self.pid})"

    def receive(self) -> list[tuple[str, str]]:
        """The new reports, as (word, text)."""
        said = []
        while True:
            try:
                data = self.control_socket.recv(65536)
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
        """Update `silence`: `seconds` have passed since the last call."""
        beat = self.slot.heartbeat
        if beat != self._beat:
            self._beat = beat
            self.silence = 0.0
        else:
            self.silence += seconds

    def end_within(self, now: float, seconds: float, reason: str) -> None:
        """It has to end within `seconds`. An earlier deadline stays. `reason` is logged if it does
        not end in time."""
        if self.end_by is None or now + seconds < self.end_by:
            self.end_by, self.end_reason = now + seconds, reason

    def send(self, number: int) -> None:
        """Send a signal; do nothing if it has ended."""
        with contextlib.suppress(ProcessLookupError):
            os.kill(self.pid, number)

    def send_order(self, order: Order) -> None:
        """Send an order by the control socket. Not by a signal: an operator may signal all
        processes too, and a second signal means to end at once."""
        with contextlib.suppress(OSError):
            self.control_socket.send(order.value)

    def ended(self, status: int) -> str:
        """How it ended, as text. `status` is that of waitpid."""
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

"""A child process, as its supervisor sees it."""

from __future__ import annotations

import contextlib
import os
import signal
import socket
import time
from collections.abc import Callable
from typing import Any, NamedTuple

from ember.server.processes.orders import Order

#: Seconds after which a start is said to be slow; said again after twice as long.
SLOW_START = 10.0
#: The longest line on the control socket, and the most lines of a stack that are kept.
_LONGEST, _LINES = 65536, 400


class StackRequest(NamedTuple):
    """That a child was asked for its stack at `at`; `then(stack)` is called one second later.
    `kills`: the child will be killed, so that no other deadline counts."""

    at: float
    then: Callable[[list[str]], Any]
    kills: bool


class Child:
    """A child process: its deadlines, what it has reported, how it ended.

    `born`: when it was started, seconds of the monotonic clock. `waits`: it does not start to serve
    before it gets `Order.SERVE`, and has no deadlines until then.
    """

    def __init__(
        self, pid: int, control_socket: socket.socket, *, born: float, waits: bool = False
    ) -> None:
        self.pid = pid
        self.control_socket = control_socket
        self.born = born
        #: When it was started, in nanoseconds since the epoch.
        self.spawned = time.time_ns()
        self.waits = waits
        #: Since when it starts, and the seconds after which its start is said to be slow.
        self.started = born
        self.slow_after = SLOW_START
        #: Its deadline to serve, and the reason to give if it does not.
        self.serve_by: float | None = None
        self.late_reason = ""
        #: When it reported that it serves, and on which loop.
        self.ready: float | None = None
        self.loop = ""
        #: Why it could not start, or why it was killed.
        self.failure = ""
        #: The stack that faulthandler wrote, and who waits for it.
        self.stack: list[str] = []
        self.stack_request: StackRequest | None = None
        #: The order by which it was asked to end.
        self.asked: Order | None = None
        #: Its deadline to end, and the reason to give if it does not.
        self.end_by: float | None = None
        self.end_reason = ""
        #: The supervisor has killed it.
        self.killed = False
        #: It has closed its end of the control socket.
        self.hung_up = False
        self._rest = b""

    def __str__(self) -> str:
        return f"process {self.pid}"

    @property
    def starting(self) -> bool:
        """It was told to serve, does not serve yet, and was not asked to end."""
        return self.ready is None and not self.waits and self.end_by is None

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

    def serve_within(self, now: float, seconds: float | None, reason: str) -> None:
        """It has to serve within `seconds` from now; None: no limit. It is killed for `reason` if
        it does not."""
        self.serve_by = None if seconds is None else now + seconds
        self.late_reason = reason

    def end_within(self, now: float, seconds: float, reason: str) -> None:
        """It has to end within `seconds`. An earlier deadline stays. It is killed for `reason` if
        it does not end in time."""
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

    def kill(self) -> None:
        """End it at once. A stopped process (SIGSTOP) ends too."""
        self.killed = True
        self.send(signal.SIGKILL)

    def ended(self, status: int) -> str:
        """How it ended, as text. `status` is that of waitpid."""
        if self.failure:
            return self.failure
        reason = f"it {how_it_ended(status)}"
        if self.stack:
            reason += f": {self.stack[0].rstrip(':')}"
            frame = next((line.strip() for line in self.stack if line.startswith("  File")), "")
            reason += f", {frame}" if frame else ""
        return reason


def how_it_ended(status: int) -> str:
    """A wait status as text: `exited with status 1`, or `was killed by SIGKILL (9)`."""
    if not os.WIFSIGNALED(status):
        return f"exited with status {os.WEXITSTATUS(status)}"
    number = os.WTERMSIG(status)
    try:
        name = signal.Signals(number).name
    except ValueError:
        name = "a signal"
    return f"was killed by {name} ({number})"

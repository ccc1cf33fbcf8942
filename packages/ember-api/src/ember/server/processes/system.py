"""The operating system for a supervisor: signals, time, waiting, and the end of children.

Tests replace this class, so that they can run a supervisor without processes.
"""

from __future__ import annotations

import contextlib
import os
import select
import signal
import socket
import time
from collections.abc import Iterable
from typing import TypeVar

from ember.server.processes.child import Child
from ember.server.processes.launch import HANDLED

C = TypeVar("C", bound=Child)


class System:
    """The real operating system.

    - `handled`: the signals to this process that `wait` returns; SIGCHLD ends a wait too.
    - `lifeline`: closing its other end counts as a SIGTERM.
    """

    def __init__(
        self,
        lifeline: socket.socket | None = None,
        handled: Iterable[int] = frozenset(HANDLED) - {signal.SIGUSR2},
    ) -> None:
        self._lifeline = lifeline
        self._handled = (*handled, signal.SIGCHLD)
        self._poll = select.poll()
        self._wake: tuple[int, int] = (-1, -1)
        self._before: dict[int, object] = {}
        self._wakeup = -1
        self._control_sockets: dict[int, socket.socket] = {}

    def open(self) -> None:
        """Install the signal handlers; main thread only."""
        self._wake = os.pipe()
        for fd in self._wake:
            os.set_blocking(fd, False)
        self._poll.register(self._wake[0], select.POLLIN)
        if self._lifeline is not None:
            self._poll.register(self._lifeline, select.POLLIN)
        self._wakeup = signal.set_wakeup_fd(self._wake[1], warn_on_full_buffer=False)
        for number in self._handled:
            self._before.setdefault(number, signal.signal(number, _noted))

    def close(self) -> None:
        """Restore the signal handlers."""
        signal.set_wakeup_fd(self._wakeup)
        for number, handler in self._before.items():
            signal.signal(number, handler)  # type: ignore[arg-type]
        for fd in self._wake:
            os.close(fd)

    def now(self) -> float:
        """Seconds of the monotonic clock."""
        return time.monotonic()

    def epoch(self) -> int:
        """Nanoseconds since the epoch, like the times of files."""
        return time.time_ns()

    def wait(self, seconds: float) -> list[int]:
        """Wait until something happens, at most `seconds`. Returns the signals that came."""
        came = []
        for fd, _ in self._poll.poll(max(0.0, seconds) * 1000):
            if self._lifeline is not None and fd == self._lifeline.fileno():
                self._poll.unregister(fd)
                came.append(int(signal.SIGTERM))
        return self.signals() + came

    def signals(self) -> list[int]:
        """The signals that came since the last call, without waiting."""
        with contextlib.suppress(BlockingIOError):
            return [number for number in os.read(self._wake[0], 4096) if number]
        return []

    def wake(self) -> None:
        """End a `wait` from another thread."""
        with contextlib.suppress(BlockingIOError):  # full: it wakes anyway
            os.write(self._wake[1], b"\0")  # no signal has the number 0

    def watch(self, child: C) -> C:
        """Let reports of `child` end a wait."""
        self._poll.register(child.control_socket, select.POLLIN)
        self._control_sockets[child.pid] = child.control_socket
        return child

    def held(self) -> tuple[list[int], list[socket.socket]]:
        """The descriptors and the sockets of this object, which a fork has to close."""
        lifeline = [] if self._lifeline is None else [self._lifeline]
        return list(self._wake), [*self._control_sockets.values(), *lifeline]

    def reap(self, child: Child) -> int | None:
        """The wait status of a child that has ended; None while it runs."""
        try:
            pid, status = os.waitpid(child.pid, os.WNOHANG)
        except ChildProcessError:  # other code in this process has waited for it
            return 0
        return status if pid else None

    def ignore(self, child: Child) -> None:
        """Do not wait for its control socket any more: it was closed."""
        with contextlib.suppress(KeyError, ValueError):
            self._poll.unregister(child.control_socket)

    def forget(self, child: Child) -> None:
        """Release what belongs to a child that was reaped."""
        self.ignore(child)
        self._control_sockets.pop(child.pid, None)
        child.control_socket.close()


def _noted(*_: object) -> None:
    """A handler that does nothing: the number of the signal is in the wake-up pipe."""

"""The operating system for a supervisor: processes, signals, time, and waiting.

Tests replace this class, so that they can run a supervisor without processes.
"""

from __future__ import annotations

import contextlib
import os
import select
import signal
import socket
import time
from collections.abc import Callable

from ember.server.workers.context import WorkerContext
from ember.server.workers.process import WorkerProcess
from ember.server.workers.scoreboard import Slot
from ember.server.workers.spawn import HANDLED, fork

Begin = Callable[[WorkerContext], int]

#: The signals by which another process kills a worker.
KILLED = (signal.SIGKILL, signal.SIGTERM)


class System:
    """The real operating system. `lifeline`: closing its other end counts as a SIGTERM."""

    def __init__(self, lifeline: socket.socket | None = None) -> None:
        self._lifeline = lifeline
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
        for number in HANDLED:
            if number != signal.SIGUSR2:
                self._before[number] = signal.signal(number, _noted)

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
            return list(os.read(self._wake[0], 4096))
        return []

    def fork(
        self,
        context: Callable[[socket.socket], WorkerContext],
        begin: Begin,
        slot: Slot,
        generation: int,
    ) -> WorkerProcess:
        """Start a worker that runs `begin(context)`. Raises OSError."""

        def child(context: WorkerContext) -> int:
            for fd in self._wake:
                os.close(fd)
            return begin(context)

        theirs = [*self._control_sockets.values()]
        if self._lifeline is not None:
            theirs.append(self._lifeline)
        pid, control_socket = fork(context, child, theirs)
        self._poll.register(control_socket, select.POLLIN)
        self._control_sockets[pid] = control_socket
        return WorkerProcess(pid, control_socket, slot, generation, born=self.now())

    def reap(self, worker: WorkerProcess) -> int | None:
        """The wait status of a worker that has ended; None while it runs."""
        try:
            pid, status = os.waitpid(worker.pid, os.WNOHANG)
        except ChildProcessError:  # other code in this process has waited for it
            return 0
        return status if pid else None

    def ignore(self, worker: WorkerProcess) -> None:
        """Do not wait for its control socket any more: it was closed."""
        with contextlib.suppress(KeyError, ValueError):
            self._poll.unregister(worker.control_socket)

    def forget(self, worker: WorkerProcess) -> None:
        """Release what belongs to a worker that was reaped."""
        self.ignore(worker)
        self._control_sockets.pop(worker.pid, None)
        worker.control_socket.close()


def _noted(*_: object) -> None:
    """A handler that does nothing: the number of the signal is in the wake-up pipe."""

"""What a supervisor asks of the operating system: processes, signals, time, and waiting.

The supervisor decides; everything that it cannot be tested with is here.
"""

from __future__ import annotations

import contextlib
import os
import select
import signal
import socket
import time
from collections.abc import Callable

from ember.server.workers.board import Slot
from ember.server.workers.place import Place
from ember.server.workers.process import WorkerProcess
from ember.server.workers.spawn import HANDLED, fork

Begin = Callable[[Place], int]

#: How a worker ends that another process has killed.
KILLED = (signal.SIGKILL, signal.SIGTERM)


class System:
    """The real one. `lifeline`: when its other end is closed, that is a SIGTERM."""

    def __init__(self, lifeline: socket.socket | None = None) -> None:
        self._lifeline = lifeline
        self._poll = select.poll()
        self._wake: tuple[int, int] = (-1, -1)
        self._before: dict[int, object] = {}
        self._wakeup = -1
        self._lines: dict[int, socket.socket] = {}

    def open(self) -> None:
        """From now on signals are noted; main thread only."""
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
        """The handlers of before."""
        signal.set_wakeup_fd(self._wakeup)
        for number, handler in self._before.items():
            signal.signal(number, handler)  # type: ignore[arg-type]
        for fd in self._wake:
            os.close(fd)

    def now(self) -> float:
        """Seconds of the monotonic clock."""
        return time.monotonic()

    def epoch(self) -> int:
        """Nanoseconds of the epoch, as files have them."""
        return time.time_ns()

    def wait(self, seconds: float) -> list[int]:
        """Until something happens, `seconds` at most; the signals that came."""
        came = []
        for fd, _ in self._poll.poll(max(0.0, seconds) * 1000):
            if self._lifeline is not None and fd == self._lifeline.fileno():
                self._poll.unregister(fd)
                came.append(int(signal.SIGTERM))
        return self.signals() + came

    def signals(self) -> list[int]:
        """The signals that have come by now, without waiting."""
        with contextlib.suppress(BlockingIOError):
            return list(os.read(self._wake[0], 4096))
        return []

    def fork(
        self, place: Callable[[socket.socket], Place], begin: Begin, slot: Slot, generation: int
    ) -> WorkerProcess:
        """A worker that does `begin(place)`. Raises OSError."""

        def child(place: Place) -> int:
            for fd in self._wake:
                os.close(fd)
            return begin(place)

        theirs = [*self._lines.values()]
        if self._lifeline is not None:
            theirs.append(self._lifeline)
        pid, line = fork(place, child, theirs)
        self._poll.register(line, select.POLLIN)
        self._lines[pid] = line
        return WorkerProcess(pid, line, slot, generation, born=self.now())

    def reap(self, worker: WorkerProcess) -> int | None:
        """What waitpid says of a worker that has ended; None while it lives."""
        try:
            pid, status = os.waitpid(worker.pid, os.WNOHANG)
        except ChildProcessError:  # whoever waits for any child has got it
            return 0
        return status if pid else None

    def ignore(self, worker: WorkerProcess) -> None:
        """Its end of the line is closed: that is no news any more."""
        with contextlib.suppress(KeyError, ValueError):
            self._poll.unregister(worker.line)

    def forget(self, worker: WorkerProcess) -> None:
        """It has been reaped."""
        self.ignore(worker)
        self._lines.pop(worker.pid, None)
        worker.line.close()


def _noted(*_: object) -> None:
    """The wake-up pipe has the number."""

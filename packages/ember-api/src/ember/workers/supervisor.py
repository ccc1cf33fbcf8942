"""The process that stays: it starts the workers, watches them, replaces them, ends them.

It holds the listening sockets and serves nothing itself: no event loop, no thread. Everything it
knows comes from three places: signals, the line to each worker, and the board.
"""

from __future__ import annotations

import contextlib
import logging
import os
import select
import signal
import socket
import time
from collections.abc import Callable, Iterable
from typing import TYPE_CHECKING

from ember.options import StartError
from ember.workers.board import Board, State
from ember.workers.place import Order, Place
from ember.workers.process import WorkerProcess
from ember.workers.spawn import HANDLED, fork
from ember.workers.stuck import busy_route, main_stack

if TYPE_CHECKING:
    from ember.limits import ServerLimits
    from ember.routes import Route
    from ember.workers.sockets import Sockets

logger = logging.getLogger("ember.workers")

#: Seconds between two looks at the heartbeats.
LOOK = 0.5
#: Seconds that a stuck worker has to write its stack.
LAST_WORDS = 1.0
#: A worker that served for less seconds has failed, and the next one may be let wait.
HEALTHY = 10.0
#: Seconds until the next try, after so many failures in a row: the first are replaced at once.
BACK_OFF = (0.0, 0.0, 0.5, 1.0, 2.0, 4.0, 8.0, 16.0, 30.0)

Begin = Callable[[Place], int]


class Supervisor:
    """Keeps `board.workers` workers serving on `sockets`.

    - `begin`: what a worker does first, in a fork of this process.
    - `begin_anew`: the same for workers that a reload starts; None: as before.
    - `replace`: whether dead workers are replaced.
    - `on_ready`: called with the name of the loop when all serve for the first time.
    - `lifeline`: when its other end is closed, the server ends.
    """

    def __init__(
        self,
        board: Board,
        sockets: Sockets,
        limits: ServerLimits,
        begin: Begin,
        *,
        begin_anew: Begin | None = None,
        replace: bool = True,
        routes: Iterable[Route] = (),
        on_ready: Callable[[str], object] = lambda loop: None,
        lifeline: socket.socket | None = None,
    ) -> None:
        self._board = board
        self._sockets = sockets
        self._timeout = limits.worker_timeout
        self._begin = begin
        self._begin_anew = begin_anew or begin
        self._replace = replace
        self._routes = routes
        self._on_ready = on_ready
        self._lifeline = lifeline
        self._workers: dict[int, WorkerProcess] = {}
        self._poll = select.poll()
        self._signals: list[int] = []
        self._wake: tuple[int, int] = (-1, -1)
        self._stops = 0
        #: the newest reload, and the newest that has a worker that serves
        self._wanted = self._proven = 0
        #: when each began, nanoseconds of the epoch
        self._begun: dict[int, int] = {}
        #: the worker that starts in the place of another
        self._candidate: WorkerProcess | None = None
        self._replaced: WorkerProcess | None = None
        self._failures = 0
        self._next_try = 0.0
        self._looked = time.monotonic()

    # -- the life of the server ---------------------------------------------------------------

    def run(self) -> None:
        """Until told to stop, or nobody serves any more. Raises StartError when the first workers
        cannot start, or when none is left and none is replaced."""
        before = self._install()
        try:
            self._start()
            while self._workers or (self._replace and not self._stops):
                self._turn()
            if not self._stops:
                raise StartError("no worker is left, and necromancer=False replaces none")
        finally:
            for worker in self._workers.values():
                worker.send(signal.SIGKILL)
                os.waitpid(worker.pid, 0)
                self._forget(worker)
            self._sockets.close()
            self._sockets.unlink()
            self._uninstall(before)

    def _start(self) -> None:
        """The first worker, and when that serves the others: what keeps all of them from starting
        is said once."""
        self._spawn(self._wanted)
        while not self._stops:
            serving = [worker for worker in self._workers.values() if worker.ready is not None]
            if len(serving) == self._board.workers:
                self._on_ready(serving[0].loop)
                return
            if serving:
                for _ in range(self._board.workers - len(self._workers)):
                    self._spawn(self._wanted)
            self._turn(starting=True)

    def _turn(self, *, starting: bool = False) -> None:
        """Wait for something, and see to everything."""
        for fd, _ in self._poll.poll(self._patience() * 1000):
            if fd == self._wake[0]:
                self._signals += os.read(fd, 4096)
            elif self._lifeline is not None and fd == self._lifeline.fileno():
                self._poll.unregister(fd)
                self._signals.append(signal.SIGTERM)
        for worker in tuple(self._workers.values()):
            self._listen(worker)
        self._reap(starting=starting)
        while self._signals:
            self._on_signal(self._signals.pop(0))
        self._look()
        if not starting and not self._stops:
            self._restock()
            self._renew()

    def _patience(self) -> float:
        waits = [LOOK if self._timeout is not None or self._candidate is not None else 5.0]
        if self._missing() and self._replace:
            waits.append(max(0.0, self._next_try - time.monotonic()))
        return 0.01 if any(w.asked is not None for w in self._workers.values()) else min(waits)

    # -- workers ------------------------------------------------------------------------------

    def _spawn(self, generation: int) -> WorkerProcess | None:
        """Start a worker in a free slot; None when there is none, or no memory for it."""
        taken = {worker.slot.index for worker in self._workers.values()}
        slot = next((slot for slot in self._board.slots if slot.index not in taken), None)
        if slot is None:
            return None

        since = 0
        if self._wanted == self._proven and self._begin_anew is not self._begin:
            # Who begins after its reload is over must not run what was put there since, alone.
            since = self._begun.get(generation, 0)

        def place(line: socket.socket) -> Place:
            return Place(self._board, slot.index, self._sockets.sockets, line, since)

        lines = [worker.line for worker in self._workers.values()]
        if self._lifeline is not None:
            lines.append(self._lifeline)
        begin = self._begin_anew if generation else self._begin
        try:
            pid, line = fork(place, self._in_child(begin), lines)
        except OSError as error:
            self._failures += 1
            self._wait()
            logger.error("a worker cannot be started: %s", error.strerror)
            return None
        worker = self._workers[pid] = WorkerProcess(pid, line, slot, generation)
        self._poll.register(line, select.POLLIN)
        return worker

    def _in_child(self, begin: Begin) -> Begin:
        def child(place: Place) -> int:
            for fd in self._wake:
                os.close(fd)
            return begin(place)

        return child

    def _listen(self, worker: WorkerProcess) -> None:
        said = worker.hear()
        if worker.hung_up:
            self._ignore(worker)
        for word, text in said:
            if word == "changed":
                self._moved_on(worker, text)
            elif word == "ready":
                worker.ready = time.monotonic()
                worker.loop = text
                self._serves(worker)
            elif word == "failed":
                worker.failure = text
            elif word == "recycle":
                worker.wish = text
            elif word == "stop":
                self._signals.append(signal.SIGTERM)

    def _moved_on(self, worker: WorkerProcess, file: str) -> None:
        """It runs a newer program than the others: theirs cannot be had any more."""
        if worker.generation != self._wanted:
            return
        self._reload(worker.spawned)
        worker.generation = self._wanted
        logger.warning(
            "%s: %s was changed after the last reload; all workers are replaced by such that run "
            "the program as it is now",
            worker,
            file,
        )

    def _reload(self, moment: int) -> None:
        self._wanted += 1
        self._begun[self._wanted] = moment

    def _serves(self, worker: WorkerProcess) -> None:
        self._proven = max(self._proven, worker.generation)
        if worker is self._candidate:
            old, self._candidate, self._replaced = self._replaced, None, None
            if old is not None and old.pid in self._workers:
                logger.info("%s serves in the place of %s", worker, old)
                old.retiring = True
                old.tell(Order.RETIRE)

    def _reap(self, *, starting: bool) -> None:
        for worker in tuple(self._workers.values()):
            pid, status = os.waitpid(worker.pid, os.WNOHANG)
            if pid:
                self._listen(worker)
                self._forget(worker)
                self._ended(worker, status, starting=starting)

    def _forget(self, worker: WorkerProcess) -> None:
        self._workers.pop(worker.pid, None)
        self._ignore(worker)
        worker.line.close()
        if worker.slot.pid == worker.pid:
            worker.slot.end()

    def _ignore(self, worker: WorkerProcess) -> None:
        with contextlib.suppress(KeyError):
            self._poll.unregister(worker.line)

    def _ended(self, worker: WorkerProcess, status: int, *, starting: bool) -> None:
        reason = worker.ended(status)
        if self._stops or worker.retiring:
            if status not in (0, signal.SIGTERM):
                logger.warning("%s was to end, but %s", worker, reason)
            return
        if starting:
            raise StartError(reason if worker.failure else f"a worker did not start: {reason}")
        if worker is self._candidate:
            self._candidate = self._replaced = None
            if worker.generation > self._proven:
                self._wanted = self._proven
                logger.error("the reload was given up, the old workers go on: %s", reason)
                return
        elif worker is self._replaced:
            self._candidate = self._replaced = None  # what was to succeed it replaces it
        lived = time.monotonic() - worker.ready if worker.ready is not None else 0.0
        self._failures = 0 if lived >= HEALTHY else self._failures + 1
        self._wait()
        what = "has ended" if worker.ready is not None else "did not start"
        if not self._replace:
            logger.error("%s %s: %s", worker, what, reason)
        elif self._failures < 3:
            logger.error("%s %s: %s; another one takes its place", worker, what, reason)
        else:
            logger.error(
                "%s %s: %s; that were %d in a row, the next try is in %g s",
                worker,
                what,
                reason,
                self._failures,
                self._back_off(),
            )

    def _back_off(self) -> float:
        return BACK_OFF[min(self._failures, len(BACK_OFF) - 1)]

    def _wait(self) -> None:
        self._next_try = time.monotonic() + self._back_off()

    # -- replacing ----------------------------------------------------------------------------

    def _missing(self) -> int:
        serving = sum(not worker.retiring for worker in self._workers.values())
        return self._board.workers - serving + (self._candidate is not None)

    def _restock(self) -> None:
        """Replace the dead."""
        if not self._replace or time.monotonic() < self._next_try:
            return
        for _ in range(self._missing()):
            if self._spawn(self._proven) is None:
                return

    def _renew(self) -> None:
        """Replace the next one that is outdated, or asked for it; one at a time."""
        if self._candidate is not None or time.monotonic() < self._next_try or self._missing() > 0:
            return
        for worker in self._workers.values():
            outdated = worker.generation < self._wanted
            if worker.ready is None or worker.retiring or not (outdated or worker.wish):
                continue
            if worker.wish:
                logger.warning("%s is replaced: %s", worker, worker.wish)
            self._candidate = self._spawn(self._wanted)
            self._replaced = worker if self._candidate is not None else None
            return

    # -- signals ------------------------------------------------------------------------------

    def _on_signal(self, number: int) -> None:
        if number in (signal.SIGTERM, signal.SIGINT):
            self._stop()
        elif number == signal.SIGHUP:
            from ember.workers.terminals import terminal_is_gone

            if terminal_is_gone():
                self._stop()
            elif not self._stops:
                self._reload(time.time_ns())
                logger.info("SIGHUP: the workers are replaced one by one")
        elif number == signal.SIGUSR1:
            from ember.workers.logs import reopen_logs

            reopen_logs()
            for worker in self._workers.values():
                if worker.ready is not None:
                    worker.send(signal.SIGUSR1)

    def _stop(self) -> None:
        """Once: drain. Twice: drop what is in flight. Three times: kill."""
        self._stops += 1
        self._sockets.close()
        for worker in self._workers.values():
            if self._stops > 2:
                worker.send(signal.SIGKILL)
            elif worker.ready is None:
                worker.send(signal.SIGTERM)  # perhaps it does not listen yet
            else:
                worker.tell(Order.STOP if self._stops == 1 else Order.ABORT)

    # -- stuck workers ------------------------------------------------------------------------

    def _look(self) -> None:
        now = time.monotonic()
        # Had this process been stopped too, the silence would not be theirs.
        passed, self._looked = min(now - self._looked, 2 * LOOK), now
        if self._timeout is None:
            return
        for worker in self._workers.values():
            if worker.asked is not None:
                if now - worker.asked > LAST_WORDS:
                    self._kill(worker)
                continue
            if worker.slot.pid == worker.pid and worker.slot.state is not State.STARTING:
                worker.note_beat(passed)
                if worker.silence > self._timeout:
                    worker.asked = now
                    worker.stack.clear()
                    worker.send(signal.SIGUSR2)

    def _kill(self, worker: WorkerProcess) -> None:
        stack = main_stack(worker.stack)
        route = busy_route(stack, self._routes)
        logger.error(
            "%s is stuck: its loop has not turned for %.0f s; %s\n%s",
            worker,
            worker.silence,
            f"it is in {route}" if route else "no handler is in its stack",
            "\n".join(stack) or "(it wrote no stack: it is stopped, or waits for the kernel)",
        )
        worker.failure = f"it was stuck{' in ' + route if route else ''}, and killed"
        worker.asked = float("inf")
        worker.send(signal.SIGKILL)

    # -- set-up -------------------------------------------------------------------------------

    def _install(self) -> dict[int, object]:
        self._wake = os.pipe()
        for fd in self._wake:
            os.set_blocking(fd, False)
        self._poll.register(self._wake[0], select.POLLIN)
        if self._lifeline is not None:
            self._poll.register(self._lifeline, select.POLLIN)
        before: dict[int, object] = {-1: signal.set_wakeup_fd(self._wake[1])}
        for number in HANDLED:
            if number != signal.SIGUSR2:
                before[number] = signal.signal(number, _noted)
        return before

    def _uninstall(self, before: dict[int, object]) -> None:
        signal.set_wakeup_fd(before.pop(-1))  # type: ignore[arg-type]
        for number, handler in before.items():
            signal.signal(number, handler)  # type: ignore[arg-type]
        for fd in self._wake:
            os.close(fd)


def _noted(*_: object) -> None:
    """The wake-up pipe has the number."""

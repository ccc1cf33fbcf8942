"""The supervisor: it starts, watches, replaces and ends the workers.

It holds the listening sockets and serves no requests: it has no event loop and no threads.
"""

from __future__ import annotations

import logging
import signal
import socket
from collections.abc import Callable, Iterable
from typing import TYPE_CHECKING

from ember.server.options import StartError
from ember.server.processes.children import Children, StopTimes
from ember.server.processes.deadlines import CHECK_INTERVAL
from ember.server.processes.orders import Order
from ember.server.workers.context import WorkerContext
from ember.server.workers.ending import HURRY, LEAST_FOR_HOOKS, START_END, stop_time
from ember.server.workers.overdue import StuckLoops, WorkerLog
from ember.server.workers.scoreboard import Scoreboard
from ember.server.workers.system import KILLED, Begin, WorkerSystem

if TYPE_CHECKING:
    from ember.limits import ServerLimits
    from ember.routing.route import Route
    from ember.server.workers.process import WorkerProcess
    from ember.server.workers.sockets import Sockets

logger = logging.getLogger("ember.workers")

#: Seconds after a worker's own deadline to end, before it is killed.
MARGIN = 1.5
#: Why a worker is killed that was told to stop.
LATE = "it did not end within shutdown_timeout"
#: Seconds in which a new worker has to end if a newer reload replaces it before it serves.
DROP = 1.0
#: A worker that served for fewer seconds has failed; the next one may have to wait (BACK_OFF).
HEALTHY = 10.0
#: Seconds until the next try, by the number of failures in a row.
BACK_OFF = (0.0, 0.0, 0.5, 1.0, 2.0, 4.0, 8.0, 16.0, 30.0)


class Supervisor:
    """Keeps `board.workers` workers serving on `sockets`.

    - `begin`: the function that a worker runs, in a fork of this process.
    - `begin_reexec`: the same for workers of a reload; None: `begin`.
    - `replace`: whether dead workers are replaced.
    - `on_ready`: called once with the name of the loop, when all workers serve.
    - `system`: the operating system; tests give another one.
    """

    def __init__(
        self,
        board: Scoreboard,
        sockets: Sockets,
        limits: ServerLimits,
        begin: Begin,
        *,
        begin_reexec: Begin | None = None,
        replace: bool = True,
        routes: Iterable[Route] = (),
        on_ready: Callable[[str], object] = lambda loop: None,
        system: WorkerSystem | None = None,
    ) -> None:
        self._board = board
        self._sockets = sockets
        self._begin = begin
        self._begin_reexec = begin_reexec or begin
        self._replace = replace
        self._on_ready = on_ready
        self._system = system or WorkerSystem()
        times = StopTimes(
            starting=START_END + MARGIN / 2,
            serving=stop_time(limits) + MARGIN,
            late=LATE,
            hurried=HURRY + MARGIN / 2,
        )
        self._children: Children[WorkerProcess] = Children(self._system, WorkerLog(), times)
        self._workers = self._children.running
        self._stuck = StuckLoops(limits, routes)
        self._start_timeout = limits.start_timeout
        self._retire_time = limits.shutdown_timeout + LEAST_FOR_HOOKS + MARGIN
        #: The newest reload, and the newest that has a worker that serves.
        self._wanted = self._proven = 0
        #: When each reload began, nanoseconds since the epoch.
        self._begun: dict[int, int] = {}
        #: The worker that is starting to replace another one.
        self._candidate: WorkerProcess | None = None
        self._replaced: WorkerProcess | None = None
        self._failures = 0
        #: When the last worker failed. Workers that were started before that do not count again.
        self._failed = float("-inf")
        self._next_try = float("-inf")

    # -- the life of the server ---------------------------------------------------------------

    def run(self) -> None:
        """Run until told to stop, or until no worker is left. Raises StartError if the first
        workers cannot start, or if no worker is left and none is replaced."""
        self._system.open()
        try:
            self._live()
        finally:
            for worker in self._children.kill_all():  # only after an error in this class
                self._free(worker)
            self._sockets.close()
            self._sockets.unlink()
            self._system.close()

    def _live(self) -> None:
        try:
            self._start()
        except StartError:
            # The workers that serve already stop, as after a signal.
            self._stop()
            while self._workers:
                self._turn()
            raise
        while self._workers or (self._replace and not self._stops):
            self._turn()
        if not self._stops:
            raise StartError("no worker is left, and with necromancer=False none is replaced")

    def _start(self) -> None:
        """Start the first worker, then the others: so a common error is reported once."""
        self._spawn_first()
        while not self._stops:
            serving = [worker for worker in self._workers.values() if worker.ready is not None]
            if len(serving) == self._board.workers:
                self._on_ready(serving[0].loop)
                return
            if serving:
                for _ in range(self._board.workers - len(self._workers)):
                    self._spawn_first()
            self._turn(starting=True)

    def _spawn_first(self) -> None:
        if self._spawn(self._wanted) is None:
            raise StartError("a worker cannot be started; see the log")

    def _turn(self, *, starting: bool = False) -> None:
        """Wait for an event, and handle everything that has happened."""
        events = self._children.wait(self._timeout())
        for worker, _ in events.ended:
            self._free(worker)
        for worker, word, text in events.reports:
            self._reported(worker, word, text)
        for number in events.signals:
            self._on_signal(number)
        for worker, status in events.ended:
            self._ended(worker, status, starting=starting)
        self._children.look()
        self._stuck.look(self._workers.values(), self._children.deadlines, self._system.now())
        if not starting and not self._stops:
            self._restock()
            self._renew()

    @property
    def _stops(self) -> int:
        return self._children.stops

    def _timeout(self) -> float:
        timeout = self._stuck.until()
        if self._replace and not self._stops and self._missing():
            timeout = min(timeout, max(0.0, self._next_try - self._system.now()))
        return timeout

    # -- workers ------------------------------------------------------------------------------

    def _spawn(self, generation: int) -> WorkerProcess | None:
        """Start a worker in a free slot; None if no slot is free, or if the fork fails."""
        taken = {worker.slot.index for worker in self._workers.values()}
        slot = next((slot for slot in self._board.slots if slot.index not in taken), None)
        if slot is None:
            self._next_try = self._system.now() + CHECK_INTERVAL  # retiring workers have them
            return None

        since = 0
        if self._wanted == self._proven and self._begin_reexec is not self._begin:
            # A replacement after a reload must not be the only worker with still newer code.
            since = self._begun.get(generation, 0)

        def context(control: socket.socket) -> WorkerContext:
            return WorkerContext(self._board, slot.index, self._sockets.sockets, control, since)

        begin = self._begin_reexec if generation else self._begin
        try:
            worker = self._system.fork(context, begin, slot, generation)
        except OSError as error:
            self._failures += 1
            self._wait()
            logger.error("a worker cannot be started: %s", error.strerror)
            return None
        limit = self._start_timeout
        late = "" if limit is None else f"it did not serve within start_timeout={limit:g} s"
        worker.serve_within(worker.born, limit, late)
        return self._children.add(worker)

    def _reported(self, worker: WorkerProcess, word: str, text: str) -> None:
        if word == "changed":
            self._moved_on(worker, text)
        elif word == "ready":
            self._serves(worker)
        elif word == "recycle":
            worker.recycle_reason = text
        elif word == "stop":
            self._stop()

    def _moved_on(self, worker: WorkerProcess, file: str) -> None:
        """The worker runs newer code than the others: the files were changed after the reload."""
        if worker.generation != self._wanted:
            return
        self._reload(worker.spawned)
        worker.generation = self._wanted
        logger.warning(
            "%s: %s was changed after the last reload; all workers are replaced, so that all run "
            "the current code",
            worker,
            file,
        )

    def _reload(self, moment: int) -> None:
        self._wanted += 1
        self._begun[self._wanted] = moment

    def _serves(self, worker: WorkerProcess) -> None:
        if self._stops or worker.retiring:
            return  # it was told to end just when it was ready
        self._proven = max(self._proven, worker.generation)
        if worker is self._candidate:
            old, self._candidate, self._replaced = self._replaced, None, None
            if old is not None and old.pid in self._workers:
                logger.info("%s serves in the place of %s", worker, old)
                old.retiring = True
                self._children.end(old, Order.RETIRE, self._retire_time, LATE)

    def _free(self, worker: WorkerProcess) -> None:
        """Free the slot of a worker that has ended."""
        if worker.slot.pid == worker.pid:
            worker.slot.end()

    def _ended(self, worker: WorkerProcess, status: int, *, starting: bool) -> None:
        reason = worker.ended(status)
        if worker is self._replaced:
            self._replaced = None
        if self._stops or worker.retiring:
            if status not in (0, signal.SIGTERM) and not worker.killed:
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
        self._count_failure(worker, status)
        what = "has ended" if worker.ready is not None else "did not start"
        if not self._replace:
            logger.error("%s %s: %s", worker, what, reason)
        elif self._failures < 3:
            logger.error("%s %s: %s; another one takes its place", worker, what, reason)
        else:
            logger.error(
                "%s %s: %s; %d failures in a row, the next try is in %g s",
                worker,
                what,
                reason,
                self._failures,
                self._back_off(),
            )

    def _count_failure(self, worker: WorkerProcess, status: int) -> None:
        """Count failures in a row. Workers that are killed at the same time count as one
        failure."""
        now = self._system.now()
        if worker.ready is not None and now - worker.ready >= HEALTHY:
            self._failures = 0
        elif not (status in KILLED and worker.ready is not None and worker.born < self._failed):
            self._failures += 1
        else:
            return
        self._failed = now
        self._wait()

    def _back_off(self) -> float:
        return BACK_OFF[min(self._failures, len(BACK_OFF) - 1)]

    def _wait(self) -> None:
        self._next_try = self._system.now() + self._back_off()

    # -- replacing ----------------------------------------------------------------------------

    def _missing(self) -> int:
        serving = sum(not worker.retiring for worker in self._workers.values())
        # A candidate counts in addition, while the worker that it replaces still serves.
        return self._board.workers - serving + (self._replaced is not None)

    def _restock(self) -> None:
        """Replace dead workers."""
        if not self._replace or self._system.now() < self._next_try:
            return
        for _ in range(self._missing()):
            if self._spawn(self._proven) is None:
                return

    def _renew(self) -> None:
        """Replace the next worker that is outdated or has a recycle reason; one at a time."""
        if self._candidate is not None or self._missing() > 0:
            return
        if self._system.now() < self._next_try:
            return
        for worker in self._workers.values():
            outdated = worker.generation < self._wanted
            if worker.ready is None or worker.retiring or not (outdated or worker.recycle_reason):
                continue
            if worker.recycle_reason:
                logger.warning("%s is replaced: %s", worker, worker.recycle_reason)
            self._candidate = self._spawn(self._wanted)
            self._replaced = worker if self._candidate is not None else None
            return

    # -- signals ------------------------------------------------------------------------------

    def _on_signal(self, number: int) -> None:
        if number in (signal.SIGTERM, signal.SIGINT):
            self._stop()
        elif number == signal.SIGHUP:
            from ember.server.workers.terminals import terminal_is_gone

            if terminal_is_gone():
                self._stop()
            elif not self._stops:
                self._drop()
                self._reload(self._system.epoch())
                logger.info("SIGHUP: the workers are replaced one by one")
        elif number == signal.SIGUSR1:
            from ember.server.workers.logs import reopen_logs

            reopen_logs()
            for worker in self._workers.values():
                if worker.ready is not None:
                    worker.send(signal.SIGUSR1)

    def _drop(self) -> None:
        """Drop the candidate: a newer reload has come before it serves. It may hang."""
        worker, self._candidate, self._replaced = self._candidate, None, None
        if worker is not None:
            logger.info("%s is given up: a newer reload has come", worker)
            worker.retiring = True
            self._children.end(worker, Order.STOP, DROP, "a newer reload has come")

    def _stop(self) -> None:
        """The first time: drain. The second: drop requests in flight. The third: kill."""
        self._sockets.close()
        self._children.stop()

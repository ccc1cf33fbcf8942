"""Workers that take too long: to start, to turn their loop, to end. Each is asked for its stack,
which goes to the log, and then killed."""

from __future__ import annotations

import logging
import signal
from collections.abc import Collection, Iterable
from typing import TYPE_CHECKING

from ember.server.workers.board import State
from ember.server.workers.stuck import busy_route, main_stack

if TYPE_CHECKING:
    from ember.limits import ServerLimits
    from ember.routing.route import Route
    from ember.server.workers.process import WorkerProcess

logger = logging.getLogger("ember.workers")

#: Seconds between two looks at the workers.
LOOK = 0.5
#: The same where there is nothing to look for.
IDLE = 5.0
#: Seconds that a worker has to write its stack.
LAST_WORDS = 1.0


class Overdue:
    """Looks at workers, and ends those whose time is over."""

    def __init__(self, limits: ServerLimits, routes: Iterable[Route]) -> None:
        self._stuck_after = limits.worker_timeout
        self._start_within = limits.start_timeout
        self._routes = routes

    def until(self, workers: Collection[WorkerProcess], now: float) -> float:
        """Seconds until one of `workers` may have to be looked at."""
        asked = [w.asked + LAST_WORDS for w in workers if w.asked is not None]
        ends = [w.end_by for w in workers if w.end_by is not None and w.asked is None]
        looks = self._stuck_after is not None or any(w.ready is None for w in workers)
        soonest = min([*asked, *ends, now + (LOOK if looks else IDLE)])
        return max(0.0, soonest - now)

    def look(self, workers: Iterable[WorkerProcess], now: float, passed: float) -> None:
        """`passed` seconds after the last look, during which this process itself has run."""
        for worker in workers:
            if worker.asked is not None:
                # One that has nobody to write a stack for it has none to wait for.
                if now - worker.asked >= LAST_WORDS:
                    self._kill(worker)
                continue
            if worker.end_by is not None and now >= worker.end_by:
                self._ask(worker, now, worker.end_reason)
            elif worker.ready is None and worker.end_by is None:
                self._starting(worker, now)
            if (
                worker.asked is None
                and self._stuck_after is not None
                and worker.slot.pid == worker.pid
                and worker.slot.state is not State.STARTING
            ):
                worker.note_beat(passed)
                if worker.silence > self._stuck_after:
                    self._ask(worker, now, "")

    def _starting(self, worker: WorkerProcess, now: float) -> None:
        took = now - worker.born
        if self._start_within is not None and took >= self._start_within:
            self._ask(
                worker, now, f"it did not serve within start_timeout={self._start_within:g} s"
            )
        elif took >= worker.slow_after:
            worker.slow_after *= 2
            logger.warning("%s has been starting for %.0f s", worker, took)

    def _ask(self, worker: WorkerProcess, now: float, charge: str) -> None:
        worker.charge = charge
        worker.asked = now
        worker.stack.clear()
        worker.send(signal.SIGUSR2)

    def _kill(self, worker: WorkerProcess) -> None:
        if worker.asked == float("inf"):
            return
        stack = main_stack(worker.stack)
        lines = stack or ["(it wrote no stack: it is stopped, or waits for the kernel)"]
        below = "\n%s" * len(lines)  # what an argument holds is written as one line
        if worker.charge:
            logger.error("%s is killed: %s" + below, worker, worker.charge, *lines)
            worker.failure = worker.charge
        else:
            route = busy_route(stack, self._routes)
            logger.error(
                "%s is stuck: its loop has not turned for %.0f s; %s" + below,
                worker,
                worker.silence,
                f"it is in {route}" if route else "no handler is in its stack",
                *lines,
            )
            worker.failure = f"it was stuck{' in ' + route if route else ''}, and killed"
        worker.killed = True
        worker.asked = float("inf")
        worker.send(signal.SIGKILL)

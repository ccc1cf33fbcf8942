"""Kills workers that take too long: to start, to stop, or in one step of their event loop.

Before a worker is killed, it is asked for its stack, which goes to the log."""

from __future__ import annotations

import logging
import signal
from collections.abc import Collection, Iterable
from typing import TYPE_CHECKING

from ember.server.workers.scoreboard import State
from ember.server.workers.stuck import busy_route, main_stack

if TYPE_CHECKING:
    from ember.limits import ServerLimits
    from ember.routing.route import Route
    from ember.server.workers.process import WorkerProcess

logger = logging.getLogger("ember.workers")

#: Seconds between two checks of the workers.
CHECK_INTERVAL = 0.5
#: Seconds between two checks if no worker has a deadline.
IDLE_INTERVAL = 5.0
#: Seconds in which a worker has to write its stack.
STACK_DUMP_TIMEOUT = 1.0


class Overdue:
    """Checks workers, and kills those that are over their deadline."""

    def __init__(self, limits: ServerLimits, routes: Iterable[Route]) -> None:
        self._stuck_after = limits.worker_timeout
        self._start_within = limits.start_timeout
        self._routes = routes

    def until(self, workers: Collection[WorkerProcess], now: float) -> float:
        """Seconds until the next check of `workers`."""
        asked = [w.stack_asked + STACK_DUMP_TIMEOUT for w in workers if w.stack_asked is not None]
        ends = [w.end_by for w in workers if w.end_by is not None and w.stack_asked is None]
        looks = self._stuck_after is not None or any(w.ready is None for w in workers)
        soonest = min([*asked, *ends, now + (CHECK_INTERVAL if looks else IDLE_INTERVAL)])
        return max(0.0, soonest - now)

    def look(self, workers: Iterable[WorkerProcess], now: float, passed: float) -> None:
        """Check the workers. `passed`: the seconds since the last check in which this process
        ran."""
        for worker in workers:
            if worker.stack_asked is not None:
                # A stopped process cannot write a stack: so the wait has a limit.
                if now - worker.stack_asked >= STACK_DUMP_TIMEOUT:
                    self._kill(worker)
                continue
            if worker.end_by is not None and now >= worker.end_by:
                self._ask(worker, now, worker.end_reason)
            elif worker.ready is None and worker.end_by is None:
                self._starting(worker, now)
            if (
                worker.stack_asked is None
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

    def _ask(self, worker: WorkerProcess, now: float, kill_reason: str) -> None:
        worker.kill_reason = kill_reason
        worker.stack_asked = now
        worker.stack.clear()
        worker.send(signal.SIGUSR2)

    def _kill(self, worker: WorkerProcess) -> None:
        if worker.stack_asked == float("inf"):
            return
        stack = main_stack(worker.stack)
        lines = stack or ["(it wrote no stack: it is stopped, or waits for the kernel)"]
        below = "\n%s" * len(lines)  # the log formatter writes each argument as one line
        if worker.kill_reason:
            logger.error("%s is killed: %s" + below, worker, worker.kill_reason, *lines)
            worker.failure = worker.kill_reason
        else:
            route = busy_route(stack, self._routes)
            logger.error(
                "%s is stuck: its event loop has not run for %.0f s; %s" + below,
                worker,
                worker.silence,
                f"it is in {route}" if route else "no handler is in its stack",
                *lines,
            )
            worker.failure = f"it was stuck{' in ' + route if route else ''}, and killed"
        worker.killed = True
        worker.stack_asked = float("inf")
        worker.send(signal.SIGKILL)

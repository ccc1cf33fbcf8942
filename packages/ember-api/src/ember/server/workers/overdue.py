"""Finds workers whose event loop is stuck, and kills them. Says what becomes of workers."""

from __future__ import annotations

import logging
from collections.abc import Iterable, Sequence
from functools import partial
from typing import TYPE_CHECKING

from ember.server.processes.deadlines import CHECK_INTERVAL, Deadlines
from ember.server.workers.process import WorkerProcess
from ember.server.workers.scoreboard import State
from ember.server.workers.stuck import busy_route

if TYPE_CHECKING:
    from ember.limits import ServerLimits
    from ember.routing.route import Route

logger = logging.getLogger("ember.workers")


class WorkerLog:
    """The `Voice` of the workers' supervisor: its log."""

    def slow(self, worker: WorkerProcess, seconds: float, where: str) -> None:
        """See `Voice`."""
        at = f", and is at {where}" if where else ""
        logger.warning("%s has been starting for %.0f s%s", worker, seconds, at)

    def killed(self, worker: WorkerProcess, what: str, stack: Sequence[str]) -> None:
        """See `Voice`."""
        below = "\n%s" * len(stack)  # the log formatter writes each argument as one line
        logger.error("%s %s" + below, worker, what, *stack)


class StuckLoops:
    """Kills workers whose loop has not run for `worker_timeout`: the log names the route."""

    def __init__(self, limits: ServerLimits, routes: Iterable[Route]) -> None:
        self._stuck_after = limits.worker_timeout
        self._routes = routes
        self._looked: float | None = None

    def until(self) -> float:
        """Seconds until the next check."""
        return CHECK_INTERVAL if self._stuck_after is not None else float("inf")

    def look(
        self, workers: Iterable[WorkerProcess], deadlines: Deadlines[WorkerProcess], now: float
    ) -> None:
        """Check the workers."""
        # Time in which this process itself did not run does not count.
        passed = min(now - (self._looked or now), 2 * CHECK_INTERVAL)
        self._looked = now
        if self._stuck_after is None:
            return
        for worker in workers:
            request = worker.stack_request
            if (
                worker.slot.pid == worker.pid
                and worker.slot.state is not State.STARTING
                and not (worker.killed or (request is not None and request.kills))
            ):
                worker.note_beat(passed)
                if worker.silence > self._stuck_after:
                    kill = partial(self._kill, worker, deadlines)
                    deadlines.ask(worker, now, kill, kills=True)

    def _kill(
        self, worker: WorkerProcess, deadlines: Deadlines[WorkerProcess], stack: list[str]
    ) -> None:
        route = busy_route(stack, self._routes)
        what = "it is in " + route if route else "no handler is in its stack"
        deadlines.kill(
            worker,
            f"is stuck: its event loop has not run for {worker.silence:.0f} s; {what}",
            f"it was stuck{' in ' + route if route else ''}, and killed",
            stack,
        )

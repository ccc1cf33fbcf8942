"""What an `Ember` lets others see of it: its health."""

from __future__ import annotations

from collections.abc import Callable, Iterable
from typing import TYPE_CHECKING, Any, TypeVar

from ember.health import TIMEOUT, Health, health_routes
from ember.routes import Route
from ember.signature import Plan

if TYPE_CHECKING:
    from ember.threads import ThreadPool
    from ember.workers.supervised import SupervisedServer
    from ember.workers.worker import AppServer

C = TypeVar("C", bound=Callable[[], Any])


class Observed:
    """The part of an application that is there for operators."""

    server: AppServer | SupervisedServer | None
    _health: Health

    def _threads(self) -> ThreadPool:
        raise NotImplementedError

    def add_readiness_check(
        self, check: C, name: str | None = None, *, timeout: float = TIMEOUT
    ) -> C:
        """Let `/readyz` ask `check()` too; 503 while it raises or returns False.

        - `check`: a function without parameters; `async def` runs on the loop, `def` in a thread.
        - `name`: what the answer calls it; default: the function's name.
        - `timeout`: seconds after which it has failed (default 5).

        Also a decorator. Raises TypeError and ValueError for what cannot be asked.
        """
        self._health.add(check, name, timeout)
        return check

    def _operator_routes(self, own: Iterable[Route]) -> list[tuple[Route, Plan]]:
        """Routes without any middleware, where the application has none of its `own`."""
        taken = {r.path for r in own if "GET" in r.methods and not r.hosts}
        return health_routes(self._health, taken, lambda: self.server, self._threads)

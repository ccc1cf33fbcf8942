"""The parts of an application that its observability uses."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING, Protocol

if TYPE_CHECKING:
    from ember.concurrency.threads import ThreadPool
    from ember.request import Request
    from ember.routing.middleware_spec import MiddlewareSpec
    from ember.routing.route import Route
    from ember.server.interfaces import RunningServer


class ObservedApp(Protocol):
    """An application whose requests are counted and logged."""

    server: RunningServer | None
    trusted_proxies: tuple[str, ...]

    @property
    def routes(self) -> Sequence[Route]:
        """Every route."""

    @property
    def middlewares(self) -> Sequence[MiddlewareSpec]:
        """The middlewares around every route."""

    def _threads(self) -> ThreadPool: ...

    def _changed(self) -> None: ...

    def _locate(self, request: Request) -> None: ...

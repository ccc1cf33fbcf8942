"""What an `Ember` lets others see of it: its health, its metrics, its access log."""

from __future__ import annotations

import asyncio
import os
from collections.abc import Callable, Iterable
from typing import TYPE_CHECKING, Any, TypeVar

from ember.middleware.request_ids import RequestIDMiddleware, find, is_sane
from ember.observability.health import TIMEOUT, Health, health_routes
from ember.routing.route import Route
from ember.routing.signature import Plan

if TYPE_CHECKING:
    from ember.concurrency.threads import ThreadPool
    from ember.observability.metrics.caches import Caches
    from ember.protocol.telemetry.observer import AccessLog, Recorder, Series
    from ember.request import Request
    from ember.response import Response
    from ember.routing.middleware_spec import MiddlewareSpec
    from ember.server.interfaces import RunningServer

C = TypeVar("C", bound=Callable[[], Any])

#: Bytes of the area of an application that nobody serves from a board.
_AREA = 65536
#: Seconds until a scrape of another worker sees what the caches of this one have counted.
PUBLISH = 1.0


class Observed:
    """The part of an application that is there for operators."""

    server: RunningServer | None
    #: Told of every request; None where neither metrics nor an access log were asked for.
    observer: Recorder | None = None
    trusted_proxies: tuple[str, ...]
    routes: list[Route]
    middlewares: list[MiddlewareSpec]
    _health: Health
    _metrics_routes: list[Route]
    _caches: Caches | None = None
    _publisher: asyncio.TimerHandle | None = None
    #: SIGUSR1 reopens the log.
    _reopens = False

    if TYPE_CHECKING:

        def _threads(self) -> ThreadPool: ...

        def _changed(self) -> None: ...

        def _place(self, request: Request) -> None: ...

    def _observe(
        self, metrics: bool | str, access_log: bool | str | os.PathLike[str] | None
    ) -> None:
        self._metrics_routes = []
        if access_log is not None and access_log is not False:
            self.set_access_log(access_log)
        if metrics is True:
            self.add_metrics()
        elif isinstance(metrics, str):
            self.add_metrics(metrics)
        elif metrics is not False:
            raise TypeError(f"metrics={metrics!r}: expected True or a path")

    # -- readiness ----------------------------------------------------------------------------

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

    def _taken(self) -> set[str]:
        return {r.path for r in self.routes if "GET" in r.methods and not r.hosts}

    def _operator_routes(self) -> list[tuple[Route, Plan]]:
        """Routes that no middleware guards, where the application has none of its own."""
        taken = self._taken()
        gives_ids = find(self.middlewares)
        around = () if gives_ids is None else (gives_ids,)
        return health_routes(self._health, taken, lambda: self.server, self._threads, around)

    # -- ids ----------------------------------------------------------------------------------

    def identify(self, request: Request | None) -> tuple[str, str | None]:
        """The id of what the connection refuses; see `ember.protocol.Application`."""
        if request is None:
            gives_ids = find(self.middlewares)
            if gives_ids is None:
                return RequestIDMiddleware().new_id(), None
            return gives_ids.new_id(), gives_ids.header
        self._place(request)
        steps = [*self.middlewares]
        route: Route | None = request.route
        if route is not None:
            for part in route.scope:
                steps += part.middlewares
            steps += route.middlewares
        gives_ids = find(steps)
        field = None if gives_ids is None or not is_sane(request.id) else gives_ids.header
        return request.id, field

    # -- metrics ------------------------------------------------------------------------------

    def add_metrics(self, path: str = "/metrics", *, middlewares: Iterable[Any] = ()) -> None:
        """Count every request, and answer `path` with the sums of all workers for Prometheus.

        `middlewares` are around that route, besides the application's own. A GET route of the
        application's on the same path goes first. Raises RouteError for what is no path.
        """
        recorder = self._recorder()
        if recorder.series is None:
            from ember.protocol.telemetry.observer import Series

            recorder.count_in(Series(memoryview(bytearray(_AREA))))
        self._metrics_routes.append(
            Route(path, self._metrics, ("GET",), middlewares=middlewares, include_in_schema=False)
        )
        self._changed()

    def _metrics_plans(self) -> list[tuple[Route, Plan]]:
        taken = self._taken()
        return [(route, Plan([], ())) for route in self._metrics_routes if route.path not in taken]

    async def _metrics(self) -> Response:
        from ember.observability.metrics import page

        self._publish()
        if self.observer is not None:
            self.observer.settle()
        if self.server is not None:
            board = self.server.board
            return page([board.metrics_region(slot.index) for slot in board.slots], board)
        series: Series | None = None if self.observer is None else self.observer.series
        return page([] if series is None else [series.area], None)

    def _publish(self) -> None:
        """What is counted elsewhere, into the memory that is added up."""
        series = None if self.observer is None else self.observer.series
        if series is None:
            return
        if self._caches is None:
            from ember.observability.metrics.caches import Caches

            self._caches = Caches(series, lambda: self.routes)
        self._caches.publish()

    def _publish_again(self) -> None:
        self._publish()
        loop = asyncio.get_running_loop()
        self._publisher = loop.call_later(PUBLISH, self._publish_again)

    # -- access log ---------------------------------------------------------------------------

    def set_access_log(self, access_log: bool | str | os.PathLike[str]) -> None:
        """Write a line for every request, as `Ember(access_log=...)` says; False: no longer.

        Before the server starts. Raises TypeError for what is none of these.
        """
        from ember.protocol.telemetry.observer import Recorder

        log: AccessLog | None = None
        if access_log is not False:
            from ember.observability.access_log import open_log

            log = open_log(access_log)
        before = self.observer
        series = None if before is None else before.series
        self.observer = None if log is None and series is None else Recorder(series, log)
        self._changed()

    def reopen_logs(self) -> None:
        """Open the file of the access log again, after something has moved it away.

        SIGUSR1 does it in every worker."""
        if self.observer is not None and self.observer.log is not None:
            self.observer.log.reopen()

    # -- the observer -------------------------------------------------------------------------

    def _recorder(self) -> Recorder:
        if self.observer is None:
            from ember.protocol.telemetry.observer import Recorder

            self.observer = Recorder()
        return self.observer

    def _start_observing(self) -> None:
        """In the process that serves: count where all workers do, open the log. Raises OSError."""
        observer = self.observer
        if observer is None:
            return
        slot = 0
        if self.server is not None:
            slot = self.server.slot
            if observer.series is not None:
                from ember.protocol.telemetry.observer import Series

                observer.count_in(Series(self.server.board.metrics_region(slot)))
                self._caches = None
                self._publish_again()
        if observer.log is not None:
            observer.log.set_worker(slot)
            observer.log.forwarded = bool(self.trusted_proxies)
            try:
                observer.log.file.open()
            except OSError as error:
                from ember.server.options import StartError

                raise StartError(f"{error.strerror}; give access_log= another path") from None
            if self.server is not None and not self._reopens:
                from ember.server.workers.logs import on_reopen

                self._reopens = True
                on_reopen(self.reopen_logs)

    def _stop_observing(self) -> None:
        if self._publisher is not None:
            self._publisher.cancel()
            self._publisher = None
            self._publish()
        if self.observer is not None and self.observer.log is not None:
            self.observer.log.close()

"""The observability of an application: health checks, metrics, access log, ids of requests."""

from __future__ import annotations

import asyncio
import os
from collections.abc import Iterable
from typing import TYPE_CHECKING, Any

from ember.middleware.request_ids import RequestIDMiddleware, find, is_sane
from ember.observability.health import Health, health_routes
from ember.routing.route import Route
from ember.routing.signature import Plan

if TYPE_CHECKING:
    from ember.observability.interfaces import ObservedApp
    from ember.observability.metrics.caches import Caches
    from ember.protocol.telemetry.observer import AccessLog, Recorder, Series
    from ember.request import Request
    from ember.response import Response

#: Bytes of the metrics region of an application without a server.
_REGION_SIZE = 65536
#: Seconds between two updates of the cache metrics that other workers can read.
PUBLISH_INTERVAL = 1.0


class Observability:
    """What operators see of `app`: its health, its metrics, its access log.

    `Ember` has one, and delegates its public methods to it. `healthz_url` and `readyz_url`: the
    paths of the health checks; None: no route. Raises TypeError for an invalid path.
    """

    def __init__(self, app: ObservedApp, healthz_url: str | None, readyz_url: str | None) -> None:
        self._app = app
        #: The readiness checks, and the paths of the health routes.
        self.health = Health(healthz_url, readyz_url)
        #: Counts and logs every request; None if neither metrics nor an access log were asked for.
        self.observer: Recorder | None = None
        self._metrics_routes: list[Route] = []
        self._caches: Caches | None = None
        self._publisher: asyncio.TimerHandle | None = None
        #: SIGUSR1 reopens the log.
        self._reopens = False

    def configure(
        self, metrics: bool | str, access_log: bool | str | os.PathLike[str] | None
    ) -> None:
        """Apply the arguments `metrics` and `access_log` of `Ember`. Raises TypeError."""
        if access_log is not None and access_log is not False:
            self.set_access_log(access_log)
        if metrics is True:
            self.add_metrics()
        elif isinstance(metrics, str):
            self.add_metrics(metrics)
        elif metrics is not False:
            raise TypeError(f"metrics={metrics!r}: expected True or a path")

    # -- routes -------------------------------------------------------------------------------

    def _taken(self) -> set[str]:
        return {r.path for r in self._app.routes if "GET" in r.methods and not r.hosts}

    def health_routes(self) -> list[tuple[Route, Plan]]:
        """The health routes. They have no middleware but the one for ids. A GET route of the
        application with the same path replaces one."""
        taken = self._taken()
        gives_ids = find(self._app.middlewares)
        around = () if gives_ids is None else (gives_ids,)
        return health_routes(
            self.health, taken, lambda: self._app.server, self._app._threads, around
        )

    def metrics_routes(self) -> list[tuple[Route, Plan]]:
        """The metrics routes. A GET route of the application with the same path replaces one."""
        taken = self._taken()
        return [(route, Plan([], ())) for route in self._metrics_routes if route.path not in taken]

    # -- ids ----------------------------------------------------------------------------------

    def identify(self, request: Request | None) -> tuple[str, str | None]:
        """The id of a request that the connection refuses, and the field for it; see
        `ember.protocol.Application`. None: a request that could not be read."""
        app = self._app
        if request is None:
            gives_ids = find(app.middlewares)
            if gives_ids is None:
                return RequestIDMiddleware().new_id(), None
            return gives_ids.new_id(), gives_ids.header
        app._locate(request)
        specs = [*app.middlewares]
        route: Route | None = request.route
        if route is not None:
            for part in route.scope:
                specs += part.middlewares
            specs += route.middlewares
        gives_ids = find(specs)
        field = None if gives_ids is None or not is_sane(request.id) else gives_ids.header
        return request.id, field

    # -- metrics ------------------------------------------------------------------------------

    def add_metrics(self, path: str = "/metrics", middlewares: Iterable[Any] = ()) -> None:
        """See `Ember.add_metrics`."""
        if self.observer is None:
            from ember.protocol.telemetry.observer import Recorder

            self.observer = Recorder()
        if self.observer.series is None:
            from ember.protocol.telemetry.observer import Series

            self.observer.count_in(Series(memoryview(bytearray(_REGION_SIZE))))
        self._metrics_routes.append(
            Route(path, self._metrics, ("GET",), middlewares=middlewares, include_in_schema=False)
        )
        self._app._changed()

    async def _metrics(self) -> Response:
        from ember.observability.metrics import page

        self._publish()
        if self.observer is not None:
            self.observer.flush()
        server = self._app.server
        if server is not None:
            board = server.board
            return page([board.metrics_region(slot.index) for slot in board.slots], board)
        series: Series | None = None if self.observer is None else self.observer.series
        return page([] if series is None else [series.area], None)

    def _publish(self) -> None:
        """Copy the counters of caches into the memory that all workers share."""
        series = None if self.observer is None else self.observer.series
        if series is None:
            return
        if self._caches is None:
            from ember.observability.metrics.caches import Caches

            self._caches = Caches(series, lambda: self._app.routes)
        self._caches.publish()

    def _publish_again(self) -> None:
        self._publish()
        loop = asyncio.get_running_loop()
        self._publisher = loop.call_later(PUBLISH_INTERVAL, self._publish_again)

    # -- access log ---------------------------------------------------------------------------

    def set_access_log(self, access_log: bool | str | os.PathLike[str]) -> None:
        """See `Ember.set_access_log`."""
        from ember.protocol.telemetry.observer import Recorder

        log: AccessLog | None = None
        if access_log is not False:
            from ember.observability.access_log import open_log

            log = open_log(access_log)
        series = None if self.observer is None else self.observer.series
        self.observer = None if log is None and series is None else Recorder(series, log)
        self._app._changed()

    def reopen_logs(self) -> None:
        """See `Ember.reopen_logs`."""
        if self.observer is not None and self.observer.log is not None:
            self.observer.log.reopen()

    # -- lifecycle ----------------------------------------------------------------------------

    def start(self) -> None:
        """Called in the process that serves: count in the memory that all workers share, and open
        the log. Raises StartError if the log cannot be opened."""
        observer, server = self.observer, self._app.server
        if observer is None:
            return
        slot = 0
        if server is not None:
            slot = server.slot
            if observer.series is not None:
                from ember.protocol.telemetry.observer import Series

                observer.count_in(Series(server.board.metrics_region(slot)))
                self._caches = None
                self._publish_again()
        if observer.log is not None:
            observer.log.set_worker(slot)
            observer.log.forwarded = bool(self._app.trusted_proxies)
            try:
                observer.log.file.open()
            except OSError as error:
                from ember.server.options import StartError

                raise StartError(f"{error.strerror}; give access_log= another path") from None
            if server is not None and not self._reopens:
                from ember.server.workers.logs import on_reopen

                self._reopens = True
                on_reopen(self.reopen_logs)

    def stop(self) -> None:
        """Publish the last counts and close the log."""
        if self._publisher is not None:
            self._publisher.cancel()
            self._publisher = None
            self._publish()
        if self.observer is not None and self.observer.log is not None:
            self.observer.log.close()

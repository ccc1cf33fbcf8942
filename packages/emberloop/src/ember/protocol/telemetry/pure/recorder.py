"""`Recorder`: the observer behind `/metrics` and the access log."""

from __future__ import annotations

import json
import time

from ember.protocol.telemetry.pure.observer import Observer, log
from ember.protocol.telemetry.series import (
    ACCEPTED,
    CONNECTIONS,
    IN_FLIGHT,
    METHODS,
    OTHER_METHOD,
    REFUSED,
    UNMATCHED,
    bucket,
)

TYPE_CHECKING = False
if TYPE_CHECKING:
    import asyncio
    from typing import Any

    from ember.protocol.message.pure.request import Request
    from ember.protocol.telemetry.pure.accesslog import AccessLog
    from ember.protocol.telemetry.series import Series


class Recorder(Observer):
    """Counts in `series` and writes to `log`; either may be None."""

    def __init__(self, series: Series | None = None, log: AccessLog | None = None) -> None:
        self.log = log
        self.series: Series | None = None
        self.count_in(series)

    def count_in(self, series: Series | None) -> None:
        """Count there from now on; None: nowhere."""
        self.series = series
        self._by_route: dict[Any, tuple[str, bytes]] = {None: (UNMATCHED, b"null")}
        self._counts: dict[tuple[str, str, int], tuple[int, int]] = {}
        if self.log is not None:
            self.log.series = series

    def flush(self) -> None:
        """What is over is counted: here that waits for nothing."""

    def attach(self, loop: asyncio.AbstractEventLoop) -> None:
        if self.log is not None:
            self.log.attach(loop)

    def opened(self) -> None:
        if self.series is not None:
            self.series.words[CONNECTIONS] += 1
            self.series.words[ACCEPTED] += 1

    def closed(self) -> None:
        if self.series is not None and self.series.words[CONNECTIONS]:
            self.series.words[CONNECTIONS] -= 1

    def begin(self) -> float:
        if self.series is not None:
            self.series.words[IN_FLIGHT] += 1
        return time.monotonic()

    def _names_of(self, route: Any) -> tuple[str, bytes]:
        label = getattr(route, "path", None)
        if type(label) is not str:
            label = str(route)
        names = self._by_route[route] = (label, json.dumps(label).encode())
        return names

    def done(
        self,
        request: Request,
        client: tuple[str, int] | None,
        status: int,
        sent: int,
        began: float,
        aborted: bool,
    ) -> None:
        ended = time.monotonic()
        try:
            names = self._by_route.get(request.route)
            label, name = self._names_of(request.route) if names is None else names
            method = request.method if request.method in METHODS else OTHER_METHOD
            if self.series is not None:
                if self.series.words[IN_FLIGHT]:
                    self.series.words[IN_FLIGHT] -= 1
                self._count(self.series, (label, method, status), sent, ended - began, aborted)
            if self.log is not None:
                self.log.line(request, client, name, status, sent, began, ended, aborted)
        except Exception:  # noqa: BLE001 - whatever it is, the request is not to suffer
            log.exception("an exchange could not be recorded")

    def refused(
        self, client: tuple[str, int] | None, status: int, sent: int, identity: str
    ) -> None:
        now = time.monotonic()
        try:
            if self.series is not None:
                self._count(self.series, (REFUSED, OTHER_METHOD, status), sent, 0.0, False)
            if self.log is not None:
                self.log.line(None, client, b"null", status, sent, now, now, False, identity)
        except Exception:  # noqa: BLE001 - as above
            log.exception("a refused request could not be recorded")

    def _count(
        self, series: Series, key: tuple[str, str, int], sent: int, took: float, aborted: bool
    ) -> None:
        found = self._counts.get(key)
        if found is None:
            label, method, _ = key
            found = (series.requests(*key), series.durations(label, method))
            self._counts[key] = found
        requests, durations = found
        words = series.words
        words[requests] += 1
        words[requests + 1] += sent
        words[durations] += int(max(took, 0.0) * 1e9)
        words[durations + 1] += aborted
        words[durations + 2 + bucket(took)] += 1

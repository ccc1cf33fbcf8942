"""What a server does when there is more to do than it can: say so at once, and stay reachable."""

from __future__ import annotations

import asyncio
import logging
import time
from collections import deque
from copy import copy

from ember.exceptions import ServiceUnavailable

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Awaitable, Generator
    from typing import Any

    from ember.limits import ServerLimits
    from ember.protocol.server.application import Application
    from ember.request import Request
    from ember.response import Response

__all__ = ["Overload"]

log = logging.getLogger("ember.protocol")

#: Connections above `max_connections` that may still send a request, so that health checks get
#: through. A connection above those gets a 503 before its request is read.
RESERVE = 32
#: Seconds that such a connection has to send it: a silent client must not hold the reserve.
OVER_LIMIT_TIMEOUT = 2.0
#: Seconds after which a client that was shed may try again.
RETRY_AFTER = 1
#: Seconds between two lines in the log about the same overload.
LOG_EVERY = 10.0


class Overload:
    """The counters of one server, and the bounds that `limits` set."""

    def __init__(self, limits: ServerLimits) -> None:
        self.max_connections = limits.max_connections
        self._over_limit = _hurried(limits)
        self.max_running = limits.max_concurrent_requests
        self.max_queued = limits.max_queued_requests
        #: handlers that wait or work now; counted only with `max_concurrent_requests`
        self.running = 0
        #: requests answered 503 since the start, instead of being handled
        self.shed = 0
        #: connections that got a 503 since the start before a request was read
        self.refused = 0
        self._waiting: deque[asyncio.Future[None]] = deque()
        self._quiet_until = 0.0

    @property
    def queued(self) -> int:
        """Requests that wait for their turn now."""
        return len(self._waiting)

    def guard(self, app: Application) -> Application:
        """`app`, behind the bound of requests under way if there is one."""
        return app if self.max_running is None else _Bounded(app, self)

    def admit(self, app: Application, connections: int) -> Application | None:
        """The application for a new connection when `connections` are open already. None: refuse it
        before its request is read. An application other than `app` has `limits` of its own, and
        serves one request."""
        if self.max_connections is None or connections < self.max_connections:
            return app
        self.warn("the server has %d connections, its maximum", self.max_connections)
        if connections < self.max_connections + RESERVE:
            return _OverLimit(app, self, self._over_limit)
        self.refused += 1
        return None

    def reject(self, value: object, why: str) -> ServiceUnavailable:
        """Drop what `dispatch` returned. Returns the error to raise instead."""
        close = getattr(value, "close", None)
        if close is not None:
            close()
        self.shed += 1
        self.warn("overloaded: %s", why)
        # Somewhere else the client may find room: it need not come back here.
        headers = {"Retry-After": str(RETRY_AFTER), "Connection": "close"}
        return ServiceUnavailable(why, headers)

    def warn(self, message: str, *args: object) -> None:
        """Log `message`, at most once in `LOG_EVERY` seconds."""
        now = time.monotonic()
        if now >= self._quiet_until:
            self._quiet_until = now + LOG_EVERY
            log.warning(f"{message}; answering 503", *args)

    # -- turns ----------------------------------------------------------------------------------

    def enter(self, awaitable: Awaitable[object]) -> _Turn | None:
        """A turn for `awaitable`, now or in the queue; None when the queue is full."""
        assert self.max_running is not None
        if self.running < self.max_running:
            self.running += 1
            return _Turn(self, awaitable, None)
        if len(self._waiting) >= self.max_queued:
            return None
        turn: asyncio.Future[None] = asyncio.get_running_loop().create_future()
        self._waiting.append(turn)
        return _Turn(self, awaitable, turn)

    def leave(self, turn: asyncio.Future[None] | None) -> None:
        """The request is over, or was given up. The next one in the queue gets its turn."""
        if turn is not None and (not turn.done() or turn.cancelled()):
            if turn in self._waiting:
                self._waiting.remove(turn)
            return
        while self._waiting:
            following = self._waiting.popleft()
            if not following.done():
                following.set_result(None)
                return
        self.running -= 1


class _Turn:
    """An awaitable that has its turn. The turn is given back however it ends, also if it is never
    awaited."""

    __slots__ = ("_awaitable", "_left", "_overload", "_turn")

    def __init__(
        self, overload: Overload, awaitable: Awaitable[object], turn: asyncio.Future[None] | None
    ) -> None:
        self._overload = overload
        self._awaitable = awaitable
        self._turn = turn
        self._left = False

    def __await__(self) -> Generator[Any, Any, object]:
        try:
            if self._turn is not None:
                try:
                    yield from self._turn.__await__()
                except BaseException:
                    _close(self._awaitable)
                    raise
            return (yield from self._awaitable.__await__())
        finally:
            self._leave()

    def close(self) -> None:
        """It will not be awaited."""
        if not self._left:
            self._leave()
            _close(self._awaitable)

    def _leave(self) -> None:
        if not self._left:
            self._left = True
            self._overload.leave(self._turn)


def _close(awaitable: object) -> None:
    close = getattr(awaitable, "close", None)
    if close is not None:
        close()


class _Behind:
    """An application with something before its `dispatch`."""

    def __init__(self, app: Application, overload: Overload) -> None:
        self._app = app
        self._dispatch = app.dispatch
        self._overload = overload
        self.limits = app.limits

    def dispatch(self, request: Request) -> object:
        raise NotImplementedError

    def into_response(self, request: Request, value: object) -> Response:
        return self._app.into_response(request, value)

    def on_error(self, request: Request, error: BaseException) -> Response | Awaitable[Response]:
        return self._app.on_error(request, error)

    def __getattr__(self, name: str) -> Any:
        return getattr(self._app, name)


class _Bounded(_Behind):
    """At most so many requests under way. What is answered without waiting is always answered."""

    def dispatch(self, request: Request) -> object:
        value: Any = self._dispatch(request)
        if not hasattr(value, "__await__") or not request.limits.shed:
            return value
        turn = self._overload.enter(value)
        if turn is None:
            raise self._overload.reject(value, "the server has too many requests")
        return turn


class _OverLimit(_Behind):
    """What a connection above the maximum talks to: only what is never shed is answered, and no
    hit is given that the application would not give."""

    kept_answers = None

    def __init__(self, app: Application, overload: Overload, limits: ServerLimits) -> None:
        super().__init__(app, overload)
        self.limits = limits

    def dispatch(self, request: Request) -> object:
        value = self._dispatch(request)
        if request.limits.shed:
            raise self._overload.reject(value, "the server has too many connections")
        return value


def _hurried(limits: ServerLimits) -> ServerLimits:
    """`limits`, with little time for the first request."""
    hurried = copy(limits)
    hurried.header_timeout = min(limits.header_timeout, OVER_LIMIT_TIMEOUT)
    hurried.handshake_timeout = min(limits.handshake_timeout, OVER_LIMIT_TIMEOUT)
    return hurried

"""What stands between the server core and the application under test: it watches."""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Generator
from typing import TYPE_CHECKING, Any

from ember.exceptions import ClientDisconnected, HTTPError
from ember.request import Request
from ember.response import Response

if TYPE_CHECKING:
    from ember.protocol.telemetry.observer import Recorder
    from ember.testing.interfaces import TestedApp


class Door:
    """The application as one connection sees it (`ember.protocol.Application`)."""

    def __init__(self, app: TestedApp) -> None:
        self._app = app
        self.limits = app.limits
        #: what goes through here is counted and logged as if it had come over a socket
        self.observer: Recorder | None = app.observer
        self.identify = app.identify
        #: what runs for the requests of this connection
        self.tasks: set[asyncio.Task[Any]] = set()
        #: what a handler raised that it was not expected to raise
        self.failure: BaseException | None = None

    def dispatch(self, request: Request) -> object:
        value = self._app.dispatch(request)
        return value if type(value) in (str, bytes) else _Watched(value, self.tasks)

    def into_response(self, request: Request, value: object) -> Response:
        return self._app.into_response(request, value)

    def on_error(self, request: Request, error: BaseException) -> Response | Awaitable[Response]:
        if not isinstance(error, (HTTPError, ClientDisconnected, asyncio.CancelledError)):
            found = self._app._errors.find(error, 500)
            # A handler for everything answers it, which does not mean that it was foreseen.
            if found is None or found.general:
                self.failure = error
        return self._app.on_error(request, error)

    def observed(self) -> None:
        """What is over is in the access log from now on; a server writes it a moment later."""
        if self.observer is not None and self.observer.log is not None:
            self.observer.log.flush()

    async def settled(self) -> None:
        """Wait until everything that runs for this connection has ended."""
        while self.tasks:
            await asyncio.wait(tuple(self.tasks))


class _Watched:
    """What a handler gave, awaited by the server; remembers the task in which that happens."""

    def __init__(self, value: Any, tasks: set[asyncio.Task[Any]]) -> None:
        self._value = value
        self._tasks = tasks
        self._begun = False

    def __await__(self) -> Generator[Any, Any, Any]:
        self._begun = True
        task = asyncio.current_task()
        assert task is not None
        self._tasks.add(task)
        task.add_done_callback(self._tasks.discard)
        value = self._value
        if hasattr(value, "__await__"):
            return (yield from value.__await__())
        return value

    def close(self) -> None:
        """The server will not await it after all."""
        if not self._begun and hasattr(self._value, "close"):
            self._begun = True
            self._value.close()

    def __del__(self) -> None:
        # A request that was refused before its handler began.
        self.close()

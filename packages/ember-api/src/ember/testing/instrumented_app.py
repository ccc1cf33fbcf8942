"""Wraps the application under test: remembers its tasks and its unexpected errors."""

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


class InstrumentedApp:
    """The application for one connection of a test client (an `ember.protocol.Application`)."""

    def __init__(self, app: TestedApp) -> None:
        self._app = app
        self.limits = app.limits
        #: Counts and logs requests as if they had come over a socket.
        self.observer: Recorder | None = app.observer
        self.identify = app.identify
        #: The tasks of the requests of this connection.
        self.tasks: set[asyncio.Task[Any]] = set()
        #: The last unexpected exception of a handler.
        self.failure: BaseException | None = None

    def dispatch(self, request: Request) -> object:
        value = self._app.dispatch(request)
        return value if type(value) in (str, bytes) else _TrackedAwaitable(value, self.tasks)

    def into_response(self, request: Request, value: object) -> Response:
        return self._app.into_response(request, value)

    def on_error(self, request: Request, error: BaseException) -> Response | Awaitable[Response]:
        if not isinstance(error, (HTTPError, ClientDisconnected, asyncio.CancelledError)):
            found = self._app._errors.find(error, 500)
            # A handler for every exception also handles unexpected ones.
            if found is None or found.general:
                self.failure = error
        return self._app.on_error(request, error)

    def flush_log(self) -> None:
        """Write the lines of finished requests to the access log; a server does it a bit later."""
        if self.observer is not None and self.observer.log is not None:
            self.observer.log.flush()

    async def wait_idle(self) -> None:
        """Wait until all tasks of this connection have ended."""
        while self.tasks:
            await asyncio.wait(tuple(self.tasks))


class _TrackedAwaitable:
    """The awaitable or value of a handler. It remembers the task in which the server awaits it."""

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
        """Called if the server does not await it."""
        if not self._begun and hasattr(self._value, "close"):
            self._begun = True
            self._value.close()

    def __del__(self) -> None:
        # The request was refused before its handler started.
        self.close()

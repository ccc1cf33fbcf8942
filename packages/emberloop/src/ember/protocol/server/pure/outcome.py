"""What becomes of a request: the response that its handler or its error gave, on its way out."""

from __future__ import annotations

import asyncio
import logging

from ember._interrupts import from_signal
from ember.exceptions import ClientDisconnected
from ember.protocol.http1.render import render_head
from ember.protocol.message._response import Response
from ember.protocol.server.pure.deadlines import NEVER
from ember.protocol.server.streaming import begin_stream, send_stream

TYPE_CHECKING = False
if TYPE_CHECKING:
    from ember.protocol.http1.pure.parser import Head
    from ember.protocol.message.pure.request import Request
    from ember.protocol.server.pure.interfaces import Serving

log = logging.getLogger("ember.protocol")


class Outcome:
    """The part of an exchange that makes a response of what came, and sends it."""

    __slots__ = (
        "_cancelled_for",
        "_connection",
        "_head",
        "_status",
        "abandoned",
        "answered",
        "request",
        "started",
    )

    if TYPE_CHECKING:
        _cancelled_for: str
        _connection: Serving
        _head: Head
        _status: int
        abandoned: bool
        answered: bool
        request: Request
        started: bool

        def _is_discarded(self) -> bool: ...
        def _complete(self, keep_alive: bool) -> None: ...
        def _keep_alive(self) -> bool: ...
        def _send(self, response: Response) -> None: ...
        def notify(self, aborted: bool) -> None: ...

    async def _error_response(self, error: BaseException) -> Response:
        return await self._resolve(self._on_error(error))

    def _on_error(self, error: BaseException) -> object:
        try:
            return self._connection.app.on_error(self.request, error)
        except BaseException as failure:
            if from_signal(failure):
                raise
            return self._on_error_failed()

    async def _resolve(self, result: object) -> Response:
        """The response that `on_error` gave, maybe after a wait."""
        before = cancels()
        try:
            if hasattr(result, "__await__"):
                result = await result
            if isinstance(result, Response):
                return result
            raise TypeError(f"on_error must return a Response, got {type(result).__name__}")
        except BaseException as error:
            if self._ends_task(error, before):
                raise
            return self._on_error_failed()

    def _on_error_failed(self, error: BaseException | None = None) -> Response:
        log.error(
            "the error handler failed while answering %r", self.request, exc_info=error or True
        )
        return Response("Internal Server Error", 500)

    def _into_response(self, value: object) -> Response:
        if isinstance(value, Response):
            response = value
        elif type(value) is str or type(value) is bytes:
            return Response(value)
        else:
            response = self._connection.app.into_response(self.request, value)
        if response.stream is not None:
            # A file, of which the request may want a part, or nothing because it has it.
            for_request = getattr(response, "for_request", None)
            if for_request is not None:
                return for_request(self.request)  # type: ignore[no-any-return]
        return response

    @staticmethod
    def _close_unused(awaitable: object) -> None:
        """What a handler gave will not be awaited after all."""
        try:
            close = getattr(awaitable, "close", None)
            if close is not None:
                close()
        except BaseException as error:
            if from_signal(error):
                raise
            log.exception("%r could not be closed", awaitable)

    def _ends_task(self, error: BaseException, before: int) -> bool:
        """Whether `error`, caught in this task, is a request to end it: from a signal, or a
        cancellation after it had been asked `before` times."""
        if isinstance(error, asyncio.CancelledError):
            return cancels() > before
        return from_signal(error) or (isinstance(error, GeneratorExit) and self._is_discarded())

    async def _finish_with(self, response: Response) -> None:
        """Send `response`, or what the application makes of its not having bytes."""
        attempt = 0
        while not self.abandoned:
            try:
                await self._deliver(response)
                return
            except BaseException as error:
                if self._ends_task(error, -1):
                    raise
                if self.started or attempt == 2:
                    self.answered = True
                    self._connection.abort()
                    raise
                failure = error
            # A status, a field or a text that HTTP cannot carry.
            attempt += 1
            response = (
                self._on_error_failed(failure)
                if attempt == 2
                else await self._error_response(failure)
            )
            del failure

    async def _deliver(self, response: Response) -> None:
        """Send `response`, whole or piece by piece, from inside the task. Raises before its first
        byte, if it does."""
        if response.stream is None:
            self._send(response)
            return
        connection, head = self._connection, self._head
        keep_alive = self._keep_alive()
        rendered = render_head(response, head.method, head.minor, keep_alive)
        connection.deadlines.handler = NEVER
        begun = await begin_stream(response.stream, rendered)
        if self._keep_alive() != keep_alive:
            # Meanwhile the server was told to stop, or the request's body was read to its end.
            rendered = render_head(response, head.method, head.minor, not keep_alive)
        self._status = response.status_code
        self.started = True
        try:
            await send_stream(connection, begun, rendered)
        except asyncio.CancelledError:
            self.answered = True  # or the abort would cancel what follows the response
            if not self._cancelled_for:
                log.warning("%r was cancelled in the middle of its response", self.request)
            connection.abort()
            if not self._cancelled_for:
                raise
        except ClientDisconnected:
            self.answered = True
            connection.abort()
        except BaseException as error:
            self.answered = True
            self.notify(True)
            if self._ends_task(error, -1):
                connection.abort()
                raise
            log.exception("the response to %r broke in the middle", self.request)
            # An eager task may break in the turn in which it began: what there is goes out.
            connection.flush()
            if rendered.chunked or rendered.length is not None:
                # The last chunk, or the rest of the length, is missing: the client sees that.
                connection.closing = True
                connection._owner.close_connection(False)
            else:
                connection.abort()  # the end of the connection would be the end of the body
        else:
            self._complete(rendered.keep_alive)


def cancels() -> int:
    """How often the current task was asked to end; 0 outside of one."""
    if asyncio._get_running_loop() is None:
        return 0
    task = asyncio.current_task()
    return 0 if task is None else task.cancelling()

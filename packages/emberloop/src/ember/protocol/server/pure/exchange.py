"""One request and its response: the application is called, the body goes in, the response comes
out."""

from __future__ import annotations

import asyncio
import logging
import sys
from typing import cast

from ember._interrupts import from_signal
from ember.exceptions import ClientDisconnected, ProtocolError, ServiceUnavailable
from ember.protocol.http1.render import render_head
from ember.protocol.message._response import Response
from ember.protocol.message.pure.request import Request, too_large
from ember.protocol.server.body_reader import RequestBodyReader
from ember.protocol.server.codec import upgrade_of
from ember.protocol.server.pure.outcome import Outcome, cancels

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Awaitable, Coroutine
    from typing import Any

    from ember.protocol.http1.pure.parser import Head
    from ember.protocol.server.pure.interfaces import Serving

log = logging.getLogger("ember.protocol")

_EAGER: dict[str, Any] = {"eager_start": True} if sys.version_info >= (3, 12) else {}


class Exchange(Outcome):
    """A request in the application. Over when it is answered and its body has passed."""

    __slots__ = (
        "_began_at",
        "_context",
        "_discarded",
        "_framing",
        "_mark",
        "_me",
        "_notified",
        "_task",
        "_waiting",
        "began",
        "body_reader",
    )

    def __init__(self, connection: Serving, head: Head) -> None:
        self._connection = connection
        self._head = head
        # For the observer: the status once one was decided, when it began, what was sent before.
        self._status = 0
        self._notified = False
        self._began_at = 0.0
        self._mark = connection.written
        if connection.observer is not None:
            self._began_at = connection.observer.begin()
        self._framing = framing = head.framing
        self._context = connection.context.copy()
        self._task: asyncio.Task[None] | None = None
        # The task as its coroutine sees it; and whether nobody will drive the coroutine any more.
        self._me: asyncio.Task[Any] | None = None
        self._discarded = False
        self._waiting: object = None
        self._cancelled_for = ""
        #: nobody waits for the response any more: the request was broken
        self.abandoned = False
        #: the response is complete
        self.answered = False
        #: the task has had its first step
        self.began = False
        #: bytes of the response were sent
        self.started = False
        self.body_reader = RequestBodyReader(connection, self, framing)
        self.request = Request(
            head,
            self.body_reader.body,
            host=framing.host,
            client=connection.client,
            scheme=connection.scheme,
        )
        self.request.tls = connection.tls

    @property
    def method(self) -> str:
        """The method of the request."""
        return self._head.method

    @property
    def minor(self) -> int:
        """Of the request's version, HTTP/1.x."""
        return self._head.minor

    @property
    def cancelled(self) -> bool:
        """Whether the connection has cancelled the handler."""
        return bool(self._cancelled_for)

    @property
    def over(self) -> bool:
        """Whether the next request may begin."""
        return self.answered and self.body_reader.decoder is None

    @property
    def max_body_size(self) -> int:
        """Bytes that the route takes, as `dispatch` has left it."""
        return self.request.limits.max_body_size

    # -- the application ----------------------------------------------------------------------

    def begin(self) -> None:
        """Call the application. Raises `ProtocolError` (413)."""
        request, app = self.request, self._connection.app
        try:
            value = self._context.run(app.dispatch, request)
            waits = hasattr(value, "__await__")
        except BaseException as error:  # noqa: BLE001 - the application answers whatever it is
            self._answer_error(error)
            return
        if not waits:
            self._answer(value)
            return
        limits = request.limits
        if self._framing.length > limits.max_body_size:
            self._close_unused(value)
            raise ProtocolError(413, too_large(limits.max_body_size).detail)
        seconds = limits.timeout
        if seconds is None:
            seconds = self._connection.limits.request_timeout
        if seconds is not None:
            self._connection.deadlines.handler_within(seconds)
        self._waiting = value
        self._start(self._respond(cast("Awaitable[object]", value)))

    def _answer(self, value: object) -> None:
        """Answer with a value that is there at once."""
        try:
            response = self._context.run(self._into_response, value)
            if response.stream is None:
                self._send(response)
        except BaseException as error:  # noqa: BLE001 - see begin
            self._answer_error(error)
            return
        if response.stream is not None:
            self._start(self._respond_with(response))
        elif self.request._after is not None:
            self._start(self._run_after())

    def _answer_error(self, error: BaseException) -> None:
        """Answer for a dispatch that failed, or what it gave."""
        if self.started or from_signal(error):
            self._break_off(error)
            return
        result = self._context.run(self._on_error, error)
        if not isinstance(result, Response) or result.stream is not None:
            self._start(self._respond_with(result))
            return
        try:
            self._send(result)
        except BaseException as failure:  # noqa: BLE001 - there are no bytes for it
            if self.started or from_signal(failure):
                self._break_off(failure)
                return
            self._send(self._on_error_failed())
        if self.request._after is not None:
            self._start(self._run_after())

    def _break_off(self, error: BaseException) -> None:
        """Nothing can be answered any more. Raises what came from a signal."""
        try:
            self._connection.abort()
        finally:
            if from_signal(error):
                raise error
            self._log_end(error)

    def _log_end(self, error: BaseException) -> None:
        if not isinstance(error, asyncio.CancelledError):
            log.error("answering %r failed", self.request, exc_info=error)
        elif not self.answered and not self._cancelled_for:
            log.warning("%r was cancelled before it was answered", self.request)

    async def _respond(self, awaitable: Awaitable[object]) -> None:
        self._began()
        try:
            await self._respond_to(awaitable)
        finally:
            if self.request._after is not None and not self._is_discarded():
                await self._run_after()

    def _began(self) -> None:
        self.began = True
        if asyncio._get_running_loop() is not None:
            self._me = asyncio.current_task()

    def _is_discarded(self) -> bool:
        """Whether a GeneratorExit means that this coroutine is being closed."""
        if self._me is None:
            return self._discarded
        return asyncio.current_task(self._me.get_loop()) is not self._me

    async def _respond_to(self, awaitable: Awaitable[object]) -> None:
        try:
            response = self._into_response(await awaitable)
        except asyncio.CancelledError as error:
            if self._cancelled_for == "timeout":
                asyncio.current_task().uncancel()  # type: ignore[union-attr]
                self._cancelled_for = ""
                response = await self._error_response(
                    ServiceUnavailable("the request took too long")
                )
            elif self._cancelled_for:
                return  # the client left, or broke its request
            else:
                response = await self._error_response(error)
        except BaseException as error:
            if from_signal(error) or (isinstance(error, GeneratorExit) and self._is_discarded()):
                raise
            connection = self._connection
            gone = connection.is_lost or connection.ended
            gone = gone and isinstance(error, ClientDisconnected)
            if gone or self.abandoned:
                return
            response = await self._error_response(error)
        await self._finish_with(response)

    async def _respond_with(self, result: object) -> None:
        self._began()
        try:
            await self._finish_with(await self._resolve(result))
        finally:
            if self.request._after is not None and not self._is_discarded():
                await self._run_after()

    async def _run_after(self) -> None:
        """What was asked for with `request.after_response`; still the task of the handler, so that
        what was entered there (a task group, a context variable) can be left here."""
        self._connection.flush()  # what follows may take long
        callbacks = self.request._after or []
        before = cancels()
        while callbacks:
            try:
                await callbacks.pop(0)()
            except BaseException as error:
                if self._ends_task(error, before):
                    raise
                log.exception("the work after the response to %r failed", self.request)

    # -- the task -----------------------------------------------------------------------------

    def _start(self, coroutine: Coroutine[Any, Any, None]) -> None:
        """Drive `coroutine` in a task of its own; outside of a running loop, here and now."""
        loop = self._connection.loop
        if loop is None or not loop.is_running():
            try:
                self._context.run(coroutine.send, None)
            except StopIteration:
                return
            self._discarded = True
            coroutine.close()
            raise RuntimeError("the handler has to wait, and no event loop is running")
        task: asyncio.Task[None] = asyncio.Task(
            coroutine, loop=loop, context=self._context, **_EAGER
        )
        self._task = task
        task.add_done_callback(self._task_done)

    def _task_done(self, task: asyncio.Task[None]) -> None:
        self._task = self._me = None
        if not self.began and self._waiting is not None:
            # Cancelled before the first step: the handler was made and never ran.
            self._close_unused(self._waiting)
        self._waiting = None
        error = asyncio.CancelledError() if task.cancelled() else task.exception()
        if error is not None and not from_signal(error):
            self._log_end(error)
        # Ended without a response: it failed, or the client left and there is nobody to answer.
        if not self.answered and not self.abandoned and not self._connection.closing:
            self._connection.end_unanswered()

    def _cancel(self, why: str) -> None:
        if self._task is not None and not self._task.done() and not self._cancelled_for:
            self._cancelled_for = why
            self._task.cancel()

    def client_left(self) -> None:
        """The client is gone: cancel the handler unless its route says otherwise."""
        if self.answered:
            return
        self.request._lost = True
        self.body_reader.body.fail(disconnected)
        if self.request.limits.cancel_on_disconnect:
            self._cancel("left")

    def time_out(self) -> None:
        """The handler took too long to start its response: 503 from the application's error
        handler."""
        self._cancel("timeout")

    def abandon(self) -> None:
        """The request was broken and is answered without the application."""
        self.abandoned = True
        self.client_left()
        self._cancel("broken")

    # -- the response -------------------------------------------------------------------------

    def _keep_alive(self) -> bool:
        """Whether the connection can go on after the response (RFC 9112 section 9.3)."""
        connection = self._connection
        if connection.draining or connection.retiring or not self._framing.keep_alive:
            return False
        return self.body_reader.can_be_left

    def release(self) -> None:
        """The connection is gone: what is left to do needs nothing of it."""
        self.body_reader.release()

    def _send(self, response: Response) -> None:
        """Send a response that is whole."""
        if self.abandoned or self.answered:
            return
        head = self._head
        self._status = response.status_code
        if self._status == 101:
            self._switch(response)
            return
        rendered = render_head(response, head.method, head.minor, self._keep_alive())
        head_and_body = rendered.head, response.body if rendered.has_body else b""
        if not isinstance(head_and_body[1], bytes):
            raise TypeError(f"Response.body: expected bytes, got {type(response.body).__name__}")
        self.started = True
        # Not joined here: many may be waiting with the same large body.
        for data in head_and_body:
            if data:
                self._connection.collect(data)
        self._complete(rendered.keep_alive)

    def _switch(self, response: Response) -> None:
        """Answer 101: what follows is for another codec."""
        framing = self._framing
        upgrade = upgrade_of(response, self._head.minor, framing.chunked or framing.length > 0)
        rendered = upgrade.render()
        self.started = True
        self._connection.collect(rendered)
        self._connection.successor = upgrade.codec
        self._complete(True)

    def _complete(self, keep_alive: bool) -> None:
        self.started = self.answered = True
        self.body_reader.leave()
        # First counted, then sent: what a client has got is in the sums, also of a killed worker.
        self.notify(self._connection.is_lost)
        self._connection.flush_when_due()
        self._connection.answered(keep_alive)

    def notify(self, aborted: bool) -> None:
        """Tell the observer, once, that this is over."""
        connection = self._connection
        if self._notified or connection.observer is None:
            return
        self._notified = True
        if not self._status:
            # Nobody is there to answer to; or it is our own fault that there is no response.
            gone = connection.is_lost and self._cancelled_for != "timeout"
            self._status = 499 if gone else 500
        sent = connection.written - self._mark
        try:
            connection.observer.done(
                self.request, connection.client, self._status, sent, self._began_at, aborted
            )
        except BaseException as error:
            if from_signal(error):
                raise
            log.exception("the observer failed")

    def refused(self, status: int) -> None:
        """It was answered without the application."""
        self._status = status
        self.notify(False)


def disconnected() -> ClientDisconnected:
    """What a reader of the body gets when the client left."""
    return ClientDisconnected("the client left before the body was complete")

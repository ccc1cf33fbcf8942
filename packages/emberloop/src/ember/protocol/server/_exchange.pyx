"""`Exchange`: one request in the application, the task of its handler, and its response.

A plain response of a handler that does not wait never leaves this file. Responses with fields of
their own and responses in pieces go on with the modules that the pure build uses too: `render_head`
and `send_stream`.
"""

import logging
import sys
from asyncio import CancelledError, Task as AsyncioTask, current_task

from cpython.bytes cimport PyBytes_AS_STRING, PyBytes_GET_SIZE
from libc.math cimport INFINITY
from libc.string cimport memcmp

from ember.protocol.server._whole_response cimport FIELDS_MAX, plain, write_whole
from ember.protocol.message._request cimport DEFAULT_LIMITS
from ember.protocol.message._response cimport Response

from ember.exceptions import ClientDisconnected, ProtocolError, ServiceUnavailable
from ember._interrupts import from_signal
from ember.protocol.server.codec import upgrade_of
from ember.protocol.http1.render import STATUS_LINES as _STATUS_LINES, render_head
from ember.protocol.message.pure.request import too_large
from ember.protocol.server.streaming import begin_stream, send_stream

cdef extern from "Python.h":
    object PyContext_Copy(object context)
    int PyContext_Enter(object context) except -1
    int PyContext_Exit(object context) except -1
    bint PyCoro_CheckExact(object value)
    const char *PyUnicode_AsUTF8AndSize(object text, Py_ssize_t *size) except NULL

cdef extern from *:
    """
    static int ember_is_steppable(PyObject *value) {
        PyAsyncMethods *methods = Py_TYPE(value)->tp_as_async;
        return methods != NULL && methods->am_await != NULL && methods->am_send != NULL;
    }
    """
    # Whether it can be awaited, and driven by PyIter_Send as it is: a coroutine of Python's, of a
    # compiled function, or what behaves like one. A plain generator cannot be awaited.
    bint ember_is_steppable(object value) noexcept

log = logging.getLogger("ember.protocol")

cdef dict STATUS_LINES = _STATUS_LINES
cdef dict EAGER = {"eager_start": True} if sys.version_info >= (3, 12) else {}


def disconnected():
    """What a reader of the body gets when the client left."""
    return ClientDisconnected("the client left before the body was complete")


async def await_it(awaitable):
    return await awaitable


cdef int close_unused(object awaitable) except -1:
    """What a handler gave will not be awaited after all."""
    try:
        close = getattr(awaitable, "close", None)
        if close is not None:
            close()
    except BaseException as error:
        if from_signal(error):
            raise
        log.exception("%r could not be closed", awaitable)
    return 0


def cancels_of(task):
    """How often `task` was asked to end; 0 where it is not a task."""
    return 0 if task is None else task.cancelling()


cdef class Exchange(Task):
    """A request in the application, and the task that its handler runs in."""

    @property
    def max_body_size(self):
        """Bytes that the route takes, as `dispatch` has left it."""
        return self.request.limits.max_body_size

    cdef bint is_over(self) except -1:
        """Whether the next request may begin."""
        return self.answered and (self.body_reader is None or self.body_reader.decoder is None)

    cdef int call(self) except -1:
        """Call the application. Raises `ProtocolError` (413)."""
        cdef object value
        cdef bint waits
        self.context = PyContext_Copy(self.output.context)
        PyContext_Enter(self.context)
        try:
            try:
                value = self.output.dispatch(self.request)
                waits = ember_is_steppable(value) or hasattr(value, "__await__")
            except BaseException as error:
                self.start_coroutine(self.ended(None, error))
                return 0
            if waits:
                self.start_waiting(value)
            else:
                self.start_coroutine(self.ended(value, None))
        finally:
            PyContext_Exit(self.context)
        return 0

    cdef int start_waiting(self, object awaitable) except -1:
        limits = self.request.limits
        if limits is not DEFAULT_LIMITS or self.framing is not None \
                or self.output.limits.request_timeout is not None:
            if self.request.head.content_length > <Py_ssize_t>limits.max_body_size:
                close_unused(awaitable)
                raise ProtocolError(413, too_large(limits.max_body_size).detail)
            seconds = limits.timeout
            if seconds is None:
                seconds = self.output.limits.request_timeout
            if seconds is not None:
                self.output.handler_within(seconds)
        if PyCoro_CheckExact(awaitable):
            return self.start_coroutine(awaitable)
        # What is driven like a coroutine is driven as it is; anything else needs one around it.
        self.awaited = awaitable
        if ember_is_steppable(awaitable) or hasattr(awaitable, "send"):
            return self.start_coroutine(awaitable)
        return self.start_coroutine(await_it(awaitable))

    cdef int start_coroutine(self, object coro) except -1:
        """Drive `coro` (None: nothing is left to do) in this task, whose context is entered."""
        if coro is None:
            return 0
        self._loop = self.output.loop
        self.coro = coro
        if self.output.strict and self._loop is not None:
            # An eager task enters the context by itself, and none may be entered twice.
            PyContext_Exit(self.context)
            try:
                self.genuine = AsyncioTask(self.drive(coro), loop=self._loop,
                                           context=self.context, **EAGER)
            finally:
                PyContext_Enter(self.context)
            self.genuine.add_done_callback(self._genuine_done)
            return 0
        self.began = True
        return self.step(None)

    async def drive(self, coro):
        """The same in a genuine asyncio task."""
        self.began = True
        task = current_task()
        while coro is not None:
            value = error = None
            try:
                value = await coro
            except BaseException as caught:
                if isinstance(caught, GeneratorExit) and current_task(self._loop) is not task:
                    raise   # nobody drives this any more: the loop was closed under it
                error = caught
            coro = self.coro = self.ended(value, error)

    def _genuine_done(self, task):
        if not self.began and self.coro is not None:
            # Cancelled before the first step: the handler was made and never ran.
            self.over = True
            self.coro.close()
            close_unused(self.awaited)
            self.give_up()
        self.genuine = None         # it refers to this exchange: no circle stays behind

    # ---- the outcome -----------------------------------------------------------------------

    cdef object ended(self, object value, object error):
        """The handler has ended, or what came after it. Returns the coroutine to go on with.

        Whatever happens in here ends in a response, or with the connection aborted and a line in
        the log. Raises only what came from a signal.
        """
        if self.finishing:
            return self.conclude(error, False)
        self.finishing = True
        try:
            if error is None:
                if type(value) is str and self.request._after is None and not self.abandoned:
                    self.send_text(value)
                    self.finish(None, None)
                    return None
                return self.answer(value)
        except BaseException as failure:
            error = failure
        if self.started:
            return self.conclude(error, True)
        try:
            return self.answer_error(error)
        except BaseException as failure:
            return self.conclude(failure, True)

    cdef object answer(self, object value):
        """Send what the handler gave."""
        cdef Response response
        if self.abandoned:
            return self.last(None)
        response = self.into_response(value)
        if response.stream is not None:
            return self.finish_with(response)
        self.send(response)
        return self.last(None)

    cdef object answer_error(self, object error):
        """Send what the application makes of an error."""
        if isinstance(error, CancelledError):
            if self.cancelled_for == TIMEOUT:
                (self if self.genuine is None else self.genuine).uncancel()
                self.cancelled_for = NOT_CANCELLED
                error = ServiceUnavailable("the request took too long")
            elif self.cancelled_for:
                return self.last(error)     # the client left, or broke its request
        elif not isinstance(error, Exception) and from_signal(error):
            return self.conclude(error, True)
        elif self.abandoned or (isinstance(error, ClientDisconnected)
                                and (self.output.is_lost or self.output.ended)):
            return self.last(error)
        response = self.on_error(error)
        if isinstance(response, Response) and (<Response>response).stream is None:
            try:
                self.send(response)
            except BaseException as failure:
                if self.started or from_signal(failure):
                    raise
                self.send(self.on_error_failed())
            return self.last(None)
        return self.finish_with(response)

    cdef object last(self, object error):
        """Nothing more to send; what was to follow the response is left."""
        if self.request._after is not None:
            return self.run_after()
        self.give_up()
        self.finish(None, error)
        return None

    cdef object conclude(self, object error, bint broken):
        """The end of the task. `broken`: what was being sent is not whole, or cannot be."""
        cdef bint interrupt = error is not None and from_signal(error)
        self.finish(None, error)
        try:
            if broken or interrupt:
                self.output.abort_now()
            else:
                self.give_up()
        finally:
            if error is not None and not interrupt:
                self.log_end(error)
        if interrupt:
            self.coro = None
            raise error
        return None

    cdef int log_end(self, object error) except -1:
        if not isinstance(error, CancelledError):
            log.error("answering %r failed", self.request, exc_info=error)
        elif not self.answered and not self.cancelled_for:
            log.warning("%r was cancelled before it was answered", self.request)
        return 0

    cdef int give_up(self) except -1:
        # Ended without a response: it failed, or the client left and there is nobody to answer.
        if not self.answered and not self.abandoned and not self.output.closing:
            self.output.end_unanswered()
        return 0

    cdef object into_response(self, object value):
        if type(value) is Response:
            return value
        if isinstance(value, Response):
            response = value
        elif type(value) is str or type(value) is bytes:
            return Response(value)
        else:
            response = self.output.app.into_response(self.request, value)
        if response.stream is not None:
            # A file, of which the request may want a part, or nothing because it has it.
            for_request = getattr(response, "for_request", None)
            if for_request is not None:
                return for_request(self.request)
        return response

    cdef object on_error(self, object error):
        try:
            return self.output.app.on_error(self.request, error)
        except BaseException as failure:
            if from_signal(failure):
                raise
            return self.on_error_failed()

    def on_error_failed(self, error=True):
        log.error("the error handler failed while answering %r", self.request, exc_info=error)
        return Response("Internal Server Error", 500)

    async def resolve(self, result):
        """The response that `on_error` gave, maybe after a wait."""
        before = cancels_of(self.driver())
        try:
            if hasattr(result, "__await__"):
                result = await result
            if isinstance(result, Response):
                return result
            raise TypeError(f"on_error must return a Response, got {type(result).__name__}")
        except BaseException as error:
            if self.ends_task(error, before):
                raise
            return self.on_error_failed()

    def driver(self):
        """The task that the handler sees."""
        return self if self.genuine is None else self.genuine

    def ends_task(self, error, before):
        """Whether `error`, caught in this task, is a request to end it: from a signal, or a
        cancellation after it had been asked `before` times."""
        if isinstance(error, CancelledError):
            return self.must_cancel or cancels_of(self.driver()) > before
        return from_signal(error)

    async def run_after(self):
        """What was asked for with `request.after_response`; still the task of the handler, so that
        what was entered there (a task group, a context variable) can be left here."""
        self.output.flush()     # what follows may take long
        callbacks = self.request._after or []
        before = cancels_of(self.driver())
        while callbacks:
            try:
                await callbacks.pop(0)()
            except BaseException as error:
                if self.ends_task(error, before):
                    raise
                log.exception("the work after the response to %r failed", self.request)

    async def finish_with(self, result):
        """Send what the application made of an error, or a response in pieces."""
        cdef int attempt = 0
        try:
            response = await self.resolve(result)
            while not self.abandoned:
                try:
                    await self.deliver(response)
                    return
                except BaseException as error:
                    if isinstance(error, CancelledError) or from_signal(error):
                        raise
                    if self.started or attempt == 2:
                        self.answered = True
                        self.output.abort_now()
                        raise
                    failure = error
                # There are no bytes for it: a status, a field or a text that HTTP cannot carry.
                attempt += 1
                response = self.on_error_failed(failure) if attempt == 2 else \
                    await self.resolve(self.on_error(failure))
                failure = None
        finally:
            if self.request._after is not None:
                await self.run_after()

    async def deliver(self, response):
        """Send `response`, whole or piece by piece. Raises before its first byte, if it does."""
        output = self.output
        if response.stream is None:
            self.send(response)
            return
        keep_alive = self.keep_alive()
        rendered = render_head(response, self.request.method, self.request.head.minor, keep_alive)
        output.handler_until = INFINITY
        begun = await begin_stream(response.stream, rendered)
        if self.keep_alive() != keep_alive:
            # Meanwhile the server was told to stop, or the request's body was read to its end.
            rendered = render_head(response, self.request.method, self.request.head.minor,
                                   not keep_alive)
        self.status = response.status_code
        self.started = True
        try:
            await send_stream(output, begun, rendered)
        except CancelledError:
            self.answered = True    # or the abort would cancel what follows the response
            if not self.cancelled_for:
                log.warning("%r was cancelled in the middle of its response", self.request)
            output.abort_now()
            if not self.cancelled_for:
                raise
        except ClientDisconnected:
            self.answered = True
            output.abort_now()
        except BaseException as error:
            self.answered = True
            if output.observer is not None:
                self.notify(True)
            if from_signal(error):
                output.abort_now()
                raise
            log.exception("the response to %r broke in the middle", self.request)
            if rendered.chunked or rendered.length is not None:
                # The last chunk, or the rest of the length, is missing: the client sees that.
                output.close_broken()
            else:
                output.abort_now()  # the end of the connection would be that of the body
        else:
            self.complete(rendered.keep_alive)

    # ---- the response ----------------------------------------------------------------------

    cdef bint keep_alive(self) except -1:
        """Whether the connection can go on after the response."""
        if not self.output.persists(&self.request.head):
            return False
        return self.body_reader is None or self.body_reader.can_be_left

    cdef bint head_only(self) noexcept:
        cdef const char *method = PyBytes_AS_STRING(self.request.raw) + self.request.head.start
        return self.request.head.method_len == 4 and memcmp(method, b"HEAD", 4) == 0

    cdef int send_text(self, str text) except -1:
        """A plain str: 200, text/plain."""
        cdef Py_ssize_t size
        self.status = 200
        cdef const char *data = PyUnicode_AsUTF8AndSize(text, &size)
        return self.send_whole(b"HTTP/1.1 200 OK\r\n", b"text/plain; charset=utf-8", 25, None, data,
                               size, None)

    cdef int send(self, Response response) except -1:
        """Send a response that is whole."""
        cdef int status
        cdef Py_ssize_t size
        cdef const char *kind = NULL
        cdef bytes body, fields = None
        cdef object headers = response._headers if response._shared is None else response._shared
        cdef bint simple = True
        if self.abandoned or self.answered:
            return 0
        status = self.status = response.status_code
        if headers is not None:
            fields = headers.encoded()
            simple = fields is not None and PyBytes_GET_SIZE(fields) <= FIELDS_MAX
        if status == 304:
            # No length: nothing is said of what was not sent (RFC 9110 section 15.4.5).
            simple = simple and PyBytes_GET_SIZE(response.body) == 0
        elif status == 204 or status == 205 or status < 200:
            simple = False
        if simple:
            size = 0
            content_type = response._content_type
            if content_type is not None:
                kind = PyUnicode_AsUTF8AndSize(content_type, &size)
            line = STATUS_LINES.get(status)
            if line is not None and size <= 256 and plain(kind, size):
                body = response.body
                return self.send_whole(line, kind, size, fields, PyBytes_AS_STRING(body),
                                       -1 if status == 304 else PyBytes_GET_SIZE(body), body)
        if status == 101:
            return self.switch(response)
        request = self.request
        rendered = render_head(response, request.method, request.head.minor, self.keep_alive())
        self.started = True
        self.output.write(rendered.head)
        if rendered.has_body:
            self.output.write(response.body)
        return self.complete(rendered.keep_alive)

    cdef int switch(self, Response response) except -1:
        """Answer 101: what follows is for another codec."""
        upgrade = upgrade_of(response, self.request.head.minor,
                             self.body_reader is not None or len(self.request.content) > 0)
        head = upgrade.render()
        self.started = True
        self.output.write(head)
        self.output.successor = upgrade.codec
        return self.complete(True)

    cdef int send_whole(self, bytes line, const char *kind, Py_ssize_t kind_size, bytes fields,
                        const char *data, Py_ssize_t size, bytes body) except -1:
        """Head and body in one piece, written where they are sent from."""
        cdef bint keep = self.keep_alive()
        if self.abandoned or self.answered:
            return 0
        if self.output.is_lost:
            return self.complete(False)
        self.started = True
        write_whole(self.output, line, kind, kind_size, fields, data, size, body, keep,
                    self.request.head.minor == 0, self.head_only())
        return self.complete(keep)

    cdef int complete(self, bint keep_alive) except -1:
        self.started = self.answered = True
        if self.body_reader is not None:
            self.body_reader.leave()
        if self.output.observer is not None:
            self.notify(self.output.is_lost)
        return self.output.answered(keep_alive)

    cdef int notify(self, bint aborted) except -1:
        """Tell the observer, once, that this is over."""
        cdef HTTPOutput output = self.output
        if not self.notified:
            self.notified = True
            if not self.status:
                # Nobody is there to answer to; or it is our own fault that there is no response.
                self.status = 499 if output.is_lost and self.cancelled_for != TIMEOUT else 500
            try:
                output.observer.done(self.request, output.peer_told, self.status,
                                     output.written - self.mark, self.began_at, aborted)
            except BaseException as error:
                if from_signal(error):
                    raise
                log.exception("the observer failed")
        return 0

    # ---- the end from outside --------------------------------------------------------------

    cdef int cancel_for(self, int why) except -1:
        if self.coro is not None and not self.over and not self.cancelled_for:
            self.cancelled_for = why
            (self if self.genuine is None else self.genuine).cancel()
        return 0

    cdef int client_left(self) except -1:
        """The client is gone: cancel the handler unless its route says otherwise."""
        if self.answered:
            return 0
        self.request._lost = True
        if self.body_reader is not None:
            self.body_reader.body.fail(disconnected)
        if self.request.limits.cancel_on_disconnect:
            self.cancel_for(LEFT)
        return 0

    cdef int release(self) except -1:
        """The connection is gone: what is left to do needs nothing of it."""
        if self.body_reader is not None:
            self.body_reader.release()
        return 0

    cdef int abandon(self) except -1:
        """The request was broken and is answered without the application."""
        self.abandoned = True
        self.client_left()
        return self.cancel_for(BROKEN)

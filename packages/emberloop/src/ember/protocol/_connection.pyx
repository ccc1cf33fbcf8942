"""`Connection` and `Exchange` of the compiled build: bytes in, requests through, answers out.

The short way (no body or a small one that came with the head, a handler that does not wait, a plain
answer) never leaves this file. Everything else goes on with the modules that the pure build uses
too: `Intake` for bodies that are still on their way, `render_head` for answers with fields of their
own, `send_stream` for answers in pieces.
"""

import contextvars
import logging
from asyncio import CancelledError, Task as AsyncioTask
import sys
from weakref import WeakKeyDictionary

from cpython.bytearray cimport PyByteArray_AS_STRING, PyByteArray_GET_SIZE, PyByteArray_Resize
from cpython.bytes cimport PyBytes_AS_STRING, PyBytes_FromStringAndSize, PyBytes_GET_SIZE
from libc.math cimport INFINITY
from libc.string cimport memcmp, memcpy
from libc.time cimport time, time_t

from ember.protocol._request cimport (
    DEFAULT_LIMITS,
    H1_CHUNKED,
    H1_CLOSE,
    H1_CONTINUE,
    H1_ERROR,
    H1_KEEP_ALIVE,
    H1_MORE,
    h1_parse,
    h1_reset,
    make_request,
)
from ember.protocol._response cimport Response

from ember.exceptions import ClientDisconnected, ProtocolError, ServiceUnavailable
from ember.protocol.dates import date_field
from ember.protocol.pure.framing import Framing
from ember.protocol.pure.intake import DRAIN_LIMIT as _DRAIN_LIMIT, Intake
from ember.protocol.pure.render import _STATUS_LINES, render_error, render_head
from ember.protocol.pure.request import too_large
from ember.protocol.pure.streaming import send_stream

cdef extern from "Python.h":
    object PyContext_Copy(object context)
    int PyContext_Enter(object context) except -1
    int PyContext_Exit(object context) except -1
    bint PyCoro_CheckExact(object value)
    const char *PyUnicode_AsUTF8AndSize(object text, Py_ssize_t *size) except NULL

log = logging.getLogger("ember.protocol")

cdef double NEVER = INFINITY
cdef Py_ssize_t DRAIN_LIMIT = _DRAIN_LIMIT
cdef dict STATUS_LINES = _STATUS_LINES
cdef dict EAGER = {"eager_start": True} if sys.version_info >= (3, 12) else {}

cdef enum:
    MOVED = -2          # the rest of the input lies in Connection.buffer now
    INLINE_BODY = 15360     # bytes of an answer that are copied behind its head

    # what is awaited from the peer
    NOTHING = 0
    HEAD = 1
    BODY = 2
    IDLE = 3

    # why a handler was cancelled
    NOT_CANCELLED = 0
    LEFT = 1
    TIMEOUT = 2
    BROKEN = 3

cdef dict PHASES = {"head": HEAD, "body": BODY, "idle": IDLE, "": NOTHING}
cdef double COARSE = 0.25       # seconds between two sweeps, at most
cdef double FINE = 0.01


# ---- the Date field, made once a second -----------------------------------------------------

cdef char DATE[64]
cdef Py_ssize_t date_size = 0
cdef time_t date_second = 0


cdef int refresh_date() except -1:
    global date_size, date_second
    cdef bytes field
    cdef time_t now = time(NULL)
    if now != date_second:
        field = date_field()
        date_size = PyBytes_GET_SIZE(field)
        memcpy(DATE, PyBytes_AS_STRING(field), date_size)
        date_second = now
    return 0


cdef inline char *put(char *to, const char *what, Py_ssize_t size) noexcept:
    memcpy(to, what, size)
    return to + size


cdef inline char *put_number(char *to, Py_ssize_t number) noexcept:
    cdef char digits[24]
    cdef int at = 24
    while True:
        at -= 1
        digits[at] = <char>(48 + number % 10)
        number //= 10
        if number == 0:
            break
    return put(to, digits + at, 24 - at)


# ---- deadlines ------------------------------------------------------------------------------

_sweeps = WeakKeyDictionary()


cdef class Sweep:
    """Looks at every connection of one loop now and then. Sleeps while there is none."""

    def __init__(self, loop):
        self.loop = loop
        self.connections = set()
        self.interval = COARSE
        self.now = loop.time()

    cdef int add(self, Connection connection) except -1:
        if self.timer is None:
            self.now = self.loop.time()
            self.schedule()
        self.connections.add(connection)
        return 0

    cdef int discard(self, Connection connection) except -1:
        self.connections.discard(connection)
        if not self.connections and self.timer is not None:
            self.timer.cancel()
            self.timer = None
            self.interval = COARSE
        return 0

    cdef int want(self, double seconds) except -1:
        """A limit of so many seconds is to be kept."""
        cdef double interval = max(FINE, seconds / 4)
        if interval < self.interval:
            self.interval = interval
            if self.timer is not None:
                self.timer.cancel()
                self.now = self.loop.time()
                self.schedule()
        return 0

    cdef int schedule(self) except -1:
        self.timer = self.loop.call_later(self.interval, self._run)
        return 0

    def _run(self):
        self.now = self.loop.time()
        self.schedule()
        for connection in tuple(self.connections):
            (<Connection>connection).check(self.now)


cdef Sweep sweep_of(object loop):
    sweep = _sweeps.get(loop)
    if sweep is None:
        sweep = _sweeps[loop] = Sweep(loop)
    return sweep


# ---- the connection -------------------------------------------------------------------------

cdef class Connection:
    """The server's side of a connection.

    The owner calls `feed`, `eof`, `lost`, `pause_writing` and `resume_writing`; the connection
    calls the application and writes to its sink. One request is in the application at a time;
    bytes behind it wait, at most `limits.max_pipelined` of them, then the client waits.
    """

    def __init__(self, app, Sink sink, *, limits=None, client=None, scheme="http",
                 bint strict_tasks=False):
        self.app = app
        self.dispatch = app.dispatch
        self.limits = app.limits if limits is None else limits
        self.client = client
        self.scheme = scheme
        self.sink = sink
        self.strict = strict_tasks
        # What every request starts from, so that none sees what another one has set.
        self.context = contextvars.copy_context()
        self.buffer = bytearray()
        self.reading = True
        self.read_until = self.handler_until = self.moved_at = NEVER
        self.phase = HEAD
        self.bounds.max_target = self.limits.max_target_size
        self.bounds.max_head = self.limits.max_header_size
        self.bounds.max_fields = self.limits.max_headers
        h1_reset(&self.head)

    cdef int attach(self, object loop) except -1:
        """Deadlines hold, and handlers may wait, from now on."""
        limits = self.limits
        self.loop = loop
        self.sweep = sweep_of(loop)
        self.sweep.add(self)
        self.sweep.want(min(limits.header_timeout, limits.body_timeout, limits.keep_alive_timeout,
                            limits.write_timeout))
        self.moved_at = self.sweep.now
        self.expect_within(HEAD, limits.header_timeout)
        return 0

    # ---- from below ------------------------------------------------------------------------

    cdef int feed(self, char *data, Py_ssize_t size) except -1:
        """Bytes arrived; `data` is valid during the call."""
        cdef Py_ssize_t used, kept
        if self.closing:
            return 0    # what still comes is only read so that the answer is not lost to a reset
        kept = PyByteArray_GET_SIZE(self.buffer)
        if kept or self.exchange is not None or self.processing or self.paused or self.draining:
            PyByteArray_Resize(self.buffer, kept + size)
            memcpy(PyByteArray_AS_STRING(self.buffer) + kept, data, size)
            return self.process()
        self.processing = True
        try:
            used = self.serve(data, size, False)
            if not self.closing:
                if used != MOVED and used < size:
                    PyByteArray_Resize(self.buffer, size - used)
                    memcpy(PyByteArray_AS_STRING(self.buffer), data + used, size - used)
                if self.exchange is not None or self.draining:
                    self.go_on()
        except ProtocolError as error:
            self.refuse_with(error)
        finally:
            self.processing = False
            self.sink.flush()
        return self.look()

    cdef int eof(self) except -1:
        """The peer will send no more. Most often it has gone. What is answered without waiting is
        still answered; a handler that waits is cancelled."""
        cdef Exchange exchange = self.exchange
        self.ended = True
        if exchange is None or exchange.answered:
            return self.stop_cleanly()
        if exchange.intake is not None and exchange.intake.decoder is not None:
            exchange.intake.body.fail(disconnected())
        self._check_end(self.requests, 0)
        return 0

    def _check_end(self, Py_ssize_t request, int turns):
        cdef Exchange exchange = self.exchange
        if self.closing or exchange is None:
            return
        if self.requests != request or not exchange.began:
            turns = 0   # pipelined requests: each gets the turns that it needs if it does not wait
        if turns >= 2 or self.loop is None:
            exchange.client_left()
        else:
            self.loop.call_soon(self._check_end, self.requests, turns + 1,
                                context=PyContext_Copy(self.context))

    cdef int lost(self) except -1:
        """The connection is gone; the last call from below."""
        if self.is_lost:
            return 0
        self.is_lost = self.closing = True
        self.buffer.clear()
        if self.sweep is not None:
            self.sweep.discard(self)
        self.read_until = self.handler_until = NEVER
        self.wake()
        if self.exchange is not None:
            self.exchange.client_left()
        return 0

    cdef int pause_writing(self) except -1:
        """The peer takes less than is sent: producers wait, and no further request begins."""
        self.paused = True
        return 0

    cdef int resume_writing(self) except -1:
        """The peer has caught up."""
        self.paused = False
        self.wake()
        return self.process()

    cpdef int drain_and_close(self) except -1:
        """Finish what is in flight, then close; at once when nothing is."""
        self.draining = True
        if self.exchange is None or self.exchange.answered:
            self.stop_cleanly()
        return 0

    cdef int wake(self) except -1:
        if self.resumed is not None and not self.resumed.done():
            self.resumed.set_result(None)
        return 0

    # ---- one exchange after the other ------------------------------------------------------

    cdef int process(self) except -1:
        """Go on with what is in the buffer, as far as that is possible now."""
        if self.processing:
            return 0
        self.processing = True
        try:
            self.go_on()
        except ProtocolError as error:
            self.refuse_with(error)
        finally:
            self.processing = False
            self.sink.flush()
        return self.look()

    def _process(self):
        self.process()

    cdef int go_on(self) except -1:
        cdef Exchange exchange
        cdef Py_ssize_t used
        while not self.closing:
            exchange = self.exchange
            if exchange is not None:
                if exchange.intake is not None and exchange.intake.pump():
                    continue
                if not exchange.is_over():
                    if exchange.answered and self.ended:
                        self.stop_cleanly()     # the rest of the request's body will never come
                    return 0
                self.exchange = None
            elif self.draining:
                self.stop_cleanly()
            elif self.paused:
                return 0
            else:
                used = 0
                if PyByteArray_GET_SIZE(self.buffer):
                    used = self.serve(PyByteArray_AS_STRING(self.buffer),
                                      PyByteArray_GET_SIZE(self.buffer), True)
                if self.closing or used == MOVED:
                    continue
                if used:
                    del self.buffer[:used]
                    continue
                if self.ended:
                    self.stop_cleanly()
                return 0
        return 0

    cdef Py_ssize_t serve(self, char *data, Py_ssize_t size, bint buffered) except -1:
        """Begin the requests in `data`, one after the other, until one has to wait or is not whole.
        Returns how many bytes were used, or MOVED."""
        cdef Py_ssize_t at = 0, used
        cdef int status
        while at < size:
            status = h1_parse(&self.head, data + at, <unsigned int>min(size - at, 0x7fffffff),
                              &self.bounds)
            if status == H1_MORE:
                break
            if status == H1_ERROR:
                # An answer to HEAD has no body, whatever was wrong with the request.
                self.head_only = self.head.method_len == 4 and \
                    memcmp(data + at + self.head.start, b"HEAD", 4) == 0
                raise ProtocolError(self.head.status, (<bytes>self.head.reason).decode())
            used = self.begin(data + at, size - at, buffered)
            if used == MOVED:
                return MOVED
            at += used
            if self.closing:
                return MOVED
            if self.exchange is not None or self.paused or self.draining:
                break
        return at

    cdef Py_ssize_t begin(self, char *data, Py_ssize_t size, bint buffered) except -1:
        """The head at `data` is complete: call the application. Returns the bytes used, or MOVED
        when the body is still on its way."""
        cdef Exchange exchange = Exchange.__new__(Exchange)
        cdef Request request = make_request(&self.head, data, self.client, self.scheme)
        cdef Py_ssize_t length = self.head.content_length, used = self.head.pos
        cdef int flags = self.head.flags
        self.requests += 1
        self.phase = NOTHING
        self.read_until = NEVER
        h1_reset(&self.head)
        exchange.connection = self
        exchange.request = request
        self.exchange = exchange
        if length <= 0 and not flags & H1_CHUNKED:
            request.content = b""
        elif not flags & (H1_CHUNKED | H1_CONTINUE) and length <= DRAIN_LIMIT \
                and size - used >= length:
            request.content = PyBytes_FromStringAndSize(data + used, length)
            used += length
        else:
            if buffered:
                del self.buffer[:(data - PyByteArray_AS_STRING(self.buffer)) + used]
            else:
                PyByteArray_Resize(self.buffer, size - used)
                memcpy(PyByteArray_AS_STRING(self.buffer), data + used, size - used)
            framing = exchange.framing = Framing()
            framing.length = max(length, 0)
            framing.chunked = bool(flags & H1_CHUNKED)
            framing.expects_continue = bool(flags & H1_CONTINUE)
            exchange.intake = Intake(self, exchange, framing)
            request.source = exchange.intake.body
            used = MOVED
        exchange.call()
        if used != MOVED and exchange.answered and self.exchange is exchange:
            self.exchange = None
        return used

    cdef int answered(self, bint keep_alive) except -1:
        """The answer of the current exchange is complete."""
        cdef Exchange exchange
        self.handler_until = NEVER
        if self.closing:
            return 0
        if not keep_alive:
            return self.stop_cleanly()
        if not self.processing:
            exchange = self.exchange
            if exchange.is_over() and not PyByteArray_GET_SIZE(self.buffer) and not self.ended \
                    and not self.draining:
                self.exchange = None
                return self.look()
            # Not from here: this is still the context of the request that was answered.
            self.loop.call_soon(self._process, context=PyContext_Copy(self.context))
        return 0

    def refuse(self, error):
        """Answer a broken request and end the connection: where it continues is not known."""
        self.refuse_with(error)

    cdef int refuse_with(self, object error) except -1:
        cdef Exchange exchange = self.exchange
        log.warning("%s: %s", self.peer, error)
        if exchange is not None and exchange.answered:
            # The answer is out; what follows it cannot be told any more.
            return self.stop_cleanly()
        if exchange is not None and exchange.started:
            exchange.abandon()
            return self.abort_now()
        if not self.closing:
            if exchange is not None:
                exchange.abandon()
                method = exchange.request.method
            else:
                method = "HEAD" if self.head_only else "GET"
            self.write(render_error(error, method))
            self.stop(True)
        return 0

    @property
    def peer(self):
        """The client's address, for the log."""
        return "client" if self.client is None else f"{self.client[0]}:{self.client[1]}"

    # ---- to below --------------------------------------------------------------------------

    def write(self, data):
        """Send `data`, together with what else is sent in this turn."""
        if self.is_lost or not data:
            return
        self.written += len(data)
        self.sink.write(data)
        if not self.processing:
            self.sink.flush()

    def flush(self):
        """Let go what was collected."""
        if not self.is_lost:
            self.sink.flush()

    async def drain(self):
        """Wait until the peer has caught up. Raises `ClientDisconnected` when it left."""
        while self.paused and not self.is_lost:
            self.resumed = self.loop.create_future()
            try:
                await self.resumed
            finally:
                self.resumed = None
        if self.is_lost:
            raise ClientDisconnected("the client left before the end of the answer")

    def close(self):
        """End the connection after what was written."""
        self.stop_cleanly()

    cdef int stop_cleanly(self) except -1:
        cdef Exchange exchange = self.exchange
        cdef bint unread = PyByteArray_GET_SIZE(self.buffer) > 0
        if exchange is not None and exchange.intake is not None:
            unread = unread or not exchange.intake.body.complete
        return self.stop(unread and not self.ended)

    cdef int stop(self, bint linger) except -1:
        if not self.closing:
            self.closing = True
            self.read_until = self.handler_until = NEVER
            self.buffer.clear()
            self.sink.flush()
            self.sink.close(linger)
        return 0

    def abort(self):
        """End the connection now, so that the peer does not take it for the end of a message."""
        self.abort_now()

    cdef int abort_now(self) except -1:
        self.closing = True
        self.read_until = self.handler_until = NEVER
        self.buffer.clear()
        return self.sink.abort()

    def close_broken(self):
        """End the connection after what was written, in the middle of a message."""
        self.closing = True
        self.sink.flush()
        self.sink.close(False)

    # ---- backpressure and time -------------------------------------------------------------

    @property
    def deadlines(self):
        """Itself: what the shared modules tell of deadlines is kept here."""
        return self

    def expect(self, phase, seconds):
        """The peer has so many seconds for what `phase` names."""
        self.expect_within(PHASES[phase], seconds)

    def after_input(self):
        """Decide whether the client may send, and how long it may take."""
        self.look()

    cdef int look(self) except -1:
        cdef Exchange exchange = self.exchange
        cdef Py_ssize_t kept
        cdef bint wanted
        if self.closing:
            return 0
        kept = PyByteArray_GET_SIZE(self.buffer)
        if exchange is None:
            wanted = not self.paused or kept < self.limits.max_pipelined
            if self.paused:
                self.read_until = NEVER
                self.phase = NOTHING
            elif kept:
                if self.phase != HEAD:
                    self.expect_within(HEAD, self.limits.header_timeout)
            elif self.requests and self.phase != IDLE:
                self.expect_within(IDLE, self.limits.keep_alive_timeout)
        elif exchange.intake is not None and exchange.intake.decoder is not None:
            wanted = exchange.intake.wanted
            if not wanted:
                self.read_until = NEVER
                self.phase = NOTHING
            elif self.phase != BODY:
                self.expect_within(BODY, self.limits.body_timeout)
        else:
            # A body over its limit leaves a rest that nobody will take.
            wanted = (exchange.intake is None or exchange.intake.body.complete) \
                and kept < self.limits.max_pipelined
            self.read_until = NEVER
            self.phase = NOTHING
        if wanted != self.reading:
            self.reading = wanted
            if wanted:
                self.sink.resume_reading()
            else:
                self.sink.pause_reading()
        return 0

    cdef int expect_within(self, int phase, double seconds) except -1:
        self.phase = phase
        if self.sweep is not None:
            # The sweep's clock is late by up to one interval: never close too early.
            self.read_until = self.sweep.now + self.sweep.interval + seconds
        return 0

    cdef int check(self, double now) except -1:
        """Called by the sweep."""
        cdef Py_ssize_t backlog
        cdef long long progress
        if now >= self.handler_until:
            self.handler_until = NEVER
            if self.exchange is not None:
                self.exchange.cancel_for(TIMEOUT)
        if now >= self.read_until:
            self.read_until = NEVER
            if self.phase == BODY:
                self.refuse_with(ProtocolError(408, "the request body did not arrive in time"))
            elif PyByteArray_GET_SIZE(self.buffer):
                self.refuse_with(ProtocolError(408, "the request head did not arrive in time"))
            else:
                self.stop_cleanly()
        backlog = self.sink.backlog()
        progress = self.sink.progress() if backlog else 0
        if backlog == 0 or progress != self.progress:
            self.progress = progress
            self.moved_at = now
        elif now - self.moved_at >= self.limits.write_timeout:
            log.warning("%s: took nothing of %d bytes in time; reset", self.peer, backlog)
            self.abort_now()
        return 0


def disconnected():
    """What a reader of the body gets when the client left."""
    return ClientDisconnected("the client left before the body was complete")


async def await_it(awaitable):
    return await awaitable


cdef int close_unused(object awaitable) except -1:
    """What a handler gave will not be awaited after all."""
    close = getattr(awaitable, "close", None)
    if close is not None:
        close()
    return 0


# ---- one request and its answer -------------------------------------------------------------

cdef class Exchange(Task):
    """A request in the application, and the task that its handler runs in."""

    @property
    def max_body_size(self):
        """Bytes that the route takes, as `dispatch` has left it."""
        return self.request.limits.max_body_size

    cdef bint is_over(self) except -1:
        """Whether the next request may begin."""
        return self.answered and (self.intake is None or self.intake.decoder is None)

    cdef int call(self) except -1:
        """Call the application. Raises `ProtocolError` (413)."""
        cdef object value
        self.context = PyContext_Copy(self.connection.context)
        PyContext_Enter(self.context)
        try:
            try:
                value = self.connection.dispatch(self.request)
            except Exception as error:
                self.start_coroutine(self.ended(None, error))
                return 0
            if PyCoro_CheckExact(value) or hasattr(value, "__await__"):
                self.start_waiting(value)
            else:
                self.start_coroutine(self.ended(value, None))
        finally:
            PyContext_Exit(self.context)
        return 0

    cdef int start_waiting(self, object awaitable) except -1:
        limits = self.request.limits
        if limits is not DEFAULT_LIMITS or self.framing is not None \
                or self.connection.limits.request_timeout is not None:
            if self.request.head.content_length > <Py_ssize_t>limits.max_body_size:
                close_unused(awaitable)
                raise ProtocolError(413, too_large(limits.max_body_size).detail)
            seconds = limits.timeout
            if seconds is None:
                seconds = self.connection.limits.request_timeout
            if seconds is not None and self.connection.loop is not None:
                self.connection.handler_until = self.connection.loop.time() + seconds
                self.connection.sweep.want(seconds)
        if PyCoro_CheckExact(awaitable):
            return self.start_coroutine(awaitable)
        # A coroutine of a compiled function is driven as it is; anything else needs one around it.
        self.awaited = awaitable
        return self.start_coroutine(
            awaitable if hasattr(awaitable, "send") else await_it(awaitable)
        )

    cdef int start_coroutine(self, object coro) except -1:
        """Drive `coro` (None: nothing is left to do) in this task, whose context is entered."""
        if coro is None:
            return 0
        self._loop = self.connection.loop
        self.coro = coro
        if self.connection.strict and self._loop is not None:
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
        while coro is not None:
            value = error = None
            try:
                value = await coro
            except BaseException as caught:
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
        """The handler has ended, or what came after it. Returns the coroutine to go on with."""
        cdef object response
        if self.finishing:
            if error is not None and not isinstance(error, CancelledError):
                log.error("answering %r failed", self.request, exc_info=error)
            self.give_up()
            return Task.ended(self, value, error)
        self.finishing = True
        if error is None:
            if self.abandoned:
                return self.last(None)
            if type(value) is str and self.request._after is None:
                self.send_text(value)
                return Task.ended(self, None, None)
            try:
                response = self.into_response(value)
                if response.stream is not None:
                    return self.finish_with(response)
                self.send(response)
                return self.last(None)
            except Exception as failure:
                error = failure
        if isinstance(error, CancelledError):
            if self.cancelled_for == TIMEOUT:
                (self if self.genuine is None else self.genuine).uncancel()
                self.cancelled_for = NOT_CANCELLED
                error = ServiceUnavailable("the request took too long")
            elif self.cancelled_for:
                return self.last(error)     # the client left, or broke its request
        elif not isinstance(error, Exception):
            self.connection.abort_now()
            return self.last(error)
        elif self.abandoned or (isinstance(error, ClientDisconnected)
                                and (self.connection.is_lost or self.connection.ended)):
            return self.last(error)
        response = self.on_error(error)
        if isinstance(response, Response) and response.stream is None:
            self.send(response)
            return self.last(None)
        return self.finish_with(response)

    cdef object last(self, object error):
        """Nothing more to send; what was to follow the answer is left."""
        if self.request._after is not None:
            return self.run_after()
        self.give_up()
        return Task.ended(self, None, error)

    cdef int give_up(self) except -1:
        # Ended without an answer: it failed, or the client left and there is nobody to answer.
        if not self.answered and not self.abandoned and not self.connection.closing:
            self.connection.abort_now()
        return 0

    cdef object into_response(self, object value):
        if type(value) is Response:
            return value
        if isinstance(value, Response):
            response = value
        elif type(value) is str or type(value) is bytes:
            return Response(value)
        else:
            response = self.connection.app.into_response(self.request, value)
        if response.stream is not None:
            # A file, of which the request may want a part, or nothing because it has it.
            for_request = getattr(response, "for_request", None)
            if for_request is not None:
                return for_request(self.request)
        return response

    cdef object on_error(self, object error):
        try:
            return self.connection.app.on_error(self.request, error)
        except Exception:
            return self.on_error_failed()

    def on_error_failed(self):
        log.exception("the error handler failed while answering %r", self.request)
        return Response("Internal Server Error", 500)

    async def settle(self, result):
        try:
            if hasattr(result, "__await__"):
                result = await result
            if isinstance(result, Response):
                return result
            raise TypeError(f"on_error must give a Response, got {type(result).__name__}")
        except Exception:
            return self.on_error_failed()

    async def run_after(self):
        """What was asked for with `request.after_response`; still the task of the handler, so that
        what was entered there (a task group, a context variable) can be left here."""
        self.connection.flush()     # what follows may take long
        callbacks = self.request._after or []
        while callbacks:
            try:
                await callbacks.pop(0)()
            except Exception:
                log.exception("what was to follow the answer to %r failed", self.request)

    async def finish_with(self, result):
        """Send what the application made of an error, or an answer in pieces."""
        connection = self.connection
        try:
            response = await self.settle(result)
            if self.abandoned:
                return
            if response.stream is None:
                self.send(response)
                return
            connection.handler_until = NEVER
            rendered = render_head(response, self.request.method, self.request.head.minor,
                                   self.keep_alive())
            self.started = True
            try:
                await send_stream(connection, response.stream, rendered)
            except CancelledError:
                if not self.cancelled_for:
                    connection.abort_now()
                    raise
            except ClientDisconnected:
                connection.abort_now()
            except Exception:
                log.exception("the answer to %r broke in the middle", self.request)
                self.answered = True
                if rendered.chunked or rendered.length is not None:
                    # The last chunk, or the rest of the length, is missing: the client sees that.
                    connection.close_broken()
                else:
                    connection.abort_now()  # the end of the connection would be that of the body
            else:
                self.complete(rendered.keep_alive)
        finally:
            if self.request._after is not None:
                await self.run_after()

    # ---- the answer ------------------------------------------------------------------------

    cdef bint keep_alive(self) except -1:
        """Whether the connection can go on after the answer (RFC 9112 section 9.3)."""
        cdef int flags = self.request.head.flags
        if self.connection.draining or flags & H1_CLOSE:
            return False
        if self.request.head.minor == 0 and not flags & H1_KEEP_ALIVE:
            return False
        return self.intake is None or self.intake.can_be_left

    cdef bint head_only(self) noexcept:
        cdef const char *method = PyBytes_AS_STRING(self.request.raw) + self.request.head.start
        return self.request.head.method_len == 4 and memcmp(method, b"HEAD", 4) == 0

    cdef int send_text(self, str text) except -1:
        """A plain str: 200, text/plain."""
        cdef Py_ssize_t size
        cdef const char *data = PyUnicode_AsUTF8AndSize(text, &size)
        return self.send_whole(b"HTTP/1.1 200 OK\r\n", b"text/plain; charset=utf-8", 25, data, size,
                               None)

    cdef int send(self, Response response) except -1:
        """Send a response that is whole."""
        cdef int status
        cdef Py_ssize_t size
        cdef const char *kind = NULL
        cdef bytes body
        if self.abandoned or self.answered:
            return 0
        status = response.status_code
        if response._headers is None and status != 204 and status != 304 and status != 205 \
                and status >= 200:
            size = 0
            content_type = response._content_type
            if content_type is not None:
                kind = PyUnicode_AsUTF8AndSize(content_type, &size)
            line = STATUS_LINES.get(status)
            if line is not None and size <= 256 and plain(kind, size):
                body = response.body
                return self.send_whole(line, kind, size, PyBytes_AS_STRING(body),
                                       PyBytes_GET_SIZE(body), body)
        request = self.request
        rendered = render_head(response, request.method, request.head.minor, self.keep_alive())
        self.connection.write(rendered.head)
        if rendered.has_body:
            self.connection.write(response.body)
        return self.complete(rendered.keep_alive)

    cdef int send_whole(self, bytes line, const char *kind, Py_ssize_t kind_size, const char *data,
                        Py_ssize_t size, bytes body) except -1:
        """Head and body in one piece, written where they are sent from."""
        cdef Connection connection = self.connection
        cdef Sink sink = connection.sink
        cdef bint keep = self.keep_alive(), only_head = self.head_only()
        cdef bint inline = size <= INLINE_BODY
        cdef char *start
        cdef char *to
        if self.abandoned or self.answered:
            return 0
        if connection.is_lost:
            return self.complete(False)
        refresh_date()
        start = to = sink.reserve(640 + (size if inline else 0))
        to = put(to, PyBytes_AS_STRING(line), PyBytes_GET_SIZE(line))
        if kind != NULL:
            to = put(to, b"Content-Type: ", 14)
            to = put(to, kind, kind_size)
            to = put(to, b"\r\n", 2)
        to = put(to, b"Content-Length: ", 16)
        to = put_number(to, size)
        to = put(to, b"\r\n", 2)
        # Persistence is the default in HTTP/1.1 and said aloud in HTTP/1.0 (RFC 9112 section 9.3).
        if not keep:
            to = put(to, b"Connection: close\r\n", 19)
        elif self.request.head.minor == 0:
            to = put(to, b"Connection: keep-alive\r\n", 24)
        to = put(to, DATE, date_size)
        to = put(to, b"\r\n", 2)
        if inline and not only_head:
            to = put(to, data, size)
        connection.written += to - start
        sink.commit(to - start)
        if not inline and not only_head:
            connection.written += size
            sink.write(PyBytes_FromStringAndSize(data, size) if body is None else body)
        if not connection.processing:
            sink.flush()
        return self.complete(keep)

    cdef int complete(self, bint keep_alive) except -1:
        self.started = self.answered = True
        if self.intake is not None:
            self.intake.leave()
        return self.connection.answered(keep_alive)

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
        if self.intake is not None:
            self.intake.body.fail(disconnected())
        if self.request.limits.cancel_on_disconnect:
            self.cancel_for(LEFT)
        return 0

    cdef int abandon(self) except -1:
        """The request was broken and is answered without the application."""
        self.abandoned = True
        self.client_left()
        return self.cancel_for(BROKEN)


cdef bint plain(const char *text, Py_ssize_t size) noexcept:
    """Whether `text` may stand in a field as it is: printable ASCII. The last look before the
    wire."""
    cdef Py_ssize_t i
    for i in range(size):
        if text[i] < 0x20 or text[i] > 0x7e:
            return False
    return True

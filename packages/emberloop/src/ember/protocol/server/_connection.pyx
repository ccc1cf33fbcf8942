"""`Connection` of the compiled build: bytes in, requests through.

The short way (no body or a small one that came with the head, a handler that does not wait, a plain
response) leads from here to `Exchange` and back. Bodies that are still on their way go on with
`RequestBodyReader`, which the pure build uses too.
"""

import logging

from cpython.bytearray cimport PyByteArray_AS_STRING, PyByteArray_GET_SIZE, PyByteArray_Resize
from cpython.bytes cimport PyBytes_FromStringAndSize
from libc.math cimport INFINITY
from libc.string cimport memcmp, memcpy

from ember.protocol.server._whole_response cimport write_kept
from ember.protocol.server._output cimport BODY, HEAD, IDLE, NOTHING
from ember.protocol.server._ending cimport EndingOutput
from ember.protocol.server._exchange cimport TIMEOUT, Exchange
from ember.protocol.server._kept cimport Kept, KeptAnswers, monotonic
from ember.protocol.message._request cimport (
    H1_ABSOLUTE,
    H1_CHUNKED,
    H1_CONTINUE,
    H1_ERROR,
    H1_MORE,
    H1_BYPASSES_CACHE,
    H1_UPGRADE,
    Request,
    h1_head,
    h1_parse,
    h1_reset,
    make_request,
)
from ember.protocol.server._sink cimport Sink

from ember.exceptions import ProtocolError
from ember.protocol.http1.framing import Framing
from ember.protocol.server.body_reader import DRAIN_LIMIT as _DRAIN_LIMIT, RequestBodyReader
from ember.protocol.server.refusal import identify, log_refusal, render_error
from ember.protocol.server.states import state_of

cdef extern from "Python.h":
    object PyContext_Copy(object context)

log = logging.getLogger("ember.protocol")

cdef Py_ssize_t DRAIN_LIMIT = _DRAIN_LIMIT

cdef enum:
    MOVED = -2          # the rest of the input lies in Connection.buffer now
    # Of such requests only the application knows the response.
    NOT_KEPT = H1_BYPASSES_CACHE | H1_ABSOLUTE | H1_CHUNKED | H1_CONTINUE | H1_UPGRADE


cdef class Connection(EndingOutput):
    """The server's side of a connection.

    The owner calls `feed`, `eof`, `hangup`, `lost`, `pause_writing` and `resume_writing`; the
    connection calls the application and writes to its sink. One request is in the application at a
    time; bytes behind it wait, at most `limits.max_pipelined` of them, then the client waits. Those
    that need no waiting are answered at once, until the connection has had its share of the turn.
    """

    def __init__(self, app, Sink sink, *, limits=None, client=None, scheme="http",
                 bint strict_tasks=False):
        EndingOutput.__init__(self, app, sink, limits=limits, client=client,
                              scheme=scheme, strict_tasks=strict_tasks)
        kept = getattr(app, "kept_answers", None)
        self.kept = kept if isinstance(kept, KeptAnswers) else None
        self.reading = True
        self.bounds.max_target = self.limits.max_target_size
        self.bounds.max_head = self.limits.max_header_size
        self.bounds.max_fields = self.limits.max_headers
        h1_reset(&self.head)

    @property
    def state(self):
        """What it is about; see `states.py`."""
        cdef Exchange exchange = self.exchange
        return state_of(
            lost=self.is_lost,
            closing=self.closing,
            upgraded=self.codec is not None,
            started=PyByteArray_GET_SIZE(self.buffer) > 0,
            exchange=exchange is not None,
            body=exchange is not None and exchange.body_reader is not None
            and exchange.body_reader.decoder is not None,
            answered=exchange is not None and exchange.answered,
        )

    # ---- from below ------------------------------------------------------------------------

    cdef int feed(self, char *data, Py_ssize_t size) except -1:
        """Bytes arrived; `data` is valid during the call."""
        cdef Py_ssize_t used, kept
        if self.closing:
            return 0    # what still comes is only read so that the response is not lost to a reset
        if self.codec is not None:
            return self.feed_codec(data, size)
        if self.clock == NULL and not self.yielded:
            self.working_since = 0      # a callback of its own: nothing else tells turns apart
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
        except BaseException:
            self.abort_now()    # what was under way may be lost, and what follows must not be read
            raise
        finally:
            self.processing = False
            self.sink.flush()
        return self.update_flow_control()

    cdef int resume_writing(self) except -1:
        """The peer has caught up."""
        self.paused = False
        self.wake()
        if self.codec is not None:
            return self.call_codec(self.codec.resume_writing)
        return self.process()

    cpdef int drain_and_close(self) except -1:
        """Finish what is in flight, then close; at once when nothing is."""
        self.draining = True
        if self.codec is not None:
            return self.call_codec(self.codec.drain)
        if self.exchange is None or self.exchange.answered:
            self.stop_cleanly()
        return 0

    def retire(self):
        """One more response at most, the one in flight or the next; then close."""
        self.retiring = True

    # ---- one exchange after the other ------------------------------------------------------

    cdef int process(self) except -1:
        """Go on with what is in the buffer, as far as that is possible now."""
        if self.processing or self.yielded or self.codec is not None:
            return self.update_flow_control() if self.yielded and not self.processing else 0
        self.processing = True
        try:
            self.go_on()
        except ProtocolError as error:
            self.refuse_with(error)
        except BaseException:
            self.abort_now()    # what was under way may be lost, and what follows must not be read
            raise
        finally:
            self.processing = False
            self.sink.flush()
        return self.update_flow_control()

    def _process(self):
        self.process()

    cdef int go_on(self) except -1:
        cdef Exchange exchange
        cdef Py_ssize_t used
        while not self.closing:
            exchange = self.exchange
            if exchange is not None:
                if exchange.body_reader is not None and exchange.body_reader.pump():
                    continue
                if not exchange.is_over():
                    if exchange.answered and self.ended:
                        self.stop_cleanly()     # the rest of the request's body will never come
                    return 0
                self.exchange = None
            elif self.successor is not None:
                return 0
            elif self.draining or (self.ended and not PyByteArray_GET_SIZE(self.buffer)):
                self.stop_cleanly()
            elif self.paused or self.yielded:
                return 0
            else:
                used = 0
                if PyByteArray_GET_SIZE(self.buffer):
                    used = self.serve(PyByteArray_AS_STRING(self.buffer),
                                      PyByteArray_GET_SIZE(self.buffer), True)
                if used > 0:
                    del self.buffer[:used]
                if self.exchange is not None and (self.ended or self.hung_up):
                    self.peer_ended()
                if used or self.closing:
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
                # A response to HEAD has no body, whatever was wrong with the request.
                self.head_only = self.head.method_len == 4 and \
                    memcmp(data + at + self.head.start, b"HEAD", 4) == 0
                raise ProtocolError(self.head.status, (<bytes>self.head.reason).decode())
            used = self.head.pos
            if self.kept is None or not self.kept.responses or not self.serve_cached(data + at):
                used = self.begin(data + at, size - at, buffered)
                if used == MOVED:
                    return MOVED
            at += used
            if self.closing:
                return MOVED
            if self.exchange is not None or self.paused or self.draining \
                    or self.successor is not None or (at < size and self.over_budget()):
                break
        return at

    cdef bint serve_cached(self, char *data) except -1:
        """Answer the complete head at `data` from what is kept; False when that cannot be."""
        cdef h1_head *head = &self.head
        cdef Kept kept
        cdef double now, began = 0
        cdef bint keep, http10, only_head
        cdef Request request = None
        cdef Py_ssize_t mark = self.written
        if head.flags & NOT_KEPT or head.content_length > 0:
            return False
        now = monotonic()
        kept = self.kept.find(data + head.start, head.method_len, head.target_len,
                              data + head.host, head.host_len, <str>self.scheme, now)
        if kept is None:
            return False
        http10 = head.minor == 0
        keep = self.persists(head)
        only_head = head.method_len == 4
        self.requests += 1
        self.phase = NOTHING
        self.read_until = INFINITY
        if self.observer is not None:
            request = make_request(head, data, self.client, self.scheme)
            request.route = kept.tally.route
            began = self.observer.begin()
        h1_reset(head)
        write_kept(self, kept, now, keep, http10, only_head)
        if request is not None:
            self.observer.done(request, self.peer_told, 200, self.written - mark, began,
                               self.is_lost)
        if not keep:
            self.stop_cleanly()
        return True

    cdef Py_ssize_t begin(self, char *data, Py_ssize_t size, bint buffered) except -1:
        """The head at `data` is complete: call the application. Returns the bytes used, or MOVED
        when the body is still on its way."""
        cdef Exchange exchange = Exchange.__new__(Exchange)
        cdef Request request = make_request(&self.head, data, self.client, self.scheme)
        cdef Py_ssize_t length = self.head.content_length, used = self.head.pos
        cdef int flags = self.head.flags
        self.requests += 1
        self.phase = NOTHING
        self.read_until = INFINITY
        h1_reset(&self.head)
        exchange.output = self
        exchange.request = request
        request.tls = self.tls
        self.exchange = exchange
        if self.observer is not None:
            exchange.mark = self.written
            exchange.began_at = self.observer.begin()
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
            exchange.body_reader = RequestBodyReader(self, exchange, framing)
            request.source = exchange.body_reader.body
            used = MOVED
        exchange.call()
        if used != MOVED and exchange.answered and self.exchange is exchange:
            self.exchange = None
        return used

    cdef int answered(self, bint keep_alive) except -1:
        """The response of the current exchange is complete."""
        cdef Exchange exchange
        self.handler_until = INFINITY
        if self.closing:
            return 0
        if not keep_alive:
            return self.stop_cleanly()
        if not self.processing:
            exchange = self.exchange
            if exchange.is_over() and not PyByteArray_GET_SIZE(self.buffer) and not self.ended \
                    and not self.draining and self.successor is None:
                self.exchange = None
                return self.update_flow_control()
            # Not from here: this is still the context of the request that was answered.
            self.loop.call_soon(self._process, context=PyContext_Copy(self.context))
        return 0

    def refuse(self, error, method=""):
        """Answer a broken request and end the connection: where it continues is not known.
        `method`: of a request that was not read here."""
        self.head_only = method == "HEAD"
        self.refuse_with(error)

    cdef int refuse_with(self, object error) except -1:
        cdef Exchange exchange = self.exchange
        cdef Py_ssize_t mark = self.written
        identity = identify(self.app, None if exchange is None else exchange.request)
        log_refusal(self.peer, error, identity)
        if exchange is not None and exchange.answered:
            # The response is out; what follows it cannot be told any more.
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
            self.write(render_error(error, method, identity))
            if self.observer is not None:
                if exchange is None:
                    self.observer.refused(self.peer_told, error.status, self.written - mark,
                                          "" if identity is None else identity[0])
                else:
                    exchange.status = error.status
                    exchange.notify(False)
            self.stop(True)
        return 0

    cdef int stop_cleanly(self) except -1:
        cdef Exchange exchange = self.exchange
        cdef bint unread = PyByteArray_GET_SIZE(self.buffer) > 0 or self.codec is not None
        if exchange is not None and exchange.body_reader is not None:
            unread = unread or not exchange.body_reader.body.complete
        return self.stop(unread and not self.ended)

    # ---- backpressure ----------------------------------------------------------------------

    def after_input(self):
        """Decide whether the client may send, and how long it may take."""
        self.update_flow_control()

    cdef int update_flow_control(self) except -1:
        cdef Exchange exchange = self.exchange
        cdef Py_ssize_t kept
        cdef bint wanted
        if self.closing or self.codec is not None:
            return 0
        if self.successor is not None and self.exchange is None:
            return self.start_codec()
        kept = PyByteArray_GET_SIZE(self.buffer)
        if exchange is None:
            wanted = not (self.paused or self.yielded) or kept < self.limits.max_pipelined
            if self.paused or self.yielded:
                self.read_until = INFINITY
                self.phase = NOTHING
            elif kept:
                if self.phase != HEAD:
                    self.expect_in(HEAD, self.limits.header_timeout)
            elif self.requests and self.phase != IDLE:
                self.expect_in(IDLE, self.limits.keep_alive_timeout)
        elif exchange.body_reader is not None and exchange.body_reader.decoder is not None:
            wanted = exchange.body_reader.wanted \
                and not (self.yielded and kept >= self.limits.max_pipelined)
            if not wanted:
                exchange.body_reader.hold()
                self.read_until = INFINITY
                self.phase = NOTHING
            elif self.phase != BODY:
                self.expect_in(BODY, exchange.body_reader.patience())
        else:
            # A body over its limit leaves a rest that nobody will take.
            wanted = (exchange.body_reader is None or exchange.body_reader.body.complete) \
                and kept < self.limits.max_pipelined
            self.read_until = INFINITY
            self.phase = NOTHING
            self.watch_backlog()
        if wanted != self.reading:
            self.reading = wanted
            if wanted:
                self.sink.resume_reading()
            else:
                self.sink.pause_reading()
        return 0

    # ---- another codec -----------------------------------------------------------------------

    def hand_over(self, successor):
        """Let `successor(self)` make what speaks here from now on; see `codec.py`. It begins once
        the exchange in flight has ended."""
        self.successor = successor
        if not self.processing:
            self.update_flow_control()

    cdef int start_codec(self) except -1:
        cdef bytes data
        successor, self.successor = self.successor, None
        self.phase = NOTHING
        self.read_until = self.handler_until = INFINITY
        data = bytes(self.buffer)
        self.buffer.clear()
        try:
            codec = self.codec = successor(self)
            if self.is_lost:
                self.codec = None       # it was ended while the codec was made
                codec.connection_lost()
                return 0
            if not self.reading:
                self.reading = True
                self.sink.resume_reading()
            if self.paused:
                codec.pause_writing()
            if data and not self.closing:
                codec.data_received(data)
            if self.ended and not self.closing:
                codec.eof_received()
            if self.draining and not self.closing:
                codec.drain()
        except BaseException as error:
            self.codec_failed(error)
        finally:
            self.sink.flush()
        return 0

    cdef int feed_codec(self, char *data, Py_ssize_t size) except -1:
        self.processing = True      # what is sent meanwhile leaves together
        try:
            self.codec.data_received(PyBytes_FromStringAndSize(data, size))
        except BaseException as error:
            self.codec_failed(error)
        finally:
            self.processing = False
            self.sink.flush()
        return 0

    def pause_reading(self):
        """Of a codec: receive nothing until `resume_reading`."""
        self.reading = False
        self.sink.pause_reading()

    def resume_reading(self):
        """Of a codec: receive again."""
        self.reading = True
        self.sink.resume_reading()

    def count_request(self):
        """Of a codec: one more request came over this connection."""
        self.requests += 1

    # ---- time ------------------------------------------------------------------------------

    cdef int handler_is_late(self) except -1:
        if self.exchange is not None:
            self.exchange.cancel_for(TIMEOUT)
        return 0

    cdef int peer_is_late(self) except -1:
        if self.codec is not None:
            return self.call_codec(self.codec.timed_out)
        if self.phase == BODY:
            return self.refuse_with(ProtocolError(408, self.exchange.body_reader.verdict()))
        if PyByteArray_GET_SIZE(self.buffer):
            return self.refuse_with(ProtocolError(408, "the request head did not arrive in time"))
        return self.stop_cleanly()

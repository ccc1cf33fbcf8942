"""What the end of the peer's stream means for the request in flight, and what one connection may
take of a turn of the loop.

A FIN does not tell who has gone from who has only said all: `peer_ended` has the rules
(docs/internals/connection.md, "How a client leaves").
"""

from libc.math cimport INFINITY

from ember.protocol.server._output cimport HTTPOutput
from ember.protocol.server._exchange cimport Exchange
from ember.protocol.server._kept cimport monotonic

from ember.protocol.server.leaving import BUDGET as _BUDGET, PROBE_AFTER as _AFTER, PROBE_TURNS
from ember.protocol.http1.render import CONTINUE

cdef extern from "Python.h":
    object PyContext_Copy(object context)

cdef double BUDGET = _BUDGET
cdef double PROBE_AFTER = _AFTER
cdef int TURNS = PROBE_TURNS


cdef class EndingOutput(HTTPOutput):
    """A output that knows the exchange in flight, and its peer's end."""

    cdef int process(self) except -1:
        """Go on with what was received."""
        raise NotImplementedError

    # ---- the end of the peer -----------------------------------------------------------------

    cdef int eof(self) except -1:
        """The peer will send no more, and all that it sent is here. Whole requests are still
        answered."""
        if self.ended or self.is_lost:
            return 0
        self.ended = True
        if self.codec is not None:
            return self.call_codec(self.codec.eof_received)
        self.process()      # closes when nothing is left to do; a body cut short is told
        return self.peer_ended()

    cdef int hangup(self) except -1:
        """The peer will send no more, or has gone; what it sent may still wait in the kernel. Over
        TLS, where a goodbye may have come before, this is one more reason to ask."""
        if self.hung_up or self.is_lost:
            return 0
        self.hung_up = True
        return self.peer_ended()

    def cut_short(self):
        """The peer ended in the middle of a request's body."""
        self._check_end(self.requests, 0)

    cdef int peer_ended(self) except -1:
        """The request in flight has a peer that sends no more. Once its response has begun, and in
        HTTP/1.0, that is a client that left. Otherwise it may be one that waits: it is asked."""
        cdef Exchange exchange = self.exchange
        if self.closing or exchange is None or exchange.answered:
            return 0
        if self.loop is None:
            exchange.client_left()
        elif exchange.started or exchange.request.head.minor == 0:
            self._check_end(self.requests, 0)
        else:
            self.asked_for = self.requests
            self.asked_at = self.written
            self.ask_within(PROBE_AFTER)
        return 0

    cdef int ask_peer(self) except -1:
        """Send something that every client ignores (RFC 9110 section 15.2): one that has gone
        answers with a reset."""
        cdef Exchange exchange = self.exchange
        if self.closing or exchange is None or exchange.answered or exchange.started:
            return 0
        # Whatever else was sent since asks the same.
        if self.requests == self.asked_for and self.written == self.asked_at:
            self.write(CONTINUE)
        return 0

    def _check_end(self, Py_ssize_t request, int turns):
        """A handler that does not wait for anything has the turns that it needs to end."""
        cdef Exchange exchange = self.exchange
        if self.closing or exchange is None or exchange.answered:
            return
        if self.requests != request or not exchange.began:
            turns = 0   # pipelined requests: each gets them
        if turns >= TURNS or self.loop is None:
            self.leave(exchange)
        else:
            self.loop.call_soon(self._check_end, self.requests, turns + 1,
                                context=PyContext_Copy(self.context))

    cdef int leave(self, Exchange exchange) except -1:
        """The client counts as gone."""
        exchange.client_left()
        if exchange.cancelled_for and not exchange.started and not self.closing:
            # No reset: what was answered before may still be on its way.
            return self.stop_cleanly()
        return 0

    cdef int end_unanswered(self) except -1:
        cdef Exchange exchange = self.exchange
        if self.ended and (exchange is None or not exchange.started):
            return self.stop_cleanly()
        return self.abort_now()

    cdef int lost(self) except -1:
        """The connection is gone; the last call from below."""
        if self.is_lost:
            return 0
        self.is_lost = self.closing = True
        self.buffer.clear()
        if self.wheel is not None:
            self.wheel.remove(self)
        self.read_until = self.handler_until = INFINITY
        self.wake()
        if self.exchange is not None:
            self.exchange.client_left()
        if self.observer is not None:
            if self.exchange is not None:
                self.exchange.notify(True)
            if self.loop is not None and self.counts:
                self.observer.closed()
        if self.exchange is not None:
            # Its handler may go on. They would keep each other alive.
            self.exchange.release()
            self.exchange = None
        self.successor = None
        if self.codec is not None:
            codec, self.codec = self.codec, None
            self.call_codec(codec.connection_lost)
        return 0

    # ---- its share of a turn ------------------------------------------------------------------

    cdef bint over_budget(self) except -1:
        """Asked between two pieces of work: whether the rest has to wait for the next turn, so that
        other connections get theirs in between."""
        cdef double now
        if self.yielded:
            return True
        if self.loop is None:
            return False
        now = monotonic()
        if self.working_since == 0 or (self.clock != NULL and self.working_since < self.clock[0]):
            self.working_since = now
        elif now - self.working_since > BUDGET:
            self.yielded = True
            self.loop.call_soon(self._go_on, context=PyContext_Copy(self.context))
            return True
        return False

    def exhausted(self):
        """The same, for a body that is decoded."""
        return self.over_budget()

    def _go_on(self):
        self.yielded = False
        self.working_since = 0
        # Who was answered in this turn does not wait for what this one has asked for.
        self.sink.send_now()
        self.process()

    cdef bint is_busy(self) noexcept:
        return self.closing or self.paused or self.exchange is not None

"""TLS straight on the compiled loop: OpenSSL between two memory buffers, no transport around it.

What the loop received goes into one buffer, and what OpenSSL makes of it to the connection; the
answers of a turn are sealed together and leave with the other connections' in the loop's batch.
"""

import logging
from ssl import MemoryBIO, SSLError, SSLWantReadError, SSLZeroReturnError

from cpython.bytearray cimport PyByteArray_AS_STRING
from cpython.bytes cimport PyBytes_FromStringAndSize, PyBytes_GET_SIZE

from ember.eventloop._stream cimport CoreLoop, Stream
from ember.protocol.server._kept cimport monotonic
from ember.protocol.server._native cimport HttpListener, HttpStream, stream_progress, stream_unread
from ember.protocol.server._sink cimport Sink

from ember.exceptions import ProtocolError
from ember.protocol.server._native import NativeListener
from ember.protocol.server.leaving import BUDGET as _BUDGET
from ember.protocol.server.tls import TLSInfo, fault, shake_hands

log = logging.getLogger("ember.protocol")

cdef double BUDGET = _BUDGET     # seconds of a turn in which one connection's records are opened

cdef enum:
    OPENED_AT_ONCE = 8      # records between two looks at the clock
    RECORD = 16384          # bytes of plain text in one record, at most (RFC 8446 section 5.1)
    RECORD_MAX = 18432      # of what it may be sealed in (RFC 5246 section 6.2.3)
    BATCH = 65536           # sealed bytes that are handed over together
    HANDSHAKE = 22          # the type of the first record
    MANY = 1 << 30

    # how a connection ends
    GOES_ON = 0
    CLOSES = 1
    LINGERS = 2


cdef class TlsSink(Sink):
    """Collects what is written in one turn and seals it together."""
    cdef TlsStream stream

    cdef int send(self, object data) except -1:
        return self.stream.seal(data)

    cdef int send_now(self) except -1:
        return self.stream.loop.send_now()

    cdef Py_ssize_t backlog(self) except -1:
        return self.stream.backlog + self.stream.waiting

    cdef long long progress(self) except -1:
        return stream_progress(self.stream) + self.stream.waiting

    cdef bint unread(self) except -1:
        return self.stream.postponed or stream_unread(self.stream)

    cdef int pause_reading(self) except -1:
        self.stream.unwanted = True
        return self.stream.pause_reading()

    cdef int resume_reading(self) except -1:
        self.stream.unwanted = False
        return 0 if self.stream.held else self.stream.resume_reading()

    cdef int close(self, bint linger) except -1:
        return self.stream.end(linger)

    cdef int abort(self) except -1:
        return self.stream.reset()


cdef class TlsStream(HttpStream):
    """One accepted socket that speaks TLS."""
    cdef object incoming, outgoing      # sealed bytes, to and from OpenSSL
    cdef object tls                     # OpenSSL's connection: the SSLObject's inner one
    cdef object ssl_object
    cdef list queue                     # plain text that waits for the peer to take what was sealed
    cdef Py_ssize_t waiting             # bytes in the queue
    cdef Py_ssize_t ready               # records that are whole, and not opened
    cdef double opening_since           # seconds of the monotonic clock
    cdef bint postponed                 # the rest of them is opened in the next turn
    cdef bint held                      # nothing is received until then: there is enough
    cdef bint unwanted                  # the connection wants nothing
    cdef bint ended                     # the peer's FIN has come, behind what is not opened
    cdef Py_ssize_t missing             # bytes of the record that is arriving
    cdef unsigned char header[5]        # of a record whose header arrives in pieces
    cdef int header_size
    cdef int ending
    cdef bint begun, established, told, finished
    cdef bint plain                     # what is said is said without TLS

    cdef Sink make_sink(self):
        cdef TlsSink sink = TlsSink.__new__(TlsSink)
        sink.stream = self
        return sink

    cdef int on_connect(self) except -1:
        self.incoming = MemoryBIO()
        self.outgoing = MemoryBIO()
        self.ssl_object = (<TlsListener>self.listener).ssl_context.wrap_bio(
            self.incoming, self.outgoing, server_side=True
        )
        self.tls = self.ssl_object._sslobj
        HttpStream.on_connect(self)
        self.connection.expect("head", self.connection.limits.handshake_timeout)
        return 0

    # ---- receiving -------------------------------------------------------------------------

    cdef int on_data(self, char *data, Py_ssize_t size) except -1:
        if self.finished or self.told:
            # What still comes is only read so that our last words are not lost. What follows a
            # close_notify means nothing (RFC 8446 section 6.1) and must not be kept.
            return 0
        if not self.begun:
            self.begun = True
            if data[0] != HANDSHAKE:
                return self.refuse_plain(data, size)
        self.ready += self.records(<unsigned char *>data, size)
        self.incoming.write(PyBytes_FromStringAndSize(data, size))
        if self.postponed:
            if not self.held and self.incoming.pending > self.connection.limits.max_pipelined:
                self.held = True
                self.pause_reading()
            return 0
        return self.open_records()

    cdef int open_records(self) except -1:
        """Give the connection what is in the records that are whole, as many as a turn has time
        for."""
        cdef TlsListener listener = self.listener
        cdef Py_ssize_t n
        cdef int opened = 0
        if not self.established:
            if not self.handshake():
                return 0
            self.ready = MANY
        # OpenSSL is asked only when a record is whole: an exception for every piece costs more
        # than to count.
        while self.ready > 0 and not self.closing and not self.finished and not self.told:
            if opened == OPENED_AT_ONCE:
                opened = 0
                if self.over_time():
                    self.postponed = True
                    self.loop.call_soon(self._go_on, context=self.connection.context.copy())
                    break
            opened += 1
            self.ready -= 1
            try:
                n = self.tls.read(RECORD, listener.plain)
            except SSLWantReadError:
                self.ready = 0
                break   # no more, or a record that was not for us
            except SSLZeroReturnError:
                n = 0
            except SSLError as error:
                return self.broken(error)
            if n == 0:
                # close_notify: the peer will send no more (RFC 8446 section 6.1).
                self.told = True
                self.connection.eof()
                break
            self.connection.feed(PyByteArray_AS_STRING(listener.plain), n)
        if self.outgoing.pending:
            self.ship()     # OpenSSL's own: a key update, an alert
        return 0

    cdef bint over_time(self) noexcept:
        """Whether this connection's records have had their share of the turn."""
        cdef double now = monotonic()
        if self.opening_since < self.connection.clock[0]:
            self.opening_since = now    # the first look in this turn
            return self.connection.yielded
        return self.connection.yielded or now - self.opening_since > BUDGET

    def _go_on(self):
        self.postponed = False
        if self.connection is None:
            return
        self.loop.send_now()
        self.open_records()
        if self.postponed or self.connection is None:
            return
        if self.held:
            self.held = False
            if not self.unwanted:
                self.resume_reading()
        if self.ended:
            self.ended = False
            self.on_eof()

    cdef Py_ssize_t records(self, const unsigned char *data, Py_ssize_t size) noexcept:
        """How many records are whole with these bytes (RFC 8446 section 5.1)."""
        cdef Py_ssize_t whole = 0, at = 0
        while at < size:
            if self.missing:
                if self.missing > size - at:
                    self.missing -= size - at
                    return whole
                at += self.missing
                self.missing = 0
                whole += 1
                continue
            self.header[self.header_size] = data[at]
            self.header_size += 1
            at += 1
            if self.header_size == 5:
                self.header_size = 0
                self.missing = self.header[3] << 8 | self.header[4]
                if self.missing == 0 or self.missing > RECORD_MAX:
                    whole += 1      # nothing that TLS knows: OpenSSL says so
        return whole

    cdef int handshake(self) except -1:
        """Go on with the handshake. Whether it is done."""
        try:
            shake_hands(self.tls)
        except SSLWantReadError:
            self.ship()
            return 0
        except SSLError as error:
            self.ship()     # the alert
            log.info("%s: the TLS handshake failed: %s", self.connection.peer, fault(error))
            self.finished = True
            self.connection.stop(True)
            return 0
        self.established = True
        self.ship()
        self.connection.tls = TLSInfo(self.ssl_object)
        self.connection.expect("head", self.connection.limits.header_timeout)
        (<HttpListener>self.listener).server._greeted(self.connection)
        return 1

    cdef int refuse_plain(self, char *data, Py_ssize_t size) except -1:
        """Not TLS. Someone who speaks HTTP is told where he is."""
        log.debug("%s: did not speak TLS", self.connection.peer)
        self.finished = True
        if 65 <= data[0] <= 90:     # a method
            self.plain = True
            error = ProtocolError(400, "this port speaks TLS: use https://", quiet=True)
            self.connection.refuse(error, "HEAD" if data[:min(size, 5)] == b"HEAD " else "GET")
            return 0
        return self.connection.stop(True)

    cdef int broken(self, object error) except -1:
        """What arrived is no TLS, or was tampered with."""
        log.info("%s: TLS failed: %s", self.connection.peer, fault(error))
        self.finished = True
        self.ship()
        self.drop_queue()
        # The alert must arrive, so no reset; and nobody can take the end for that of a message.
        self.connection.close_broken()
        return 0

    cdef int on_eof(self) except -1:
        if self.linger is not None:
            return self.close()
        if self.postponed:
            self.ended = True
            return 0
        if self.told and not self.finished:
            return self.connection.hangup()
        if self.finished:
            return 0
        if not self.established:
            log.debug("%s: left during the TLS handshake", self.connection.peer)
        self.told = True
        return self.connection.eof()

    # ---- sending ---------------------------------------------------------------------------

    cdef int seal(self, object data) except -1:
        cdef bytes plain = data
        if self.plain:
            return self.write_object(plain)
        if self.closing or self.finished:
            return 0
        if not self.established or self.queue is not None or self.is_paused():
            if self.queue is None:
                self.queue = []
            self.queue.append(memoryview(plain))
            self.waiting += PyBytes_GET_SIZE(plain)
            return 0
        if PyBytes_GET_SIZE(plain) <= RECORD:
            try:
                self.tls.write(plain)
            except SSLError as error:
                return self.broken(error)
            return self.ship()
        return self.seal_view(memoryview(plain))

    cdef int seal_view(self, object view) except -1:
        """Seal as much as the peer takes; what is left goes to the front of the queue."""
        cdef Py_ssize_t at = 0, size = len(view), sealed = 0
        while at < size:
            if self.is_paused():
                self.queue = [view[at:]] if self.queue is None else [view[at:], *self.queue]
                self.waiting += size - at
                return 0
            try:
                n = self.tls.write(view[at:at + RECORD])
            except SSLError as error:
                return self.broken(error)
            at += n
            sealed += n
            if sealed >= BATCH or at == size:
                sealed = 0
                self.ship()
        return 0

    cdef int pump(self) except -1:
        """Seal what waited."""
        cdef list queue = self.queue
        while queue is not None and queue and not self.is_paused() and not self.finished:
            view = queue.pop(0)
            self.waiting -= len(view)
            self.queue = queue if queue else None
            self.seal_view(view)
            queue = self.queue
        return 0

    cdef int ship(self) except -1:
        """Hand over what OpenSSL has for the peer."""
        cdef bytes sealed = self.outgoing.read()
        if PyBytes_GET_SIZE(sealed):
            self.write_object(sealed)
        return 0

    cdef int drop_queue(self) except -1:
        self.queue = None
        self.waiting = 0
        return 0

    cdef int on_resume_writing(self) except -1:
        if self.connection is None:
            return 0
        self.pump()
        if self.queue is None:
            if self.ending:
                return self.say_goodbye()
            if not self.is_paused():
                self.connection.resume_writing()
        return 0

    # ---- the end ---------------------------------------------------------------------------

    cdef int end(self, bint linger) except -1:
        if self.closing or self.linger is not None or self.ending:
            return 0
        self.ending = LINGERS if linger else CLOSES
        if self.queue is not None:
            if self.established:
                return 0        # goodbye is said when the peer has taken it
            self.drop_queue()
        return self.say_goodbye()

    cdef int say_goodbye(self) except -1:
        if not self.finished:
            self.finished = True
            if self.established:
                try:
                    self.tls.shutdown()
                except SSLError:
                    pass        # our close_notify is out; the peer's has not come
                self.ship()
            elif not self.told:
                log.debug("%s: the TLS handshake was not finished", self.connection.peer)
        return HttpStream.end(self, self.ending == LINGERS)

    cdef int reset(self) except -1:
        self.finished = True
        self.drop_queue()
        return HttpStream.reset(self)

    cdef int on_lost(self, object error) except -1:
        self.drop_queue()
        return HttpStream.on_lost(self, error)


cdef class TlsListener(HttpListener):
    """A listening socket whose connections speak HTTP over TLS."""
    cdef object ssl_context
    cdef bytearray plain        # where OpenSSL puts what it opened; one for all connections

    def __init__(self, CoreLoop loop, sock, app, limits, server, bint strict, ssl_context):
        HttpListener.__init__(self, loop, sock, app, limits, server, strict)
        self.scheme = "https"
        self.ssl_context = ssl_context
        self.plain = bytearray(RECORD)

    cdef Stream make_stream(self):
        cdef TlsStream stream = TlsStream.__new__(TlsStream)
        stream.listener = self
        return stream


class NativeTlsListener(NativeListener):
    """What `Server` keeps of a listening socket that speaks TLS: `close()`."""

    def __init__(self, loop, sock, app, limits, server, strict, backlog, shared=False, *,
                 ssl_context):
        cdef TlsListener listener = TlsListener(
            loop, sock, app, limits, server, strict, ssl_context
        )
        self._begin(listener, sock, backlog, shared)

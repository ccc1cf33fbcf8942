"""TLS straight on the compiled loop: `TLSMachine` between a stream and its connection.

What is decided is in `tls_machine.py`; this carries it out, with no transport and no Python call in
between. The responses of a turn are sealed together and leave with the other connections' in the
loop's batch.
"""

from cpython.bytearray cimport PyByteArray_AS_STRING
from cpython.bytes cimport PyBytes_FromStringAndSize

from ember.eventloop._stream cimport CoreLoop, Stream
from ember.protocol.server._native cimport HttpListener, HttpStream, stream_progress, stream_unread
from ember.protocol.server._sink cimport Sink
from ember.protocol.server.tls_machine cimport TLSMachine

from ember.protocol.server._native import NativeListener
from ember.protocol.server.tls_machine import RECORD


cdef class TlsSink(Sink):
    """Collects what is written in one turn and has it sealed together."""
    cdef TlsStream stream
    cdef StreamTLS tls

    cdef int send(self, object data) except -1:
        if not self.stream.closing:
            self.tls.seal(data)
        return 0

    cdef int send_now(self) except -1:
        return self.stream.loop.send_now()

    cdef Py_ssize_t backlog(self) except -1:
        return self.stream.backlog + self.tls.waiting

    cdef long long progress(self) except -1:
        return stream_progress(self.stream) + self.tls.waiting

    cdef bint unread(self) except -1:
        return self.tls.postponed or stream_unread(self.stream)

    cdef int pause_reading(self) except -1:
        self.tls.pause_input()
        return 0

    cdef int resume_reading(self) except -1:
        self.tls.resume_input()
        return 0

    cdef int close(self, bint linger) except -1:
        return self.stream.end(linger)

    cdef int abort(self) except -1:
        return self.stream.reset()


cdef class StreamTLS(TLSMachine):
    """The machine, on one stream."""
    cdef TlsStream stream       # None once it is gone: they would keep each other alive

    cpdef connection(self):
        return self.stream.connection

    # ---- below -----------------------------------------------------------------------------

    cpdef send(self, bytes data):
        if self.stream is not None:
            self.stream.write_object(data)

    cpdef bint takes_no_more(self) except? -1:
        return self.stream is not None and self.stream.is_paused()

    cpdef pause_below(self):
        if self.stream is not None:
            self.stream.pause_reading()

    cpdef resume_below(self):
        if self.stream is not None:
            self.stream.resume_reading()

    cpdef close_below(self, bint linger):
        if self.stream is not None:
            HttpStream.end(self.stream, linger)

    cpdef go_on_later(self):
        self.stream.loop.call_soon(self.stream._go_on,
                                   context=self.stream.connection.context.copy())

    cpdef double turn_began(self) except? -1:
        return self.stream.connection.clock[0]

    # ---- above -----------------------------------------------------------------------------

    cpdef bint had_its_share(self) except? -1:
        return self.stream.connection.yielded

    cpdef deliver(self, Py_ssize_t size):
        self.stream.connection.feed(PyByteArray_AS_STRING(self.plain), size)

    cpdef tell_established(self):
        self.stream.listener.server._greeted(self.stream.connection)

    cpdef tell_eof(self):
        self.stream.connection.eof()

    cpdef tell_hangup(self):
        self.stream.connection.hangup()

    cpdef tell_writable(self):
        self.stream.connection.resume_writing()


cdef class TlsStream(HttpStream):
    """One accepted socket that speaks TLS."""
    cdef StreamTLS tls

    cdef Sink make_sink(self):
        cdef TlsSink sink = TlsSink.__new__(TlsSink)
        sink.stream = self
        sink.tls = self.tls
        return sink

    cdef int on_connect(self) except -1:
        cdef TlsListener listener = self.listener
        self.tls = StreamTLS(listener.ssl_context)
        self.tls.plain = listener.plain
        self.tls.knows_turns = True
        self.tls.stream = self
        HttpStream.on_connect(self)
        self.tls.start()
        return 0

    cdef int on_data(self, char *data, Py_ssize_t size) except -1:
        self.tls.received(PyBytes_FromStringAndSize(data, size))
        return 0

    cdef int on_eof(self) except -1:
        if self.linger is not None:
            return self.close()
        self.tls.peer_fin()
        return 0

    cdef int on_resume_writing(self) except -1:
        self.tls.take_more()
        return 0

    def _go_on(self):
        if self.connection is not None:
            self.loop.send_now()    # those who were answered do not wait for this one
        self.tls.go_on()

    cdef int end(self, bint linger) except -1:
        if not self.closing and self.linger is None:
            self.tls.end(linger)
        return 0

    cdef int reset(self) except -1:
        if self.tls is not None:
            self.tls.abort()
        return HttpStream.reset(self)

    cdef int on_lost(self, object error) except -1:
        if self.tls is not None:    # it is made in on_connect, which may have failed
            self.tls.lost()
            self.tls.stream = None
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

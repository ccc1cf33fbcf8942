# Connections straight on the compiled loop: see _native.pyx. TLS builds on it (_tls.pyx).
from ember.eventloop._stream cimport Listener, Stream
from ember.protocol.server._connection cimport Connection
from ember.protocol.server._sink cimport Sink

cdef long long stream_progress(Stream stream) noexcept
cdef bint stream_unread(Stream stream) noexcept


cdef class HttpStream(Stream):
    cdef Connection connection
    cdef HttpListener listener
    cdef object linger
    cdef Sink make_sink(self)
    cdef int end(self, bint linger) except -1
    cdef int reset(self) except -1


cdef class HttpListener(Listener):
    cdef object app, limits, server, context, scheme
    cdef bint strict, local
    cdef long most

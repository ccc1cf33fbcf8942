"""Connections straight on the compiled loop: no transport, no protocol, no copy in between.

The loop hands received bytes to the connection where they lie, and the connection writes its
responses into the batch that the loop sends at the end of the turn.
"""

import contextvars
import logging
import os
import socket

from cpython.bytes cimport PyBytes_AS_STRING, PyBytes_GET_SIZE

from ember.eventloop._stream cimport STREAM_RESERVE_MAX, CoreLoop, Listener, Stream
from ember.protocol.server._connection cimport Connection
from ember.protocol.server._sink cimport Sink

from ember.exceptions import ProtocolError

cdef extern from *:
    """
    #include <arpa/inet.h>
    #include <errno.h>
    #include <linux/sockios.h>
    #include <linux/tcp.h>
    #include <netinet/in.h>
    #include <stddef.h>
    #include <string.h>
    #include <sys/ioctl.h>
    #include <sys/socket.h>

    /* The peer's address as text and port; 0 when it has none (a unix socket), -1 when it left. */
    static int ember_peer(int fd, char *text, int *port)
    {
        struct sockaddr_storage at;
        socklen_t size = sizeof at;
        if (getpeername(fd, (struct sockaddr *)&at, &size) < 0) return -1;
        if (at.ss_family == AF_INET) {
            struct sockaddr_in *in = (struct sockaddr_in *)&at;
            *port = ntohs(in->sin_port);
            return inet_ntop(AF_INET, &in->sin_addr, text, INET6_ADDRSTRLEN) != NULL;
        }
        if (at.ss_family == AF_INET6) {
            struct sockaddr_in6 *in = (struct sockaddr_in6 *)&at;
            *port = ntohs(in->sin6_port);
            return inet_ntop(AF_INET6, &in->sin6_addr, text, INET6_ADDRSTRLEN) != NULL;
        }
        return 0;
    }

    /* Close will send a reset: the peer must not take it for the end of a message. */
    static void ember_reset_on_close(int fd)
    {
        struct linger now = {1, 0};
        setsockopt(fd, SOL_SOCKET, SO_LINGER, &now, sizeof now);
    }

    /* What changes as the peer takes bytes: what it acknowledged, or (no TCP) what is queued. */
    static long long ember_progress(int fd)
    {
        struct tcp_info info;
        socklen_t size = sizeof info;
        int queued = 0;
        if (getsockopt(fd, IPPROTO_TCP, TCP_INFO, &info, &size) == 0 &&
            size > offsetof(struct tcp_info, tcpi_bytes_acked))
            return (long long)info.tcpi_bytes_acked;
        if (ioctl(fd, SIOCOUTQ, &queued) < 0) return 0;
        return queued;
    }

    /* Bytes that were received and not read. */
    static int ember_unread(int fd)
    {
        int waiting = 0;
        return fd >= 0 && ioctl(fd, FIONREAD, &waiting) == 0 && waiting > 0;
    }

    static void ember_no_delay(int fd)
    {
        int one = 1;
        setsockopt(fd, IPPROTO_TCP, TCP_NODELAY, &one, sizeof one);
    }
    """
    int ember_peer(int fd, char *text, int *port)
    void ember_reset_on_close(int fd)
    void ember_no_delay(int fd)
    long long ember_progress(int fd)
    bint ember_unread(int fd)

log = logging.getLogger("ember.protocol")

#: Seconds that a closed connection goes on reading, so that the last response is not lost to a
#: reset (RFC 9112 section 9.6).
LINGER_TIMEOUT = 2.0


cdef long long stream_progress(Stream stream) noexcept:
    # The backlog alone stands still while the kernel works on one long send.
    return ember_progress(stream.fd) + stream.backlog


cdef bint stream_unread(Stream stream) noexcept:
    return stream.inbox is not None or ember_unread(stream.fd)


cdef class StreamSink(Sink):
    """Writes where the loop sends from; the batch ends with the turn."""
    cdef HttpStream stream

    cdef char *reserve(self, Py_ssize_t size) except NULL:
        return self.stream.reserve(size)

    cdef int commit(self, Py_ssize_t size) except -1:
        return self.stream.commit(size)

    cdef int write(self, object data) except -1:
        if type(data) is bytes and PyBytes_GET_SIZE(data) <= STREAM_RESERVE_MAX:
            return self.stream.write(PyBytes_AS_STRING(data), PyBytes_GET_SIZE(data))
        return self.stream.write_object(data)

    cdef int send_file(self, object file, long long offset, Py_ssize_t size) except -1:
        # The numbers of FILE_SENT ... are the same on both sides.
        return self.stream.write_file(file, file.fileno(), offset, size)

    cdef int send_now(self) except -1:
        return self.stream.loop.send_now()

    cdef int flush(self) except -1:
        return 0

    cdef Py_ssize_t backlog(self) except -1:
        return self.stream.backlog

    cdef long long progress(self) except -1:
        return stream_progress(self.stream)

    cdef bint unread(self) except -1:
        return stream_unread(self.stream)

    cdef int pause_reading(self) except -1:
        return self.stream.pause_reading()

    cdef int resume_reading(self) except -1:
        return self.stream.resume_reading()

    cdef int close(self, bint linger) except -1:
        return self.stream.end(linger)

    cdef int abort(self) except -1:
        return self.stream.reset()


cdef class HttpStream(Stream):
    """One accepted socket with its connection."""

    cdef Sink make_sink(self):
        cdef StreamSink sink = StreamSink.__new__(StreamSink)
        sink.stream = self
        return sink

    cdef int on_connect(self) except -1:
        cdef HttpListener listener = self.listener
        cdef Connection connection
        cdef char text[64]
        cdef int port = 0
        client = None
        app = listener.app
        if listener.most >= 0 and listener.server.connections >= listener.most:
            app = listener.server.overload.admit(app, listener.server.connections)
        if not listener.local:
            if ember_peer(self.fd, text, &port) > 0:
                client = ((<bytes>text).decode(), port)
            ember_no_delay(self.fd)
        over_limit = app is not None and app is not listener.app
        connection = self.connection = Connection(
            listener.app if app is None else app, self.make_sink(),
            limits=app.limits if over_limit else listener.limits,
            client=client, scheme=listener.scheme, strict_tasks=listener.strict
        )
        # Handlers see what was set where the server was made, as with any asyncio server.
        connection.context = listener.context
        connection.attach(self.loop)
        self.watch_peer()
        listener.server._opened(connection)
        if over_limit:
            connection.retire()
        elif app is None:
            connection.refuse(ProtocolError(503, "the server has too many connections"))
        return 0

    cdef int on_data(self, char *data, Py_ssize_t size) except -1:
        return self.connection.feed(data, size)

    cdef int on_eof(self) except -1:
        if self.linger is not None:
            return self.close()
        return self.connection.eof()

    cdef int on_hangup(self) except -1:
        if self.connection is not None and self.linger is None:
            self.connection.hangup()
        return 0

    cdef int on_lost(self, object error) except -1:
        cdef Connection connection = self.connection
        if self.linger is not None:
            self.linger.cancel()
            self.linger = None
        if connection is None:
            return 0
        self.listener.server._closed(connection, connection.requests)
        connection.lost()
        # The sink still answers, to nobody: a handler may be at work for one that has left.
        self.connection = None
        return 0

    cdef int on_pause_writing(self) except -1:
        return self.connection.pause_writing()

    cdef int on_resume_writing(self) except -1:
        if self.connection is not None:
            self.connection.resume_writing()
        return 0

    cdef int on_drained(self) except -1:
        if self.connection is not None:
            self.connection.wake()
        return 0

    cdef int on_file_failed(self, object error) except -1:
        self.connection.file_error = error
        return self.connection.wake()

    cdef int end(self, bint linger) except -1:
        if self.closing or self.linger is not None:
            return 0
        if linger:
            self.write_eof()
            self.resume_reading()
            self.linger = self.loop.call_later(LINGER_TIMEOUT, self._stop)
            return 0
        return self.close()

    def _stop(self):
        self.close()

    cdef int reset(self) except -1:
        if self.fd >= 0:
            ember_reset_on_close(self.fd)
        return self.abort(None)


cdef class HttpListener(Listener):
    """A listening socket whose connections speak HTTP."""

    def __init__(self, CoreLoop loop, sock, app, limits, server, bint strict):
        self.app = app
        self.limits = limits
        self.server = server
        self.scheme = "http"
        self.strict = strict
        self.local = sock.family == socket.AF_UNIX
        self.most = -1 if limits.max_connections is None else limits.max_connections
        self.context = contextvars.copy_context()

    cdef int exhausted(self, int error) except -1:
        log.warning("no connections are accepted for now: %s (descriptors)", os.strerror(error))
        return 0

    cdef Stream make_stream(self):
        cdef HttpStream stream = HttpStream.__new__(HttpStream)
        stream.listener = self
        return stream


class NativeListener:
    """What `Server` keeps of a listening socket: `close()`."""

    def __init__(self, loop, sock, app, limits, server, strict, backlog, shared=False):
        self._begin(HttpListener(loop, sock, app, limits, server, strict), sock, backlog, shared)

    def _begin(self, HttpListener listener, sock, backlog, shared):
        listener.shared = shared
        sock.listen(backlog)
        listener.start()
        self._listener = listener
        self._sock = sock

    def pause(self):
        """Accept nothing until `resume`."""
        cdef HttpListener listener = self._listener
        listener.pause()

    def resume(self):
        """Accept again."""
        cdef HttpListener listener = self._listener
        listener.start()

    def look(self):
        """Take what waits although this process was not told of it."""
        cdef HttpListener listener = self._listener
        listener.look()

    def close(self):
        """Stop accepting and free the address."""
        cdef HttpListener listener = self._listener
        listener.close()
        self._sock.close()

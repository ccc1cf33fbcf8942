"""Where compiled connections meet the world: memory, and any asyncio transport."""

import asyncio
import socket
import struct
from functools import partial
from weakref import WeakKeyDictionary

from cpython.bytes cimport PyBytes_AS_STRING, PyBytes_GET_SIZE
from cpython.memoryview cimport PyMemoryView_GET_BUFFER

from ember.protocol.server._connection cimport Connection
from ember.protocol.server._sink cimport Sink

from ember._interrupts import raise_from
from ember.exceptions import ProtocolError
from ember.protocol.server.backlog import Backlog, copies
from ember.protocol.server.hangups import PeerWatch, half_close, unread as unread_of
from ember.protocol.server.sendfile import TransportFiles
from ember.protocol.server.unsent import unsent

#: Bytes taken from a socket at once; one buffer serves all connections of a loop.
RECEIVE_SIZE = 65536
#: Seconds that a closed connection goes on reading, so that the last response is not lost to a
#: reset (RFC 9112 section 9.6).
LINGER_TIMEOUT = 2.0

_buffers = WeakKeyDictionary()


cdef class MemorySink(Sink):
    cdef object owner
    cdef list out

    cdef int send(self, object data) except -1:
        self.out.append(data)
        return 0

    cdef Py_ssize_t backlog(self) except -1:
        return 0 if self.owner._writable else sum(map(len, self.out))

    cdef int pause_reading(self) except -1:
        self.owner.reading = False
        return 0

    cdef int resume_reading(self) except -1:
        self.owner.reading = True
        return 0

    cdef int close(self, bint linger) except -1:
        self.owner._close()
        return 0

    cdef int abort(self) except -1:
        self.owner.aborted = True
        self.owner._close()
        return 0


class MemoryConnection:
    """A connection without a socket: `feed` what was received, `take` what was sent.

    Outside of a running loop everything happens inside `feed`, and a handler that has to wait
    raises `RuntimeError`. Inside of one, deadlines hold and responses may come later.
    """

    def __init__(self, app, *, limits=None, strict_tasks=False):
        cdef MemorySink sink = MemorySink.__new__(MemorySink)
        sink.owner = self
        sink.out = []
        self.closed = False
        self.aborted = False
        self.reading = True
        self._writable = True
        self._sink = sink
        self._connection = Connection(app, sink, limits=limits, strict_tasks=strict_tasks)
        self._attach()

    def _attach(self):
        cdef Connection connection = self._connection
        if connection.loop is None:
            loop = asyncio._get_running_loop()
            if loop is not None:
                connection.attach(loop)

    def feed(self, bytes data):
        """Bytes as received."""
        cdef Connection connection = self._connection
        if connection.loop is None:
            self._attach()
        connection.feed(PyBytes_AS_STRING(data), PyBytes_GET_SIZE(data))

    def take(self):
        """What was sent since the last call."""
        cdef MemorySink sink = self._sink
        out = b"".join(sink.out)
        sink.out.clear()
        return out

    @property
    def state(self):
        """What it is about; see `states.py`."""
        cdef Connection connection = self._connection
        return connection.state

    def eof(self):
        """The peer closed its side."""
        cdef Connection connection = self._connection
        connection.eof()

    def lost(self):
        """The connection was reset."""
        cdef Connection connection = self._connection
        self.closed = True
        connection.lost()

    def _close(self):
        cdef Connection connection = self._connection
        if not self.closed:
            self.closed = True
            connection.lost()

    @property
    def writable(self):
        """Whether the peer reads; set it to False to simulate one that does not."""
        return self._writable

    @writable.setter
    def writable(self, bint value):
        cdef Connection connection = self._connection
        if value != self._writable:
            self._writable = value
            if value:
                connection.resume_writing()
            else:
                connection.pause_writing()


cdef class TransportSink(Sink):
    # None once the connection is lost: they refer back. The sink still answers, to nobody: a
    # handler may be at work for one that has left.
    cdef object owner, transport
    cdef object files           # TransportFiles, once a file was sent
    cdef object waiting         # Backlog, before a transport that copies

    cdef object file_sender(self):
        self.flush()
        if self.owner is None:
            return None
        if self.files is None:
            self.files = TransportFiles(self.owner._loop, self.transport)
        if self.waiting is not None:
            self.waiting.hand_over()
        return self.files.send

    cdef int send(self, object data) except -1:
        if self.owner is None:
            return 0
        if self.waiting is None:
            self.transport.write(data)
        else:
            self.waiting.write(data)
        return 0

    cdef Py_ssize_t backlog(self) except -1:
        cdef Py_ssize_t more = 0 if self.files is None else self.files.unsent()
        if self.owner is None:
            return more
        if self.waiting is not None:
            more += self.waiting.size
        return unsent(self.transport, more)

    cdef bint unread(self) except -1:
        return self.owner is not None and unread_of(self.transport)

    cdef int pause_reading(self) except -1:
        if self.owner is not None:
            self.transport.pause_reading()
            self.owner._peer_watch().start()
        return 0

    cdef int resume_reading(self) except -1:
        if self.owner is not None:
            self.transport.resume_reading()
        return 0

    cdef int close(self, bint linger) except -1:
        if self.owner is not None:
            self.owner._close(linger)
        return 0

    cdef int abort(self) except -1:
        if self.owner is not None:
            self.owner._abort()
        return 0


class HTTPProtocol(asyncio.BufferedProtocol):
    """The server's side of one connection, for `loop.create_server` and the like."""

    def __init__(self, app, *, limits=None, strict_tasks=False, server=None):
        self._app = app
        self._limits = limits
        self._strict = strict_tasks
        self._server = server
        self._loop = asyncio.get_running_loop()
        self._transport = None
        self._connection = None
        self._linger = None
        self._watch = None
        self._aborted = False
        self._waiting = None        # Backlog, before a transport that copies
        buffer = _buffers.get(self._loop)
        if buffer is None:
            buffer = _buffers[self._loop] = memoryview(bytearray(RECEIVE_SIZE))
        self._buffer = buffer

    # ---- from the transport ----------------------------------------------------------------

    def connection_made(self, transport):
        cdef TransportSink sink = TransportSink.__new__(TransportSink)
        cdef Connection connection
        peer = transport.get_extra_info("peername")
        self._sink = sink
        secured = transport.get_extra_info("ssl_object")
        app = self._app
        if self._server is not None:
            app = self._server.overload.admit(app, self._server.connections)
        sink.owner = self
        sink.transport = self._transport = transport
        if copies(transport):
            sink.waiting = self._waiting = Backlog(transport)
        connection = self._connection = Connection(
            self._app if app is None else app,
            sink,
            limits=self._limits if app is None or app is self._app else app.limits,
            client=(peer[0], peer[1]) if isinstance(peer, tuple) else None,
            scheme="http" if secured is None else "https",
            strict_tasks=self._strict,
        )
        if secured is not None:
            from ember.protocol.server.tls import TLSInfo

            connection.tls = TLSInfo(secured)
        connection.attach(self._loop)
        if self._server is not None:
            self._server._opened(self)
            if app is not self._app:
                connection.retire()
            if app is None:
                connection.refuse(ProtocolError(503, "the server has too many connections"))
            elif secured is not None:
                self.greeted()

    def greeted(self):
        """The handshake of TLS is done, where there is one."""
        if self._server is not None:
            self._server._greeted(self._connection)

    def get_buffer(self, sizehint):
        return self._buffer

    def buffer_updated(self, Py_ssize_t nbytes):
        cdef Connection connection = self._connection
        try:
            connection.feed(<char *>PyMemoryView_GET_BUFFER(self._buffer).buf, nbytes)
        except (KeyboardInterrupt, SystemExit) as error:
            raise_from(self._loop, error)

    def eof_received(self):
        cdef Connection connection = self._connection
        if self._linger is not None or not self._transport.can_write_eof():
            return False    # over asyncio's TLS there is no half of a connection
        try:
            connection.eof()
        except (KeyboardInterrupt, SystemExit) as error:
            raise_from(self._loop, error)
        if not connection.closing:
            self._peer_watch().start(ended=True)
        # The connection closes when it has answered what it can.
        return not connection.closing or (self._waiting is not None and self._waiting.size > 0)

    def connection_lost(self, exc):
        cdef Connection connection = self._connection
        cdef TransportSink sink = self._sink
        if self._linger is not None:
            self._linger.cancel()
        if self._watch is not None:
            self._watch.stop()
        if self._server is not None:
            self._server._closed(self, connection.requests)
        if self._waiting is not None:
            self._waiting.drop()
        connection.lost()
        sink.owner = sink.transport = None
        self._transport = self._watch = self._sink = None

    def pause_writing(self):
        cdef Connection connection = self._connection
        if self._waiting is not None:
            self._waiting.pause()
        connection.pause_writing()

    def resume_writing(self):
        cdef Connection connection = self._connection
        if self._waiting is None or self._waiting.resume():
            try:
                connection.resume_writing()
            except (KeyboardInterrupt, SystemExit) as error:
                raise_from(self._loop, error)

    def _peer_watch(self):
        if self._watch is None:
            self._watch = PeerWatch(self._loop, self._transport, self._hangup)
        return self._watch

    def _hangup(self):
        cdef Connection connection = self._connection
        connection.hangup()

    # ---- from the connection ---------------------------------------------------------------

    def _close(self, linger):
        if self._waiting is not None:
            self._waiting.after(partial(self._end, linger))
        else:
            self._end(linger)

    def _end(self, linger):
        transport = self._transport
        if self._aborted:
            return
        if linger and transport.can_write_eof() and not transport.is_closing():
            if not half_close(transport):
                return
            transport.resume_reading()
            self._linger = self._loop.call_later(LINGER_TIMEOUT, transport.close)
        else:
            transport.close()

    def _abort(self):
        cdef TransportSink sink = self._sink
        transport = self._transport
        self._aborted = True
        if self._waiting is not None:
            self._waiting.drop()
        if sink.files is not None:
            sink.files.stop()
        sock = transport.get_extra_info("socket")
        if sock is not None and sock.family in (socket.AF_INET, socket.AF_INET6):
            # Close with a reset: the peer must not take it for the end of a message.
            sock.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))
        transport.abort()

    # ---- from the server -------------------------------------------------------------------

    def drain_and_close(self):
        """Finish what is in flight, then close."""
        cdef Connection connection = self._connection
        connection.drain_and_close()

    def retire(self):
        """One more response at most."""
        cdef Connection connection = self._connection
        connection.retire()

    def abort(self):
        """Close now, with a reset."""
        self._connection.abort()

    @property
    def connection(self):
        """What was made when the transport came."""
        return self._connection

    @property
    def requests(self):
        """How many requests came since the start."""
        return 0 if self._connection is None else self._connection.requests

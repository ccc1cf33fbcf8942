# cython: language_level=3
"""asyncio's transports over our streams, with the semantics of its selector transports."""

from cpython.buffer cimport PyBUF_WRITABLE, PyBuffer_Release, PyObject_GetBuffer
from cpython.bytes cimport PyBytes_FromStringAndSize
from libc.stdint cimport uint64_t
from libc.string cimport memcpy

from ember.eventloop._stream cimport CoreLoop, Listener, Stream

import os
import socket
import sys
import warnings
from asyncio import base_events, constants, protocols, trsock
from asyncio.log import logger
from asyncio.transports import _FlowControlMixin

cdef extern from "Python.h":
    int PyContext_Enter(object) except -1
    int PyContext_Exit(object) except -1
    object PyContext_CopyCurrent()

# From 3.13 on a server is told which transport comes and goes.
cdef bint SERVER_KNOWS_CLIENTS = base_events.Server._attach.__code__.co_argcount == 2
# How many writes of one turn are a system call each: a small send costs about 6 us, an append 0.1.
cdef int WRITES_AT_ONCE = 8
cdef int LOG_THRESHOLD = constants.LOG_THRESHOLD_FOR_CONNLOST_WRITES


cdef class TransportStream(Stream):
    """The stream under a transport: forwards what happens to the protocol."""
    cdef SocketTransport transport

    cdef int on_data(self, char *data, Py_ssize_t size) except -1:
        return feed(self.transport, data, size)

    cdef int on_eof(self) except -1:
        return feed_eof(self.transport)

    cdef int on_pause_writing(self) except -1:
        return flow(self.transport, "pause_writing")

    cdef int on_resume_writing(self) except -1:
        cdef object context = self.transport.context
        PyContext_Enter(context)
        try:
            return flow(self.transport, "resume_writing")
        finally:
            PyContext_Exit(context)

    cdef int on_drained(self) except -1:
        cdef object waiter = self.transport._empty_waiter
        if waiter is not None and not waiter.done():
            waiter.set_result(None)
        return 0

    cdef int on_flushed(self) except -1:
        return self.transport.schedule_lost(None)

    cdef int close(self) except -1:
        if self.closing:
            return 0
        Stream.close(self)
        if self.outbox == NULL:
            self.transport.schedule_lost(None)
        return 0

    cdef int abort(self, object error) except -1:
        Stream.abort(self, error)
        if self.transport is not None:
            self.transport.schedule_lost(error)
        return 0

    cdef int on_lost(self, object error) except -1:
        return self.transport.schedule_lost(error)


cdef class SocketTransport:
    """A connected TCP or unix stream socket on the compiled loop; `isinstance` of
    asyncio.Transport holds."""

    cdef readonly object _loop, _sock, _protocol, _server
    cdef public dict _extra
    cdef public object _empty_waiter
    cdef readonly int _sock_fd
    cdef TransportStream stream
    cdef object context, waiter
    cdef bint buffered, paused, begun, eof
    cdef int conn_lost          # connection_lost is scheduled; then counts what is written in vain
    cdef uint64_t turn          # of the last write,
    cdef int writes             # and how many there were in it
    cdef object high, low       # as they were given: a float is as good as an int
    cdef object __weakref__

    _start_tls_compatible = True
    _sendfile_compatible = constants._SendfileMode.TRY_NATIVE

    @property
    def __class__(self):
        return _FlowControlMixin

    def __init__(self, CoreLoop loop, sock, protocol, waiter=None, extra=None, server=None):
        cdef TransportStream stream = TransportStream.__new__(TransportStream)
        self._loop = loop
        self._sock_fd = sock.fileno()
        self._extra = extra = dict(extra) if extra else {}
        extra["socket"] = trsock.TransportSocket(sock)
        try:
            extra["sockname"] = sock.getsockname()
        except OSError:
            extra["sockname"] = None
        if "peername" not in extra:
            try:
                extra["peername"] = sock.getpeername()
            except OSError:
                extra["peername"] = None
        self.set_protocol(protocol)
        base_events._set_nodelay(sock)
        self.high, self.low = stream.high, stream.low
        self.context = PyContext_CopyCurrent()
        self.waiter = waiter
        # The Python socket owns the descriptor; _call_connection_lost closes it.
        stream.borrow(loop, self._sock_fd)
        stream.transport = self
        stream.begins = True
        self.stream = stream
        try:
            loop._call_soon(self._begin, (), None)
            if server is not None:
                if SERVER_KNOWS_CLIENTS:
                    server._attach(self)
                else:
                    server._attach()
        except BaseException:
            # Nobody has this transport; the socket is still its maker's.
            self.waiter = stream.transport = None
            stream.detach()
            raise
        self._sock = sock
        self._server = server

    def _begin(self):
        if self._sock is None:
            return      # it could not be made after all
        waiter, self.waiter = self.waiter, None
        try:
            self._protocol.connection_made(self)
        finally:
            if waiter is None:
                self._start_reading()
            else:
                # Who waits for the connection gets it before the protocol gets data.
                if not waiter.done():
                    waiter.set_result(None)
                self._loop._call_soon(self._start_reading, (), None)

    def _start_reading(self):
        self.begun = True
        self.stream.begins = False
        if self.paused:
            self.stream.schedule_update()      # a send may have failed meanwhile
        else:
            self.stream.resume_reading()

    def __repr__(self):
        info = ["SocketTransport"]
        if self._sock is None:
            info.append("closed")
        elif self.stream.closing:
            info.append("closing")
        info.append(f"fd={self._sock_fd}")
        if self.stream is not None and self._loop is not None and not self._loop.is_closed():
            info.append("read=polling" if self.stream.is_reading() else "read=idle")
            size = self.stream.backlog
            info.append(f"write=<{'polling' if size else 'idle'}, bufsize={size}>")
        return f"<{' '.join(info)}>"

    def __del__(self):
        if self._sock is not None:
            warnings.warn(f"unclosed transport {self!r}", ResourceWarning, source=self)
            self._sock.close()
            if self._server is not None and SERVER_KNOWS_CLIENTS:
                self._server._detach(self)

    # ---- the end ---------------------------------------------------------------------------

    cdef int schedule_lost(self, object error) except -1:
        # In the order of everything else that was scheduled, connection_made included.
        cdef CoreLoop loop
        if not self.conn_lost:
            self.conn_lost = 1
            loop = self._loop
            loop._call_soon(self._call_connection_lost, (error,), self.context)
        return 0

    @property
    def _protocol_paused(self):
        return self.stream.is_paused()

    def _call_connection_lost(self, exc):
        sock, server = self._sock, self._server
        waiter, self._empty_waiter = self._empty_waiter, None
        try:
            self._protocol.connection_lost(exc)
        finally:
            self.stream.detach()
            sock.close()
            self._sock = self._protocol = self._loop = self._server = None
            self.stream.transport = None
            self.context = None
            if server is not None:
                if SERVER_KNOWS_CLIENTS:
                    server._detach(self)
                else:
                    server._detach()
            if waiter is not None and not waiter.done():
                waiter.set_exception(ConnectionError("Connection is closed by peer"))

    # ---- asyncio.Transport -----------------------------------------------------------------

    def get_extra_info(self, name, default=None):
        return self._extra.get(name, default)

    def is_closing(self):
        return self.stream.closing

    def close(self):
        self.stream.uncork()
        self.stream.close()

    def abort(self):
        self._force_close(None)

    def _force_close(self, exc):
        if not self.conn_lost:
            self.stream.uncork()
            self.stream.abort(exc)

    def _fatal_error(self, exc, message="Fatal error on transport"):
        if isinstance(exc, OSError):
            if self._loop.get_debug():
                logger.debug("%r: %s", self, message, exc_info=True)
        else:
            self._loop.call_exception_handler({
                "message": message,
                "exception": exc,
                "transport": self,
                "protocol": self._protocol,
            })
        self._force_close(exc)

    def set_protocol(self, protocol):
        self._protocol = protocol
        self.buffered = isinstance(protocol, protocols.BufferedProtocol)

    def get_protocol(self):
        return self._protocol

    def is_reading(self):
        return not self.stream.closing and not self.paused

    def pause_reading(self):
        if self.stream.closing or self.paused:
            return
        self.paused = True
        self.stream.pause_reading()
        if self._loop.get_debug():
            logger.debug("%r pauses reading", self)

    def resume_reading(self):
        if self.stream.closing or not self.paused:
            return
        self.paused = False
        if self.begun:
            self.stream.resume_reading()
        if self._loop.get_debug():
            logger.debug("%r resumes reading", self)

    def write(self, data):
        """As asyncio's: what the socket takes is sent before this returns, so that code which then
        waits for the other end in the same thread gets its reply. A protocol that writes more than
        eight times in one turn of the loop has the rest sent together, when the turn ends."""
        if not isinstance(data, (bytes, bytearray, memoryview)):
            raise TypeError(
                f"data argument must be a bytes-like object, not {type(data).__name__!r}"
            )
        if self.eof:
            raise RuntimeError("Cannot call write() after write_eof()")
        if self._empty_waiter is not None:
            raise RuntimeError("unable to write; sendfile is in progress")
        if data:
            self.send(data)

    def writelines(self, list_of_data):
        """As asyncio's: one write of everything, with one system call."""
        if self.eof:
            raise RuntimeError("Cannot call writelines() after write_eof()")
        if self._empty_waiter is not None:
            raise RuntimeError("unable to writelines; sendfile is in progress")
        data = b"".join(list_of_data)
        if data:
            self.send(data)

    cdef int send(self, data) except -1:
        if self.conn_lost:
            if self.conn_lost >= LOG_THRESHOLD:
                logger.warning("socket.send() raised exception.")
            self.conn_lost += 1
            return 0
        cdef CoreLoop loop = self._loop
        if self.turn != loop.turns:
            self.turn = loop.turns
            self.writes = 0
        self.writes += 1
        return self.stream.send_now(data, self.writes > WRITES_AT_ONCE)

    def write_eof(self):
        if self.stream.closing or self.eof:
            return
        self.eof = True
        self.stream.uncork()
        self.stream.write_eof()

    def can_write_eof(self):
        return True

    def get_write_buffer_size(self):
        self.stream.uncork()
        return self.stream.backlog

    def get_write_buffer_limits(self):
        return (self.low, self.high)

    def set_write_buffer_limits(self, high=None, low=None):
        if high is None:
            high = 64 * 1024 if low is None else 4 * low
        if low is None:
            low = high // 4
        if not high >= low >= 0:
            raise ValueError(f"high ({high!r}) must be >= low ({low!r}) must be >= 0")
        self.high, self.low = high, low
        self.stream.uncork()
        self.stream.high = int(min(high, sys.maxsize))
        self.stream.low = int(min(low, sys.maxsize))
        self.stream.check_high()

    # ---- what BaseEventLoop.sendfile() uses ------------------------------------------------

    def _make_empty_waiter(self):
        if self._empty_waiter is not None:
            raise RuntimeError("Empty waiter is already set")
        self._empty_waiter = self._loop.create_future()
        self.stream.tell_drained()
        return self._empty_waiter

    def _reset_empty_waiter(self):
        self._empty_waiter = None


include "_receiving.pxi"
include "_accept.pxi"

"""`HTTPProtocol`: a connection on any asyncio loop, TLS included."""

from __future__ import annotations

import asyncio
import socket
import struct
from functools import partial
from typing import cast
from weakref import WeakKeyDictionary

from ember._interrupts import raise_from
from ember.exceptions import ProtocolError
from ember.protocol.server.backlog import Backlog, copies
from ember.protocol.server.hangups import PeerWatch, half_close, unread
from ember.protocol.server.pure.connection import Connection
from ember.protocol.server.sendfile import TransportFiles
from ember.protocol.server.unsent import unsent

TYPE_CHECKING = False
if TYPE_CHECKING:
    from typing import Protocol

    from ember.limits import ServerLimits
    from ember.protocol.server.application import Application
    from ember.protocol.server.openfile import OpenFile
    from ember.protocol.server.overload import Overload

    class Admitting(Protocol):
        """Who lets connections in, and counts them."""

        overload: Overload

        @property
        def connections(self) -> int: ...

        def _greeted(self, connection: Connection) -> None: ...
        def _opened(self, protocol: HTTPProtocol) -> None: ...
        def _closed(self, protocol: HTTPProtocol, requests: int) -> None: ...


#: Bytes taken from a socket at once; one buffer serves all connections of a loop.
RECEIVE_SIZE = 65536
#: Seconds that a closed connection goes on reading, so that the last response is not lost to a
#: reset (RFC 9112 section 9.6).
LINGER_TIMEOUT = 2.0

_buffers: WeakKeyDictionary[asyncio.AbstractEventLoop, memoryview] = WeakKeyDictionary()


class HTTPProtocol(asyncio.BufferedProtocol):
    """The server's side of one connection, for `loop.create_server` and the like."""

    def __init__(
        self,
        app: Application,
        *,
        limits: ServerLimits | None = None,
        strict_tasks: bool = False,
        server: Admitting | None = None,
    ) -> None:
        self._app = app
        self._limits = limits
        self._server = server
        self._loop = asyncio.get_running_loop()
        self._transport: asyncio.Transport | None = None
        self._connection: Connection | None = None
        self._linger: asyncio.TimerHandle | None = None
        self._watch: PeerWatch | None = None
        self._aborted = False
        self._files: TransportFiles | None = None
        self._backlog: Backlog | None = None
        buffer = _buffers.get(self._loop)
        if buffer is None:
            buffer = _buffers[self._loop] = memoryview(bytearray(RECEIVE_SIZE))
        self._buffer = buffer

    # -- from the transport -------------------------------------------------------------------

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        # uvloop's transports are no asyncio.Transport, whatever they can do.
        transport = cast("asyncio.Transport", transport)
        self._transport = transport
        peer = transport.get_extra_info("peername")
        secured = transport.get_extra_info("ssl_object")
        app: Application | None = self._app
        if self._server is not None:
            app = self._server.overload.admit(self._app, self._server.connections)
        if copies(transport):
            self._backlog = Backlog(transport)
        connection = self._connection = Connection(
            self._app if app is None else app,
            transport if self._backlog is None else self._backlog,
            self,
            limits=self._limits if app is None or app is self._app else app.limits,
            client=(peer[0], peer[1]) if isinstance(peer, tuple) else None,
            scheme="http" if secured is None else "https",
        )
        if secured is not None:
            from ember.protocol.server.tls import TLSInfo

            connection.tls = TLSInfo(secured)
        connection.attach(self._loop)
        if self._server is not None:
            self._server._opened(self)
            if app is not self._app:
                connection.retiring = True
            if app is None:
                connection.refuse(ProtocolError(503, "the server has too many connections"))
            elif secured is not None:
                self.greeted()

    def greeted(self) -> None:
        """The handshake of TLS is done, where there is one."""
        if self._server is not None:
            self._server._greeted(self.connection)

    def get_buffer(self, sizehint: int) -> memoryview:
        return self._buffer

    def buffer_updated(self, nbytes: int) -> None:
        assert self._connection is not None
        try:
            self._connection.feed(self._buffer[:nbytes])
        except (KeyboardInterrupt, SystemExit) as error:
            raise_from(self._loop, error)

    def eof_received(self) -> bool:
        assert self._connection is not None
        assert self._transport is not None
        if self._linger is not None or not self._transport.can_write_eof():
            return False  # over asyncio's TLS there is no half of a connection
        try:
            self._connection.eof()
        except (KeyboardInterrupt, SystemExit) as error:
            raise_from(self._loop, error)
        if not self._connection.closing:
            self._peer_watch().start(ended=True)
        # The connection closes when it has answered what it can.
        return not self._connection.closing or self._waits()

    def _waits(self) -> bool:
        """Whether something is to be sent that the transport does not have."""
        return self._backlog is not None and self._backlog.size > 0

    def connection_lost(self, exc: Exception | None) -> None:
        assert self._connection is not None
        if self._linger is not None:
            self._linger.cancel()
        if self._watch is not None:
            self._watch.stop()
        if self._server is not None:
            self._server._closed(self, self._connection.requests)
        if self._backlog is not None:
            self._backlog.drop()
        self._connection.lost()
        # Over TLS the two refer to each other, and nothing is sent any more.
        self._transport = None

    def pause_writing(self) -> None:
        assert self._connection is not None
        if self._backlog is not None:
            self._backlog.pause()
        self._connection.pause_writing()

    def resume_writing(self) -> None:
        assert self._connection is not None
        if self._backlog is None or self._backlog.resume():
            try:
                self._connection.resume_writing()
            except (KeyboardInterrupt, SystemExit) as error:
                raise_from(self._loop, error)

    # -- from the connection ------------------------------------------------------------------

    def close_connection(self, linger: bool) -> None:
        if self._backlog is not None:
            self._backlog.after(partial(self._close, linger))
        else:
            self._close(linger)

    def _close(self, linger: bool) -> None:
        transport = self._transport
        if self._aborted or transport is None:
            return
        if linger and transport.can_write_eof() and not transport.is_closing():
            if not half_close(transport):
                return
            transport.resume_reading()
            self._linger = self._loop.call_later(LINGER_TIMEOUT, transport.close)
        else:
            transport.close()

    def abort_connection(self) -> None:
        transport = self._transport
        assert transport is not None
        self._aborted = True
        if self._backlog is not None:
            self._backlog.drop()
        if self._files is not None:
            self._files.stop()
        sock = transport.get_extra_info("socket")
        if sock is not None and sock.family in (socket.AF_INET, socket.AF_INET6):
            # Close with a reset: the peer must not take it for the end of a message.
            sock.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))
        transport.abort()

    def _hangup(self) -> None:
        assert self._connection is not None
        self._connection.hangup()

    def _peer_watch(self) -> PeerWatch:
        if self._watch is None:
            assert self._transport is not None
            self._watch = PeerWatch(self._loop, self._transport, self._hangup)
        return self._watch

    def watch_peer(self) -> None:
        """Reading was paused: the peer's leaving is to be told all the same."""
        self._peer_watch().start()

    def unread(self) -> bool:
        """Whether bytes of the peer wait in the kernel."""
        return unread(self._transport)

    def unsent(self) -> int:
        """Bytes that the peer has not taken."""
        assert self._transport is not None
        more = 0 if self._files is None else self._files.unsent()
        if self._backlog is not None:
            more += self._backlog.size
        return unsent(self._transport, more)

    async def send_file(self, file: OpenFile, offset: int, size: int) -> bool:
        if self._files is None:
            assert self._transport is not None
            self._files = TransportFiles(self._loop, self._transport)
        if self._backlog is not None:
            self._backlog.hand_over()
        return await self._files.send(file, offset, size)

    # -- from the server ----------------------------------------------------------------------

    def drain_and_close(self) -> None:
        assert self._connection is not None
        self._connection.drain_and_close()

    def retire(self) -> None:
        assert self._connection is not None
        self._connection.retiring = True

    def abort(self) -> None:
        assert self._connection is not None
        self._connection.abort()

    @property
    def connection(self) -> Connection:
        """What was made when the transport came."""
        assert self._connection is not None
        return self._connection

    @property
    def requests(self) -> int:
        return 0 if self._connection is None else self._connection.requests

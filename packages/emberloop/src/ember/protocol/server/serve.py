"""`serve`: an application on TCP, IPv6 and unix sockets, on whatever loop is running."""

from __future__ import annotations

import asyncio
import os
import socket
from functools import partial

from ember._build import PURE
from ember.limits import ServerLimits
from ember.protocol.server.listening import bind, bind_unix
from ember.protocol.server.overload import Overload
from ember.protocol.server.sharing import AcceptBalancer, ReaderListener

TYPE_CHECKING = False
if TYPE_CHECKING or PURE:
    from ember.protocol.server.pure.asyncio_protocol import HTTPProtocol
else:
    from ember.protocol.server._endpoints import HTTPProtocol
if TYPE_CHECKING:
    import ssl as ssl_module
    from collections.abc import Callable, Mapping, Sequence
    from typing import Any

    from ember.protocol.server.application import Application
    from ember.protocol.server.codec import Codec, Output
    from ember.protocol.server.pure.connection import Connection
    from ember.protocol.server.sharing import Share
    from ember.protocol.server.tls import ServerTLS

__all__ = ["Server", "serve"]


NOTSENT_LOWAT = getattr(socket, "TCP_NOTSENT_LOWAT", None)
#: Bytes of one connection that the kernel keeps without having sent them.
UNSENT_IN_KERNEL = 262144


class Server:
    """A listening server; `serve` makes it."""

    def __init__(
        self,
        limits: ServerLimits,
        share: Share | None = None,
        codecs: Mapping[str, Callable[[Output], Codec]] | None = None,
    ) -> None:
        self._limits = limits
        self._codecs = codecs or {}
        self._share = share
        self._balancers: list[AcceptBalancer] = []
        self._retiring = False
        #: how much of what came is turned away: `running`, `queued`, `shed`, `refused`
        self.overload = Overload(limits)
        self._tls: ServerTLS | None = None
        self._tls_timer: asyncio.TimerHandle | None = None
        self._listeners: list[asyncio.AbstractServer] = []
        self._protocols: set[HTTPProtocol] = set()
        #: accepted by a ReaderListener; the loop has not told them yet
        self._arriving: set[HTTPProtocol] = set()
        self._finished_requests = 0
        self._empty = asyncio.Event()
        self._empty.set()
        self._done = asyncio.Event()
        self._closing = False
        self._unlink: tuple[str, int] | None = None
        self.sockets: list[socket.socket] = []
        #: (host, port) of every TCP socket, the path of a unix socket
        self.addresses: list[tuple[str, int] | str] = []

    @property
    def connections(self) -> int:
        """How many connections are open now."""
        return len(self._protocols)

    @property
    def requests(self) -> int:
        """How many requests came since the start."""
        return self._finished_requests + sum(p.requests for p in self._protocols)

    def reload_tls(self) -> bool:
        """Read the certificates again, for connections from now on; they are looked at every
        `check_interval` anyway. False when there are none, or when they cannot be used: then those
        before stay in use, and the log says why."""
        return self._tls is not None and self._tls.reload()

    def _watch(self, tls: ServerTLS) -> None:
        self._tls = tls
        loop = asyncio.get_running_loop()

        def look() -> None:
            self._tls_timer = loop.call_later(tls.check_interval, look)
            tls.check()

        self._tls_timer = loop.call_later(tls.check_interval, look)

    def _greeted(self, connection: Connection) -> None:
        """The handshake of TLS is done: another codec speaks, if the two have agreed on one."""
        if self._codecs and connection.tls is not None:
            successor = self._codecs.get(connection.tls.alpn or "")
            if successor is not None:
                connection.hand_over(successor)

    def _opened(self, protocol: HTTPProtocol) -> None:
        self._protocols.add(protocol)
        self._empty.clear()
        if self._closing:
            protocol.drain_and_close()
        elif self._retiring:
            protocol.retire()
        if protocol in self._arriving:
            self._arriving.discard(protocol)  # it has counted since then
        elif self._share is not None:
            self._counted(self._share)

    def _arrives(self, protocol: HTTPProtocol) -> None:
        self._arriving.add(protocol)
        if self._share is not None:
            self._counted(self._share)

    def _stays_away(self, protocol: HTTPProtocol) -> None:
        """Its connection was lost on the way; nothing to do when it has arrived."""
        if protocol in self._arriving:
            self._arriving.discard(protocol)
            if self._share is not None:
                self._counted(self._share)

    def _closed(self, protocol: HTTPProtocol, requests: int) -> None:
        self._protocols.discard(protocol)
        self._finished_requests += requests
        if not self._protocols:
            self._empty.set()
        if self._share is not None:
            self._counted(self._share)

    def _counted(self, share: Share) -> None:
        share.changed(len(self._protocols) + len(self._arriving))
        for balancer in self._balancers:
            balancer.changed()

    def retire(self) -> None:
        """Give every connection one more response at most, with `Connection: close`; idle ones stay
        open until they have had it. New ones are taken until `stop_accepting` or `close`."""
        self._retiring = True
        for protocol in tuple(self._protocols):
            protocol.retire()

    def stop_accepting(self) -> None:
        """Leave new connections to the others who listen on these sockets."""
        self._stop_listening()

    async def drained(self, timeout: float) -> bool:
        """Wait until every connection has gone, `timeout` seconds at most; whether they have."""
        try:
            await asyncio.wait_for(self._empty.wait(), timeout)
        except TimeoutError:
            return False
        return True

    async def close(self, timeout: float | None = None) -> None:
        """Stop accepting, finish what is in flight, then abort what is left after `timeout` seconds
        (default: `limits.shutdown_timeout`). Idle connections close at once."""
        self._closing = True
        self._stop_listening()
        for protocol in tuple(self._protocols):
            protocol.drain_and_close()
        for _ in range(3):  # what was being accepted arrives, and is closed
            await asyncio.sleep(0)
        try:
            await asyncio.wait_for(
                self._empty.wait(), self._limits.shutdown_timeout if timeout is None else timeout
            )
        except TimeoutError:
            for protocol in tuple(self._protocols):
                protocol.abort()
            await self._empty.wait()
        self._done.set()

    def abort(self) -> None:
        """Stop accepting and reset every connection, now."""
        self._closing = True
        self._stop_listening()
        for protocol in tuple(self._protocols):
            protocol.abort()
        self._done.set()

    async def wait_closed(self) -> None:
        """Wait until `close` or `abort` has ended and every connection is gone."""
        await self._done.wait()
        await self._empty.wait()

    def _stop_listening(self) -> None:
        loop = asyncio.get_running_loop()
        for listener in self._listeners:
            if isinstance(listener, asyncio.Server) and type(loop) is asyncio.SelectorEventLoop:
                # Closed at once, stock asyncio forgets a connection that it has accepted in this
                # very turn, its socket open. So: accept no more, close when that one has arrived.
                for sock in listener.sockets:
                    loop.remove_reader(sock.fileno())
                loop.call_soon(loop.call_soon, listener.close)
            else:
                listener.close()
        self._listeners.clear()
        for balancer in self._balancers:
            balancer.close()
        self._balancers.clear()
        if self._tls_timer is not None:
            self._tls_timer.cancel()
            self._tls_timer = None
        if self._unlink is not None:
            path, inode = self._unlink
            self._unlink = None
            # Only our own: another server may have taken the path.
            if os.path.exists(path) and os.stat(path).st_ino == inode:
                os.unlink(path)


async def serve(
    app: Application,
    *,
    host: str | None = "127.0.0.1",
    port: int = 8000,
    sock: socket.socket | None = None,
    sockets: Sequence[socket.socket] = (),
    share: Share | None = None,
    uds: str | None = None,
    ssl: ssl_module.SSLContext | ServerTLS | None = None,
    backlog: int = 2048,
    limits: ServerLimits | None = None,
    strict_tasks: bool = False,
    codecs: Mapping[str, Callable[[Output], Codec]] | None = None,
) -> Server:
    """Serve `app` on `host` and `port` (0: a free one), on a listening or bound socket `sock`
    or several `sockets`, or on the unix socket `uds`. `host=None` or `""` means every address, IPv4
    and IPv6. `share`: other processes accept from the same sockets, and it says when this one has
    its share of the connections.

    `ssl` serves https: `ServerTLS` with files that may change, or a context of one's own.
    `codecs`: what speaks where a client has chosen this name by ALPN (RFC 7301), instead of
    HTTP/1.1; a context of one's own has to offer the names itself.
    `limits` default to `app.limits`. Raises `OSError` when the address cannot be had; its
    `strerror` says which.
    """
    limits = app.limits if limits is None else limits
    loop = asyncio.get_running_loop()
    server = Server(limits, share, codecs)
    context: Any = ssl
    if ssl is not None and not hasattr(ssl, "wrap_bio"):
        if codecs:
            ssl.offer(codecs)
        context = ssl.current
        server._watch(ssl)
    app = server.overload.guard(app)

    def speak() -> HTTPProtocol:
        return HTTPProtocol(app, limits=limits, strict_tasks=strict_tasks, server=server)

    def secure(protocol: HTTPProtocol) -> asyncio.BufferedProtocol:
        if context is None:
            return protocol
        from ember.protocol.server.tls_layer import TLSLayer

        return TLSLayer(protocol, context)

    def connect() -> asyncio.BufferedProtocol:
        return secure(speak())

    native = _native_listener(loop, context)
    if sock is not None:
        sockets = [sock]
    elif not sockets:
        sockets = [bind_unix(uds)] if uds else bind(host, port)
    try:
        for listening in sockets:
            listening.setblocking(False)
            if NOTSENT_LOWAT is not None and listening.family in (socket.AF_INET, socket.AF_INET6):
                # Connections have it from their listener. What a slow reader has not taken waits
                # here, where it is one object, and not copied into megabytes of the kernel's.
                listening.setsockopt(socket.IPPROTO_TCP, NOTSENT_LOWAT, UNSENT_IN_KERNEL)
            listener: Any
            if native is not None:
                listener = native(
                    loop, listening, app, limits, server, strict_tasks, backlog, share is not None
                )
            elif share is not None:
                listener = ReaderListener(loop, listening, speak, secure, backlog, server)
            elif listening.family == getattr(socket, "AF_UNIX", None):
                listener = await loop.create_unix_server(connect, sock=listening, backlog=backlog)
            else:
                listener = await loop.create_server(connect, sock=listening, backlog=backlog)
            if share is not None:
                server._balancers.append(AcceptBalancer(loop, listening, listener, share))
            server._listeners.append(listener)
            server.sockets.append(listening)
            name = listening.getsockname()
            server.addresses.append(name[:2] if isinstance(name, tuple) else name)
    except BaseException:
        server._stop_listening()
        for listening in sockets:
            listening.close()
        raise
    if uds:
        server._unlink = (uds, os.stat(uds).st_ino)
    return server


def _native_listener(loop: asyncio.AbstractEventLoop, context: ssl_module.SSLContext | None) -> Any:
    """The listener that needs neither transport nor protocol, where `loop` is the compiled one."""
    if PURE:
        return None
    from ember.eventloop._stream import CoreLoop

    if not isinstance(loop, CoreLoop):
        return None
    if context is None:
        from ember.protocol.server._native import NativeListener

        return NativeListener
    from ember.protocol.server._tls import NativeTlsListener

    return partial(NativeTlsListener, ssl_context=context)

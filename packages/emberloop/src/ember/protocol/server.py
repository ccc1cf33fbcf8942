"""`serve`: an application on TCP, IPv6 and unix sockets, on whatever loop is running."""

from __future__ import annotations

import asyncio
import os
import socket
import stat

from ember._build import PURE
from ember.limits import ServerLimits

TYPE_CHECKING = False
if TYPE_CHECKING or PURE:
    from ember.protocol.pure.asyncio_protocol import HTTPProtocol
else:
    from ember.protocol._endpoints import HTTPProtocol
if TYPE_CHECKING:
    import ssl as ssl_module
    from typing import Any

    from ember.protocol.application import Application

__all__ = ["Server", "serve"]


class Server:
    """A listening server; `serve` makes it."""

    def __init__(self, limits: ServerLimits) -> None:
        self._limits = limits
        self._listeners: list[asyncio.AbstractServer] = []
        self._protocols: set[HTTPProtocol] = set()
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

    def _opened(self, protocol: HTTPProtocol) -> None:
        self._protocols.add(protocol)
        self._empty.clear()
        if self._closing:
            protocol.drain_and_close()

    def _closed(self, protocol: HTTPProtocol, requests: int) -> None:
        self._protocols.discard(protocol)
        self._finished_requests += requests
        if not self._protocols:
            self._empty.set()

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
            if type(loop) is asyncio.SelectorEventLoop:
                # Closed at once, stock asyncio forgets a connection that it has accepted in this
                # very turn, its socket open. So: accept no more, close when that one has arrived.
                for sock in listener.sockets:  # type: ignore[attr-defined]
                    loop.remove_reader(sock.fileno())
                loop.call_soon(loop.call_soon, listener.close)
            else:
                listener.close()
        self._listeners.clear()
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
    uds: str | None = None,
    ssl: ssl_module.SSLContext | None = None,
    backlog: int = 2048,
    limits: ServerLimits | None = None,
    strict_tasks: bool = False,
) -> Server:
    """Serve `app` on `host` and `port` (0: a free one), on a listening or bound socket `sock`,
    or on the unix socket `uds`. `host=None` or `""` means every address, IPv4 and IPv6.

    `limits` default to `app.limits`. Raises `OSError` when the address cannot be had; its
    `strerror` says which.
    """
    limits = app.limits if limits is None else limits
    loop = asyncio.get_running_loop()
    server = Server(limits)

    def connect() -> HTTPProtocol:
        return HTTPProtocol(app, limits=limits, strict_tasks=strict_tasks, server=server)

    native = _native_listener(loop)
    sockets = [sock] if sock is not None else _unix(uds) if uds else _bind(host, port)
    try:
        for listening in sockets:
            listening.setblocking(False)
            listener: Any
            if native is not None and ssl is None:
                listener = native(loop, listening, app, limits, server, strict_tasks, backlog)
            elif listening.family == getattr(socket, "AF_UNIX", None):
                listener = await loop.create_unix_server(
                    connect, sock=listening, ssl=ssl, backlog=backlog
                )
            else:
                listener = await loop.create_server(
                    connect, sock=listening, ssl=ssl, backlog=backlog
                )
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


def _native_listener(loop: asyncio.AbstractEventLoop) -> Any:
    """The listener that needs neither transport nor protocol, where `loop` is the compiled one."""
    if PURE:
        return None
    from ember.eventloop._stream import CoreLoop

    if not isinstance(loop, CoreLoop):
        return None
    from ember.protocol._native import NativeListener

    return NativeListener


def _bind(host: str | None, port: int) -> list[socket.socket]:
    # As bytes where it is ASCII: a str goes through the idna codec and its megabyte of tables.
    name = host.encode("ascii") if host and host.isascii() else host
    infos = socket.getaddrinfo(name or None, port, type=socket.SOCK_STREAM, flags=socket.AI_PASSIVE)
    sockets: list[socket.socket] = []
    try:
        for family, kind, proto, _, address in dict.fromkeys(infos):
            if family not in (socket.AF_INET, socket.AF_INET6):
                continue
            try:
                s = socket.socket(family, kind, proto)
            except OSError:
                continue  # an address family that this machine does not have
            sockets.append(s)
            s.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
            if family == socket.AF_INET6:
                s.setsockopt(socket.IPPROTO_IPV6, socket.IPV6_V6ONLY, 1)
            if port == 0 and len(sockets) > 1:
                # One free port for every family.
                address = (address[0], sockets[0].getsockname()[1], *address[2:])
            try:
                s.bind(address)
            except OSError as error:
                raise _explain(error, f"{address[0]}:{port}") from None
    except BaseException:
        for s in sockets:
            s.close()
        raise
    if not sockets:
        raise OSError(f"{host!r} has no address to listen on")
    return sockets


def _unix(path: str) -> list[socket.socket]:
    s = socket.socket(socket.AF_UNIX, socket.SOCK_STREAM)
    try:
        if os.path.exists(path) and stat.S_ISSOCK(os.stat(path).st_mode) and not _answers(path):
            os.unlink(path)  # left behind by a server that is gone
        s.bind(path)
    except OSError as error:
        s.close()
        raise _explain(error, path) from None
    return [s]


def _answers(path: str) -> bool:
    with socket.socket(socket.AF_UNIX, socket.SOCK_STREAM) as probe:
        try:
            probe.connect(path)
        except ConnectionRefusedError:
            return False
        return True


def _explain(error: OSError, address: str) -> OSError:
    import errno

    text = {
        errno.EADDRINUSE: "is already in use by another program",
        errno.EACCES: "may not be used by this user (ports below 1024 need a privilege)",
        errno.EADDRNOTAVAIL: "is not an address of this machine",
    }.get(error.errno or 0, error.strerror)
    return OSError(error.errno, f"{address} {text}")

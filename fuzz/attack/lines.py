"""The connections that attackers use: a plain socket, or TLS spoken by hand over one, so that it
can be broken off, reset and half closed anywhere."""

from __future__ import annotations

import asyncio
import contextlib
import socket
import ssl
import struct


def reset(sock: socket.socket) -> None:
    """Closing it resets the connection."""
    sock.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))


class Line:
    """A plain connection to `port` on this machine."""

    def __init__(self) -> None:
        self.sock = socket.socket()
        self.sock.setblocking(False)

    async def connect(self, port: int) -> None:
        """Raises OSError when the server closes instead."""
        await asyncio.get_running_loop().sock_connect(self.sock, ("127.0.0.1", port))

    async def send(self, data: bytes, seconds: float = 2.0) -> None:
        """As much of it as the server takes in so many seconds."""
        with contextlib.suppress(TimeoutError):
            async with asyncio.timeout(seconds):
                await asyncio.get_running_loop().sock_sendall(self.sock, data)

    async def take(self, seconds: float = 0.5) -> bytes:
        """What comes first; nothing at the end and after so many seconds."""
        with contextlib.suppress(TimeoutError):
            async with asyncio.timeout(seconds):
                return await asyncio.get_running_loop().sock_recv(self.sock, 65_536)
        return b""

    def half_close(self) -> None:
        self.sock.shutdown(socket.SHUT_WR)

    def close(self, *, hard: bool) -> None:
        if hard:
            reset(self.sock)
        self.sock.close()


class TlsLine(Line):
    """The same under TLS."""

    def __init__(self, context: ssl.SSLContext) -> None:
        super().__init__()
        self._in, self._out = ssl.MemoryBIO(), ssl.MemoryBIO()
        self._tls = context.wrap_bio(self._in, self._out, server_hostname="localhost")

    async def connect(self, port: int) -> None:
        await super().connect(port)
        while True:
            try:
                self._tls.do_handshake()
            except ssl.SSLWantReadError:
                await super().send(self._out.read())
                data = await super().take(20.0)
                if not data:
                    raise ConnectionResetError("no handshake") from None
                self._in.write(data)
            else:
                return await super().send(self._out.read())

    async def send(self, data: bytes, seconds: float = 2.0) -> None:
        if data:
            self._tls.write(data)
        await super().send(self._out.read(), seconds)

    async def take(self, seconds: float = 0.5) -> bytes:
        data = await super().take(seconds)
        self._in.write(data)
        with contextlib.suppress(ssl.SSLError):
            return self._tls.read(65_536)
        return b""

    def half_close(self) -> None:
        """close_notify, and the end of the socket behind it."""
        with contextlib.suppress(ssl.SSLError):
            self._tls.unwrap()
        with contextlib.suppress(BlockingIOError):
            self.sock.send(self._out.read())
        super().half_close()

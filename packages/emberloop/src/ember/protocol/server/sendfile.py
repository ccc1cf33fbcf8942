"""Responses that are parts of files: by the kernel where the connection can, else read and written.

A connection offers `await send_file(file, offset, size) -> bool`: True when the bytes are with the
kernel, False when none of them is and they have to be read. TLS, memory and loops without
sendfile(2) are such; what goes over the wire is the same.
"""

from __future__ import annotations

import asyncio
import socket
import struct
import sys
from typing import TYPE_CHECKING, Any

from ember.protocol.server.openfile import CHUNK, WINDOW, FilePart, FileShortened

if TYPE_CHECKING:
    from collections.abc import Sequence
    from typing import Protocol

    from ember.protocol.server.openfile import OpenFile

    class FileConnection(Protocol):
        """What sending parts asks of a connection."""

        def write(self, data: bytes) -> object: ...
        async def drain(self) -> object: ...
        async def send_file(self, file: OpenFile, offset: int, size: int) -> bool: ...


async def send_parts(connection: FileConnection, parts: Sequence[bytes | FilePart]) -> None:
    """Send `parts` in order. Raises FileShortened, OSError for a disk that fails, and
    `ClientDisconnected`."""
    by_kernel = True
    for part in parts:
        if isinstance(part, bytes):
            connection.write(part)
            continue
        file, offset, end = part.file, part.offset, part.end
        while offset < end:
            size = min(WINDOW, end - offset)
            if by_kernel:
                await file.warm(size, offset)
                by_kernel = await connection.send_file(file, offset, size)
            if not by_kernel:
                data = await file.read(min(CHUNK, size), offset)
                if not data:
                    raise FileShortened(offset)
                size = len(data)
                connection.write(data)
                await connection.drain()
            offset += size
            if offset < end:
                # A reader that keeps up must not keep others waiting.
                await asyncio.sleep(0)


# struct tcp_info (linux/tcp.h): tcpi_bytes_acked, 64 bits.
_BYTES_ACKED = 120
_ULONG = struct.Struct("=Q")


def bytes_taken(sock: Any) -> int | None:
    """Bytes that the peer of a TCP socket has acknowledged since the start; None: not known."""
    if sys.platform != "linux" or sock.family not in (socket.AF_INET, socket.AF_INET6):
        return None
    try:
        info = sock.getsockopt(socket.IPPROTO_TCP, socket.TCP_INFO, 192)
    except OSError:
        return None
    if len(info) < _BYTES_ACKED + 8:
        return None
    taken: int = _ULONG.unpack_from(info, _BYTES_ACKED)[0]
    return taken


class TransportFiles:
    """Files over an asyncio transport, with the loop's own `sendfile`."""

    def __init__(self, loop: asyncio.AbstractEventLoop, transport: asyncio.Transport) -> None:
        self._loop = loop
        self._transport = transport
        sock = transport.get_extra_info("socket")
        # Over TLS the kernel has not the keys. Without a count of what the peer takes, a slow
        # reader could not be told from one that is gone.
        self._able = (
            getattr(transport, "_sendfile_compatible", None) is not None
            and transport.get_extra_info("sslcontext") is None
            and sock is not None
            and bytes_taken(sock) is not None
        )
        self._task: asyncio.Task[int] | None = None
        self._size = 0
        self._start = 0

    async def send(self, file: OpenFile, offset: int, size: int) -> bool:
        """`Connection.send_file` over this transport. Raises FileShortened, ConnectionError."""
        if not self._able:
            return False
        self._size, self._start = size, self._taken()
        # A task of its own: the transport may be aborted under whoever waits here.
        task = self._task = self._loop.create_task(self._sendfile(file, offset, size))
        try:
            sent = await task
        except asyncio.CancelledError:
            if not task.cancelled():
                task.cancel()
                raise
            current = asyncio.current_task()
            if current is not None and current.cancelling():
                raise
            raise ConnectionAbortedError("the connection was aborted") from None
        finally:
            self._task = None
        if sent < 0:
            self._able = False
            return False
        if sent < size:
            raise FileShortened(offset + sent)
        return True

    async def _sendfile(self, file: OpenFile, offset: int, size: int) -> int:
        """Bytes sent; -1: this loop cannot."""
        source: Any = file  # anything with a fileno() does
        try:
            return await self._loop.sendfile(self._transport, source, offset, size, fallback=False)
        except (NotImplementedError, asyncio.SendfileNotAvailableError):
            return -1

    def _taken(self) -> int:
        sock = self._transport.get_extra_info("socket")
        return (bytes_taken(sock) or 0) if sock.fileno() >= 0 else 0

    def unsent(self) -> int:
        """Bytes of the file under way that the peer has not taken; at least 1 while there is
        one."""
        if self._task is None:
            return 0
        return max(1, self._size - (self._taken() - self._start))

    def stop(self) -> None:
        """The transport is about to be aborted: take back what waits for its socket first, or the
        loop would go on waiting for a descriptor that is closed."""
        if self._task is not None:
            self._task.cancel()

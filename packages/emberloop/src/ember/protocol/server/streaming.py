"""Responses piece by piece: a slow reader pauses the producer, an error breaks the message."""

from __future__ import annotations

import asyncio
import contextvars

from ember.protocol.http1.render import LAST_CHUNK
from ember.protocol.message.text import utf8
from ember.protocol.server.backlog import LARGE
from ember.protocol.server.sendfile import send_parts
from ember.protocol.server.threadpool import run_whole

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import AsyncIterable, AsyncIterator, Iterable
    from typing import Any

    from ember.protocol.http1.render import Rendered
    from ember.protocol.server.pure.interfaces import Sending

#: Bytes after which a producer that never waits lets others run.
TURN = 262144


class Begun:
    """A stream of which the first piece is there."""

    __slots__ = ("ended", "first", "pieces", "stream")

    def __init__(self, stream: AsyncIterable[bytes | str] | Iterable[bytes | str]) -> None:
        self.stream = stream
        self.pieces: Any = stream.__aiter__() if hasattr(stream, "__aiter__") else _pull(stream)
        self.first = b""
        self.ended = False

    async def begin(self) -> None:
        """Wait for the first piece; `ended` is set where there is none."""
        try:
            self.first = _bytes(await self.pieces.__anext__())
        except StopAsyncIteration:
            self.ended = True

    async def close(self) -> None:
        """Close the stream, begun or not."""
        close = getattr(self.pieces, "aclose", None)
        if close is not None:
            await close()
        if self.pieces is not self.stream:
            close = getattr(self.stream, "close", None)
            # The end of the server does not wait for a thread that is still inside: then it is
            # closed when that thread lets go of it.
            if close is not None and not getattr(self.stream, "gi_running", False):
                close()


async def begin_stream(
    stream: AsyncIterable[bytes | str] | Iterable[bytes | str], rendered: Rendered
) -> Begun:
    """Wait for the first piece of `stream`, which may be empty: what fails before it can still be
    answered by an error. Raises what the stream raises, after closing it."""
    begun = Begun(stream)
    if rendered.has_body and not hasattr(stream, "file_parts"):
        try:
            await begun.begin()
        except BaseException:
            await begun.close()
            raise
    return begun


async def send_stream(connection: Sending, begun: Begun, rendered: Rendered) -> None:
    """Send a head and what a stream yields. Raises what the stream raises, and
    `ClientDisconnected`; the stream is closed in every case."""
    try:
        connection.write(rendered.head)
        if not rendered.has_body:
            return
        # A file says what it consists of, so that nobody has to read it to send it.
        stream: Any = begun.stream
        parts = getattr(stream, "file_parts", None)
        if parts is not None and stream.file_length == rendered.length:
            await send_parts(connection, parts)
            return
        left, chunked = rendered.length, rendered.chunked
        turn = 0
        data = begun.first
        if data:
            if left is not None:
                left = _left_after(data, left)
            if not chunked:
                connection.write(data)
            elif len(data) < LARGE:
                connection.write(b"%x\r\n%b\r\n" % (len(data), data))
            else:
                _write_large(connection, data)
            if not connection.flowing:
                await connection.drain()
        # The loop of every piece but the first: it costs what a producer and a write cost.
        async for piece in begun.pieces if not begun.ended else _nothing():
            data = _bytes(piece)
            if not data:
                continue  # an empty chunk would be the last one (RFC 9112 section 7.1)
            if left is not None:
                left = _left_after(data, left)
            size = len(data)
            if not chunked:
                connection.write(data)
            elif size < LARGE:
                connection.write(b"%x\r\n%b\r\n" % (size, data))
            else:
                _write_large(connection, data)
            if not connection.flowing:
                await connection.drain()
            turn += size
            if turn >= TURN:
                turn = 0
                await asyncio.sleep(0)
        if left:
            raise RuntimeError(f"the stream ended {left} bytes before its Content-Length")
        if chunked:
            connection.write(LAST_CHUNK)
    finally:
        await begun.close()


def _write_large(connection: Sending, data: bytes) -> None:
    """A chunk whose data is not copied: it may wait for long, or be that of many streams."""
    connection.write(b"%x\r\n" % len(data))
    connection.write(data)
    connection.write(b"\r\n")


def _left_after(data: bytes, left: int) -> int:
    left -= len(data)
    if left < 0:
        raise RuntimeError("the stream gave more bytes than its Content-Length")
    return left


async def _nothing() -> AsyncIterator[bytes]:
    empty: tuple[bytes, ...] = ()
    for piece in empty:
        yield piece


def _bytes(piece: object) -> bytes:
    if isinstance(piece, bytes):
        return piece
    if isinstance(piece, str):
        return utf8(piece)
    if isinstance(piece, bytearray | memoryview):
        return bytes(piece)
    raise TypeError(f"a stream gives bytes or str, not {type(piece).__name__}")


_END: Any = object()


async def _pull(stream: Iterable[bytes | str]) -> AsyncIterator[bytes | str]:
    """A sync iterable, in the thread pool unless it is a list or tuple: it may block."""
    if isinstance(stream, list | tuple):
        for piece in stream:
            yield piece
        return
    iterator = iter(stream)
    context = contextvars.copy_context()
    while True:
        piece = await run_whole(context.run, next, iterator, _END)
        if piece is _END:
            return
        yield piece

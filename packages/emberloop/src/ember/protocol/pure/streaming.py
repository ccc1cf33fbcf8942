"""Answers piece by piece: a slow reader pauses the producer, an error breaks the message."""

from __future__ import annotations

import asyncio
import contextvars

from ember.protocol.pure.render import LAST_CHUNK
from ember.protocol.sendfile import send_parts
from ember.protocol.text import utf8

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import AsyncIterable, AsyncIterator, Iterable, Iterator
    from typing import Any

    from ember.protocol.pure.connection import Connection
    from ember.protocol.pure.render import Rendered

#: Bytes after which a producer that never waits lets others run.
TURN = 262144


async def send_stream(
    connection: Connection,
    stream: AsyncIterable[bytes | str] | Iterable[bytes | str],
    rendered: Rendered,
) -> None:
    """Send a head and what `stream` yields. Raises what the stream raises, and
    `ClientDisconnected`; the stream is closed in every case."""
    pieces: Any = stream.__aiter__() if hasattr(stream, "__aiter__") else _pull(stream)
    try:
        connection.write(rendered.head)
        if not rendered.has_body:
            return
        # A file says what it consists of, so that nobody has to read it to send it.
        parts = getattr(stream, "file_parts", None)
        if parts is not None and stream.file_length == rendered.length:  # type: ignore[union-attr]
            await send_parts(connection, parts)
            return
        left = rendered.length
        turn = 0
        async for piece in pieces:
            data = _bytes(piece)
            if not data:
                continue  # an empty chunk would be the last one (RFC 9112 section 7.1)
            if left is not None:
                left -= len(data)
                if left < 0:
                    raise RuntimeError("the stream gave more bytes than its Content-Length")
            connection.write(b"%x\r\n%b\r\n" % (len(data), data) if rendered.chunked else data)
            if not connection.flowing:
                await connection.drain()
            turn += len(data)
            if turn >= TURN:
                turn = 0
                await asyncio.sleep(0)
        if left:
            raise RuntimeError(f"the stream ended {left} bytes before its Content-Length")
        if rendered.chunked:
            connection.write(LAST_CHUNK)
    finally:
        close = getattr(pieces, "aclose", None)
        if close is not None:
            await close()
        if pieces is not stream:
            close = getattr(stream, "close", None)
            if close is not None:
                close()


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
    loop = asyncio.get_running_loop()
    context = contextvars.copy_context()

    def advance(iterator: Iterator[bytes | str]) -> Any:
        return context.run(next, iterator, _END)

    while True:
        piece = await loop.run_in_executor(None, advance, iterator)
        if piece is _END:
            return
        yield piece

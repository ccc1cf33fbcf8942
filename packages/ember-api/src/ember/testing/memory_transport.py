"""A connection without a socket, between the protocol of the server and a test."""

from __future__ import annotations

import asyncio
from collections.abc import Callable
from typing import Any

#: Limits for the bytes that the server has sent and the test has not read. Above HIGH the server is
#: told to pause; when they are read, to resume.
HIGH = 65536
LOW = 16384


class NoTLS:
    """Stands in for the TLS object of `request.tls`; a test with https uses no real TLS."""

    def version(self) -> None: ...

    def cipher(self) -> None: ...

    def selected_alpn_protocol(self) -> None: ...

    def getpeercert(self, binary_form: bool = False) -> None: ...


class MemoryTransport(asyncio.Transport):
    """The transport of the server. The test reads what the server wrote with `receive`."""

    def __init__(self, client: tuple[str, int], https: bool) -> None:
        super().__init__()
        self._loop = asyncio.get_running_loop()
        self._facts: dict[str, Any] = {
            "peername": client,
            "ssl_object": NoTLS() if https else None,
        }
        self._protocol: Any = None
        self._sent = bytearray()
        self._paused = False
        self._closing = False
        self._ended = False
        self._changed: set[asyncio.Future[None]] = set()
        #: False while the server does not want to receive (back-pressure).
        self.reading = True
        #: `connection_lost` of the server's protocol was called.
        self.lost = False
        #: The server aborted the connection.
        self.aborted = False

    def connect(self, protocol: asyncio.BufferedProtocol) -> None:
        """Connect the protocol of the server to this transport."""
        self._protocol = protocol
        protocol.connection_made(self)

    # -- the test's end -----------------------------------------------------------------------

    async def send(self, data: bytes) -> None:
        """Let the server receive `data`. Waits while the server has paused reading.

        Raises ConnectionResetError if the server has closed the connection.
        """
        view = memoryview(data)
        while view:
            while not self.reading and not self.over:
                await self._change()
            if self.over:
                raise ConnectionResetError("the server closed the connection")
            buffer = self._protocol.get_buffer(len(view))
            size = min(len(buffer), len(view))
            buffer[:size] = view[:size]
            view = view[size:]
            self._protocol.buffer_updated(size)

    async def receive(self) -> bytes:
        """The next bytes from the server; empty at the end of the connection."""
        while not self._sent and not self.over:
            await self._change()
        data = bytes(self._sent)
        self._sent.clear()
        if self._paused and not self.lost:
            self._paused = False
            self._protocol.resume_writing()
        return data

    def disconnect(self) -> None:
        """Close the connection from the client's side."""
        self._sent.clear()
        self._end(None)

    @property
    def over(self) -> bool:
        """Whether the server will send nothing more."""
        return self._closing or self._ended

    @property
    def idle(self) -> bool:
        """Whether another request can be sent."""
        return not self.over and not self._sent

    async def _change(self) -> None:
        waiter = self._loop.create_future()
        self._changed.add(waiter)
        try:
            await waiter
        finally:
            self._changed.discard(waiter)

    def _wake(self) -> None:
        for waiter in self._changed:
            if not waiter.done():
                waiter.set_result(None)

    # -- the server's end ---------------------------------------------------------------------

    def get_extra_info(self, name: str, default: Any = None) -> Any:
        return self._facts.get(name, default)

    def is_closing(self) -> bool:
        return self._closing

    def is_reading(self) -> bool:
        return self.reading

    def pause_reading(self) -> None:
        self.reading = False

    def resume_reading(self) -> None:
        self.reading = True
        self._wake()

    def get_write_buffer_size(self) -> int:
        return len(self._sent)

    def write(self, data: bytes | bytearray | memoryview[Any]) -> None:
        if self.over:
            return
        self._sent += data
        self._wake()
        if len(self._sent) > HIGH and not self._paused:
            self._paused = True
            self._protocol.pause_writing()

    def can_write_eof(self) -> bool:
        return True

    def write_eof(self) -> None:
        self._ended = True
        self._wake()

    def close(self) -> None:
        self._end(None)

    def abort(self) -> None:
        self.aborted = True
        self._end(None)

    def _end(self, error: Exception | None) -> None:
        if not self._closing:
            self._closing = True
            # Like every transport: never during a call from the protocol.
            self._later(self._lose, error)
        self._wake()

    def _later(self, function: Callable[..., object], *args: object) -> None:
        self._loop.call_soon(function, *args)

    def _lose(self, error: Exception | None) -> None:
        self.lost = True
        self._protocol.connection_lost(error)
        self._wake()

"""One connection between a test client and its application, and how a body is sent on it."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterable
from typing import TYPE_CHECKING

from ember.protocol import HTTPProtocol
from ember.testing.instrumented_app import InstrumentedApp
from ember.testing.memory_transport import MemoryTransport
from ember.testing.responses import Reader

if TYPE_CHECKING:
    from ember.testing.interfaces import TestedApp


class ClientConnection:
    """One connection to the application. `busy` while a request uses it."""

    def __init__(self, app: TestedApp, client: tuple[str, int], https: bool) -> None:
        self.app = InstrumentedApp(app)
        self.transport = MemoryTransport(client, https)
        self.https = https
        self.reader = Reader(self.transport, self.leave)
        self.busy = True
        # Real tasks: they can be awaited.
        self.transport.connect(HTTPProtocol(self.app, limits=app.limits, strict_tasks=True))

    @property
    def reusable(self) -> bool:
        return not self.busy and self.transport.idle and self.reader.empty

    async def leave(self) -> None:
        """Disconnect, and wait until the handler has ended."""
        self.transport.disconnect()
        while not self.transport.lost:
            await asyncio.sleep(0)
        await self.app.wait_idle()
        self.app.flush_log()


async def send_body(
    transport: MemoryTransport, body: bytes | AsyncIterable[bytes] | None, most: int | None
) -> None:
    """Send the body, or its first `most` bytes."""
    left = most
    if isinstance(body, bytes):
        await transport.send(body if left is None else body[:left])
    elif body is not None:
        try:
            async for chunk in body:
                if left is not None:
                    chunk, left = chunk[:left], left - len(chunk)
                if chunk:
                    await transport.send(b"%x\r\n%b\r\n" % (len(chunk), chunk))
                if left is not None and left <= 0:
                    return
            if left is None:
                await transport.send(b"0\r\n\r\n")
        except ConnectionResetError:
            return  # the response says why

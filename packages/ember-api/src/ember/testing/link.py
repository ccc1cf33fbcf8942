"""One connection between a test and its application, and how a body goes over it."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterable
from typing import TYPE_CHECKING

from ember.protocol import HTTPProtocol
from ember.testing.answers import Reader
from ember.testing.door import Door
from ember.testing.pipe import Pipe

if TYPE_CHECKING:
    from ember.testing.interfaces import TestedApp


class Link:
    """One connection to the application."""

    def __init__(self, app: TestedApp, client: tuple[str, int], https: bool) -> None:
        self.door = Door(app)
        self.pipe = Pipe(client, https)
        self.https = https
        self.reader = Reader(self.pipe, self.leave)
        self.busy = True
        # Genuine tasks: they can be waited for.
        self.pipe.connect(HTTPProtocol(self.door, limits=app.limits, strict_tasks=True))

    @property
    def reusable(self) -> bool:
        return not self.busy and self.pipe.idle and self.reader.empty

    async def leave(self) -> None:
        """Disconnect; returns when the handler has ended."""
        self.pipe.disconnect()
        while not self.pipe.lost:
            await asyncio.sleep(0)
        await self.door.settled()
        self.door.observed()


async def send_body(
    pipe: Pipe, body: bytes | AsyncIterable[bytes] | None, most: int | None
) -> None:
    """The body, or its first `most` bytes."""
    left = most
    if isinstance(body, bytes):
        await pipe.send(body if left is None else body[:left])
    elif body is not None:
        try:
            async for chunk in body:
                if left is not None:
                    chunk, left = chunk[:left], left - len(chunk)
                if chunk:
                    await pipe.send(b"%x\r\n%b\r\n" % (len(chunk), chunk))
                if left is not None and left <= 0:
                    return
            if left is None:
                await pipe.send(b"0\r\n\r\n")
        except ConnectionResetError:
            return  # the answer says why

"""Server-sent events as a browser reads them (WHATWG HTML section 9.2.6)."""

from __future__ import annotations

import codecs
import json
from collections.abc import AsyncIterator, Awaitable, Callable
from typing import Any, NamedTuple

from ember.testing.responses import TestResponse


class ReceivedEvent(NamedTuple):
    """One event: its type (`message` when the server named none), data, and the last id so far."""

    event: str
    data: str
    id: str

    def json(self) -> Any:
        """The data as JSON."""
        return json.loads(self.data)


class EventParser:
    """Bytes in, events out."""

    def __init__(self) -> None:
        self._decode = codecs.getincrementaldecoder("utf-8-sig")("replace").decode
        self._text = ""
        self._event = ""
        self._data: list[str] = []
        self.last_id = ""
        #: The reconnection time in milliseconds; None if the server has sent none.
        self.retry: int | None = None
        #: The comments; servers send them to keep a connection open.
        self.comments: list[str] = []

    def feed(self, data: bytes) -> list[ReceivedEvent]:
        """The events that `data` completes."""
        self._text += self._decode(data)
        # A CR at the end may be half of a CRLF.
        held = "\r" if self._text.endswith("\r") else ""
        text = self._text[: len(self._text) - len(held)].replace("\r\n", "\n").replace("\r", "\n")
        *lines, rest = text.split("\n")
        self._text = rest + held
        return [event for line in lines if (event := self._line(line)) is not None]

    def _line(self, line: str) -> ReceivedEvent | None:
        if not line:
            event, data = self._event or "message", self._data
            self._event, self._data = "", []
            return ReceivedEvent(event, "\n".join(data), self.last_id) if data else None
        name, _, value = line.partition(":")
        value = value.removeprefix(" ")
        if not name:
            self.comments.append(value)
        elif name == "event":
            self._event = value
        elif name == "data":
            self._data.append(value)
        elif name == "id" and "\x00" not in value:
            self.last_id = value
        elif name == "retry" and value.isascii() and value.isdigit():
            self.retry = int(value)
        return None


class EventStream:
    """`async for event in client.sse("/events")`. The stream may be endless.

    The request is sent at the first event, or at `async with`. Leaving the block, or
    `await stream.disconnect()`, closes the connection. `comments` and `retry` are what the server
    sent besides events; `response` is the response with its head.
    """

    def __init__(self, open: Callable[[], Awaitable[TestResponse]], timeout: float | None) -> None:
        self._open = open
        self._timeout = timeout
        self._parser = EventParser()
        self._ready: list[ReceivedEvent] = []
        self._chunks: AsyncIterator[bytes] | None = None
        self.response: TestResponse | None = None

    @property
    def comments(self) -> list[str]:
        """The comments so far."""
        return self._parser.comments

    @property
    def retry(self) -> int | None:
        """The reconnection time in milliseconds; None if the server has sent none."""
        return self._parser.retry

    async def __aenter__(self) -> EventStream:
        await self._start()
        return self

    async def __aexit__(self, *_: object) -> None:
        await self.disconnect()

    async def disconnect(self) -> None:
        """Close the connection, and wait for the handler's end."""
        if self.response is not None:
            await self.response.disconnect()

    def __aiter__(self) -> EventStream:
        return self

    async def __anext__(self) -> ReceivedEvent:
        """The next event. Raises TimeoutError if none comes in time."""
        import asyncio

        async with asyncio.timeout(self._timeout):
            chunks = await self._start()
            while not self._ready:
                # An event that has no empty line after it at the end of the stream is ignored.
                data = await anext(chunks, b"")
                if not data:
                    raise StopAsyncIteration
                self._ready = self._parser.feed(data)
        return self._ready.pop(0)

    async def _start(self) -> AsyncIterator[bytes]:
        if self._chunks is None:
            response = self.response = await self._open()
            kind = response.headers.get("content-type") or ""
            if response.status_code != 200 or not kind.startswith("text/event-stream"):
                body = (await response.aread())[:300].decode("utf-8", "replace")
                raise AssertionError(
                    f"GET {response.url}: expected 200 text/event-stream, got "
                    f"{response.status_code} {kind}: {body}"
                )
            self._chunks = aiter(response)
        return self._chunks

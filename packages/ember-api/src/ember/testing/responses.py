"""The responses of a test client. The bytes are read by the parser that every client uses."""

from __future__ import annotations

import json
from collections import deque
from collections.abc import AsyncIterator, Awaitable, Callable
from email.message import Message
from typing import Any

from ember.exceptions import IncompleteResponse as IncompleteResponse
from ember.headers import MutableHeaders
from ember.protocol.http1.responses import END, Event, ResponseHead, ResponseParser
from ember.testing.memory_transport import MemoryTransport


class TestResponse:
    """One response.

    - `status_code`, `reason`, `headers`, `url`, `method`
    - `content` (bytes), `text`, `json()`: the body, after it was read
    - `cookies`: the cookies that this response sets, by name
    - `history`: the redirects before this response, the oldest first

    For a stream: `async for chunk in response`, `await response.read(100)`, `disconnect()`.
    """

    __test__ = False

    def __init__(
        self, method: str, url: str, status: int, reason: str, headers: MutableHeaders, body: Body
    ) -> None:
        self.method = method
        self.url = url
        self.status_code = status
        self.reason = reason
        self.headers = headers
        self.cookies: dict[str, str] = {}
        self.history: list[TestResponse] = []
        self._body = body
        self._content: bytes | None = None

    @property
    def content(self) -> bytes:
        """The whole body. Raises RuntimeError if a stream was not read to its end."""
        if self._content is None:
            raise RuntimeError("the body was not read: await response.aread() first")
        return self._content

    @property
    def text(self) -> str:
        """The body as text, in the charset of its Content-Type (default UTF-8)."""
        field = Message()
        field["Content-Type"] = self.headers.get("content-type") or "text/plain"
        return self.content.decode(str(field.get_param("charset") or "utf-8"), "replace")

    def json(self) -> Any:
        """The body as JSON."""
        return json.loads(self.content)

    @property
    def is_success(self) -> bool:
        """Whether the status is 2xx."""
        return 200 <= self.status_code < 300

    @property
    def is_redirect(self) -> bool:
        """Whether it is a redirect: 301, 302, 303, 307 or 308 with Location."""
        return self.status_code in (301, 302, 303, 307, 308) and "location" in self.headers

    def raise_for_status(self) -> TestResponse:
        """Return the response; raise AssertionError, with the body, for 4xx and 5xx."""
        if self.status_code >= 400:
            body = self.text if self._content is not None else ""
            raise AssertionError(
                f"{self.method} {self.url}: {self.status_code} {self.reason} {body}".rstrip()
            )
        return self

    async def aread(self) -> bytes:
        """Read the rest of the body and return the whole; `content` has it from then on."""
        if self._content is None:
            self._content = b"".join([chunk async for chunk in self])
        return self._content

    async def read(self, size: int) -> bytes:
        """Read the next `size` bytes of the body; fewer only at its end."""
        return await self._body.read(size)

    def __aiter__(self) -> AsyncIterator[bytes]:
        """The chunks of the body as they arrive."""
        return self._body.chunks()

    async def disconnect(self) -> None:
        """Close the connection before the end of the response, and wait for the handler's end."""
        await self._body.disconnect()

    def __repr__(self) -> str:
        return f"<TestResponse {self.status_code} {self.method} {self.url}>"


class Body:
    """The body of a response. It is read from the connection when it is asked for."""

    def __init__(self, reader: Reader) -> None:
        self._reader = reader
        self._ready = bytearray()
        #: The whole body was read from the connection.
        self.complete = reader.at_end

    async def chunks(self) -> AsyncIterator[bytes]:
        if self._ready:
            yield await self.read(len(self._ready))
        while chunk := await self._next():
            yield chunk

    async def read(self, size: int) -> bytes:
        while len(self._ready) < size and (more := await self._next()):
            self._ready += more
        data = bytes(self._ready[:size])
        del self._ready[:size]
        return data

    async def disconnect(self) -> None:
        await self._reader.leave()

    async def _next(self) -> bytes:
        if self.complete:
            return b""
        event = await self._reader.event()
        # The end often arrives together with the last piece.
        self.complete = event is END or self._reader.at_end
        return event if isinstance(event, bytes) else b""


class Reader:
    """Reads responses from a transport. `leave` disconnects and waits for the handler's end."""

    def __init__(self, transport: MemoryTransport, leave: Callable[[], Awaitable[None]]) -> None:
        self._transport = transport
        self._parser = ResponseParser()
        self._events: deque[Event] = deque()
        self.leave = leave

    @property
    def empty(self) -> bool:
        """Whether no unread bytes are left."""
        return not self._events and not self._parser.waiting

    @property
    def at_end(self) -> bool:
        """Whether the current response has ended. Consumes its end."""
        if self._events and self._events[0] is END:
            self._events.popleft()
            return True
        return False

    async def event(self) -> Event:
        """The next event: a head, a piece of a body, or the end of a response."""
        while not self._events:
            data = await self._transport.receive()
            if data:
                self._events += self._parser.feed(data)
            elif self._transport.aborted:
                raise IncompleteResponse("the server aborted the connection")
            else:
                self._events += self._parser.eof()
        return self._events.popleft()

    async def read_response(self, method: str, url: str) -> TestResponse:
        """Read the head of the next response to `method`, without interim responses (RFC 9110
        section 15.2)."""
        self._parser.request_sent(method)
        while True:
            head = await self.event()
            if isinstance(head, ResponseHead) and not head.interim:
                break
        fields = [(name.decode("latin-1"), value.decode("latin-1")) for name, value in head.fields]
        headers = MutableHeaders(fields)
        return TestResponse(method, url, head.status, head.reason, headers, Body(self))

"""Answers as the test sees them, read from the wire (RFC 9112 sections 4, 6 and 7.1)."""

from __future__ import annotations

import json
from collections.abc import AsyncIterator, Awaitable, Callable
from email.message import Message
from typing import Any

from ember.headers import MutableHeaders
from ember.testing.pipe import Pipe


class IncompleteResponse(ConnectionError):
    """The server ended the connection in the middle of its answer."""


class TestResponse:
    """One answer.

    - `status_code`, `reason`, `headers`, `url`, `method`
    - `content` (bytes), `text`, `json()`: the body, once it was read
    - `cookies`: what this answer set, name to value
    - `history`: the redirects that led here, oldest first

    Of a stream: `async for chunk in response`, `await response.read(100)`, `disconnect()`.
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
        """The whole body. Raises RuntimeError for a stream that was not read to its end."""
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
        """Whether it sends the client elsewhere."""
        return self.status_code in (301, 302, 303, 307, 308) and "location" in self.headers

    def raise_for_status(self) -> TestResponse:
        """Itself; raises AssertionError, with the body in it, for 4xx and 5xx."""
        if self.status_code >= 400:
            body = self.text if self._content is not None else ""
            raise AssertionError(
                f"{self.method} {self.url}: {self.status_code} {self.reason} {body}".rstrip()
            )
        return self

    async def aread(self) -> bytes:
        """Read the rest of the body, which is `content` from then on."""
        if self._content is None:
            self._content = b"".join([chunk async for chunk in self])
        return self._content

    async def read(self, size: int) -> bytes:
        """The next `size` bytes of the body; fewer only at its end."""
        return await self._body.read(size)

    def __aiter__(self) -> AsyncIterator[bytes]:
        """The body as it comes."""
        return self._body.chunks()

    async def disconnect(self) -> None:
        """Leave, as a client does whose user closes the window; the handler has ended then."""
        await self._body.disconnect()

    def __repr__(self) -> str:
        return f"<TestResponse {self.status_code} {self.method} {self.url}>"


class Body:
    """The body of an answer, taken from the wire when it is asked for."""

    def __init__(self, reader: Reader, framing: str, length: int) -> None:
        self._reader = reader
        self._framing = framing
        self._left = length
        self._ready = bytearray()
        #: everything was taken from the wire
        self.complete = framing == "none"

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
        if self._framing == "chunked":
            data = await self._chunk()
        elif self._framing == "length":
            data = await self._reader.some(self._left) if self._left else b""
            self._left -= len(data)
            self.complete = self._left == 0
        else:
            data = await self._reader.some(None)
            self.complete = not data
        return data

    async def _chunk(self) -> bytes:
        reader = self._reader
        if not self._left:
            line = await reader.until(b"\r\n")
            self._left = int(line.split(b";")[0], 16)
            if not self._left:
                while await reader.until(b"\r\n") != b"\r\n":
                    pass  # trailer fields
                self.complete = True
                return b""
        data = await reader.some(self._left)
        self._left -= len(data)
        if not self._left:
            await reader.until(b"\r\n")
        return data


class Reader:
    """Takes answers from a pipe. `leave` disconnects and waits for the handler's end."""

    def __init__(self, pipe: Pipe, leave: Callable[[], Awaitable[None]]) -> None:
        self._pipe = pipe
        self._buffer = bytearray()
        self.leave = leave

    @property
    def empty(self) -> bool:
        """Whether nothing is left over."""
        return not self._buffer

    async def _fill(self) -> bool:
        data = await self._pipe.receive()
        self._buffer += data
        return bool(data)

    async def until(self, mark: bytes) -> bytes:
        """Everything up to and with `mark`."""
        while (at := self._buffer.find(mark)) < 0:
            if not await self._fill():
                raise IncompleteResponse(
                    "the server closed the connection in the middle of its answer"
                    if self._buffer
                    else "the server closed the connection without an answer"
                )
        at += len(mark)
        data = bytes(self._buffer[:at])
        del self._buffer[:at]
        return data

    async def some(self, most: int | None) -> bytes:
        """What is there, at most `most` bytes; without `most`, empty at the end."""
        if not self._buffer and not await self._fill():
            if most is None and not self._pipe.aborted:
                return b""
            raise IncompleteResponse("the server closed the connection in the middle of its answer")
        data = bytes(self._buffer[:most])
        del self._buffer[:most]
        return data

    async def answer(self, method: str, url: str) -> TestResponse:
        """The head of the next answer to `method`; interim ones (RFC 9110 15.2) are passed over."""
        while True:
            head = (await self.until(b"\r\n\r\n")).decode("latin-1")
            status_line, *lines = head[:-4].split("\r\n")
            _, code, *reason = status_line.split(" ", 2)
            status = int(code)
            if status >= 200 or status == 101:
                break
        fields = []
        for line in lines:
            name, _, value = line.partition(":")
            fields.append((name, value.strip(" \t")))
        headers = MutableHeaders(fields)
        return TestResponse(
            method,
            url,
            status,
            reason[0] if reason else "",
            headers,
            Body(self, *_framing(method, status, headers)),
        )


def _framing(method: str, status: int, headers: MutableHeaders) -> tuple[str, int]:
    """How long the body is (RFC 9112 section 6.3)."""
    if method == "HEAD" or status in (204, 304) or status < 200:
        return "none", 0
    if (headers.get("transfer-encoding") or "").lower() == "chunked":
        return "chunked", 0
    length = headers.get("content-length")
    if length is not None:
        return ("length", int(length)) if int(length) else ("none", 0)
    return "close", 0

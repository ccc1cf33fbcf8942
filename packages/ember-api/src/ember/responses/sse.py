"""Server-sent events (WHATWG HTML section 9.2): `SSEResponse` and `ServerSentEvent`."""

from __future__ import annotations

import asyncio
import re
from collections.abc import AsyncIterable, AsyncIterator, Mapping
from typing import Any
from weakref import WeakSet

from ember.concurrency.interruptible import INTERRUPTED, Interruptible
from ember.protocol.message.text import utf8
from ember.response import StreamingResponse
from ember.responses.conversion import encode_json

_PING = b": ping\n\n"
#: The line ends of an event stream; data is split there.
_LINE_ENDS = re.compile(r"\r\n|\r|\n")


class ServerSentEvent:
    """One event.

    - `data`: a str, None for no data, or any other value as JSON. Each line is a `data:` field.
    - `event`: the event type in the browser; default: `message`.
    - `id`: the browser sends it as `Last-Event-ID` when it reconnects.
    - `retry`: milliseconds that the browser waits before it reconnects.

    Raises ValueError for a line break in `event` or `id`, a NUL in `id`, or a negative `retry`.
    """

    __slots__ = ("data", "event", "id", "retry")

    def __init__(
        self,
        data: object = None,
        event: str | None = None,
        id: str | int | None = None,
        retry: int | None = None,
    ) -> None:
        self.data = data
        self.event = _single_line("event", event)
        self.id = _single_line("id", None if id is None else str(id))
        # The standard ignores an id with NUL: an error is better.
        if self.id is not None and "\x00" in self.id:
            raise ValueError(f"ServerSentEvent(id={id!r}): an id may not contain NUL")
        self.retry = _milliseconds("ServerSentEvent", retry)

    def encode(self) -> bytes:
        """The bytes of the event, with its empty line."""
        text = ""
        if self.event is not None:
            text = f"event: {self.event}\n"
        if self.id is not None:
            text += f"id: {self.id}\n"
        if self.retry is not None:
            text += f"retry: {self.retry}\n"
        data = self.data
        if data is not None:
            if not isinstance(data, str):
                data = encode_json(data).decode()
            if "\n" in data or "\r" in data:
                data = "\ndata: ".join(_LINE_ENDS.split(data))
            text += f"data: {data}\n"
        if not text:
            return b""
        try:
            return (text + "\n").encode()  # like utf8(), but saves a call
        except UnicodeEncodeError:
            return utf8(text + "\n")

    def __repr__(self) -> str:
        fields = ", ".join(
            f"{name}={getattr(self, name)!r}"
            for name in self.__slots__
            if getattr(self, name) is not None
        )
        return f"ServerSentEvent({fields})"


def _single_line(name: str, value: str | None) -> str | None:
    if value is not None and ("\n" in value or "\r" in value):
        raise ValueError(f"ServerSentEvent({name}={value!r}): only data may have line breaks")
    return value


def _milliseconds(owner: str, value: int | None) -> int | None:
    if value is not None and (isinstance(value, bool) or not isinstance(value, int) or value < 0):
        raise ValueError(f"{owner}(retry={value!r}): expected milliseconds, 0 or more")
    return value


def encode_item(item: object) -> bytes:
    """Encode an item: a ServerSentEvent, a str as data, any other value as JSON data."""
    if isinstance(item, ServerSentEvent):
        return item.encode()
    # Most items are one line of text: no event object is needed.
    if isinstance(item, str) and "\n" not in item and "\r" not in item:
        return utf8(f"data: {item}\n\n")
    return ServerSentEvent(item).encode()


class SSEResponse(StreamingResponse):
    """Streams the items of an async iterable as server-sent events.

    - items: `str`, `ServerSentEvent`, or any value that has a JSON form.
    - `ping_interval`: seconds without an event after which a comment is sent, so that proxies keep
      the connection open; None: never.
    - `retry`: milliseconds that the browser waits before it reconnects. It is sent first.
    - `last_event`: is sent before the stream ends, when the server stops.

    The iterable runs in the task of the handler: so a timeout, a task group or a context variable
    may stay open between items. It is closed when the client leaves and when the server stops.
    """

    def __init__(
        self,
        iterable: AsyncIterable[Any],
        status_code: int = 200,
        headers: Mapping[str, str] | None = None,
        *,
        ping_interval: float | None = 15.0,
        retry: int | None = None,
        last_event: ServerSentEvent | None = None,
    ) -> None:
        if not hasattr(iterable, "__aiter__"):
            raise TypeError(
                f"SSEResponse: expected an async iterable, got {type(iterable).__name__}; "
                f"call the async generator function and give its result"
            )
        if ping_interval is not None and not ping_interval > 0:
            raise ValueError(
                f"SSEResponse(ping_interval={ping_interval!r}): expected seconds above 0, or None"
            )
        self._source = iterable
        self._ping_interval = ping_interval
        self._retry = _milliseconds("SSEResponse", retry)
        self._last_event = last_event or ServerSentEvent(event="close", data="")
        self._waiting: Interruptible | None = None
        super().__init__(self._frames(), status_code, headers, "text/event-stream")
        if "cache-control" not in self.headers:
            self.headers.add("Cache-Control", "no-store")
        # Without this, nginx would buffer events.
        if "x-accel-buffering" not in self.headers:
            self.headers.add("X-Accel-Buffering", "no")

    def stop(self) -> None:
        """End the stream with its last event. Called when the server stops."""
        if self._waiting is not None:
            self._waiting.stop()

    def _encode(self, item: Any) -> bytes:
        return encode_item(item)

    def _end(self) -> bytes:
        """The bytes after the last item, at the normal end of the iterable."""
        return b""

    async def _frames(self) -> AsyncIterator[bytes]:
        waiting = self._waiting = Interruptible(asyncio.get_running_loop(), self._ping_interval)
        _open.add(self)
        if waiting.loop in _stopping:
            self.stop()
        source = self._source.__aiter__()
        try:
            # Bytes at once: the `open` event of the browser should not wait for the first item.
            yield b": open\n\n" if self._retry is None else f"retry: {self._retry}\n\n".encode()
            while not waiting.stopped:
                try:
                    item = await waiting.resume(source)
                except StopAsyncIteration:
                    if end := self._end():
                        yield end
                    return
                if item is not INTERRUPTED:
                    yield self._encode(item)
                elif not waiting.stopped:
                    yield _PING
            yield self._last_event.encode()
        finally:
            _open.discard(self)
            await waiting.close(source)


_open: WeakSet[SSEResponse] = WeakSet()
#: The loops whose server is stopping: a stream that starts there now ends at once.
_stopping: WeakSet[asyncio.AbstractEventLoop] = WeakSet()


def stop_streams() -> None:
    """End the open streams of the running loop, and those that start later: the server stops."""
    loop = asyncio.get_running_loop()
    _stopping.add(loop)
    for response in tuple(_open):
        waiting = response._waiting
        if waiting is not None and waiting.loop is loop:
            response.stop()

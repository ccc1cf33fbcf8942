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
#: What ends a line in an event stream; a value that holds one is split there.
_LINE_ENDS = re.compile(r"\r\n|\r|\n")


class ServerSentEvent:
    """One event.

    - `data`: str as it is, None for none, anything else as JSON; each line is a `data:` field.
    - `event`: the type that the browser dispatches; `message` when not given.
    - `id`: comes back as `Last-Event-ID` when the browser reconnects.
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
        # The standard drops an id with a NUL; better to hear of it here.
        if self.id is not None and "\x00" in self.id:
            raise ValueError(f"ServerSentEvent(id={id!r}): an id holds no NUL")
        self.retry = _milliseconds("ServerSentEvent", retry)

    def encode(self) -> bytes:
        """The event as it goes over the wire, its empty line included."""
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
            return (text + "\n").encode()  # as utf8(), without a call more for each event
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
    """An item of the iterable: ServerSentEvent as such, str as data, anything else as JSON data."""
    if isinstance(item, ServerSentEvent):
        return item.encode()
    # Most items are one line of text: no event has to be made to encode it.
    if isinstance(item, str) and "\n" not in item and "\r" not in item:
        return utf8(f"data: {item}\n\n")
    return ServerSentEvent(item).encode()


class SSEResponse(StreamingResponse):
    """Streams the items of an async iterable as server-sent events.

    - items: `str`, `ServerSentEvent`, or any value that has a JSON form.
    - `ping_interval`: seconds of silence after which a comment keeps proxies from closing; None:
      never.
    - `retry`: milliseconds, sent first: how long the browser waits before it reconnects.
    - `last_event`: what is sent when the server stops, before the stream ends.

    The iterable runs in the handler's task, so that a timeout, a task group or a context variable
    entered in it may be held from item to item. It is closed when the client leaves and when the
    server stops.
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
        # nginx would otherwise collect events until its buffer is full.
        if "x-accel-buffering" not in self.headers:
            self.headers.add("X-Accel-Buffering", "no")

    def stop(self) -> None:
        """End the stream with its last event; called when the server stops."""
        if self._waiting is not None:
            self._waiting.stop()

    def _encode(self, item: Any) -> bytes:
        return encode_item(item)

    def _end(self) -> bytes:
        """What follows the last item, when there is nothing more to come."""
        return b""

    async def _frames(self) -> AsyncIterator[bytes]:
        waiting = self._waiting = Interruptible(asyncio.get_running_loop(), self._ping_interval)
        _open.add(self)
        if waiting.loop in _stopping:
            self.stop()
        source = self._source.__aiter__()
        try:
            # A first byte at once: the browser's `open` event should not wait for the first item.
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
#: Loops whose server stops: a stream that begins there now ends at once.
_stopping: WeakSet[asyncio.AbstractEventLoop] = WeakSet()


def stop_streams() -> None:
    """Tell the open streams of the running loop that the server stops, and those that begin."""
    loop = asyncio.get_running_loop()
    _stopping.add(loop)
    for response in tuple(_open):
        waiting = response._waiting
        if waiting is not None and waiting.loop is loop:
            response.stop()

"""Compressed responses: zstd, br and gzip, for whole bodies and for streams.

A compressed page should not contain both a secret and text that an attacker can choose (BREACH).
Turn compression off for such routes, with `Cache-Control: no-transform`.
"""

from __future__ import annotations

import re
from collections.abc import (
    AsyncIterator,
    Awaitable,
    Callable,
    Coroutine,
    Generator,
    Iterable,
    Sequence,
)
from typing import TYPE_CHECKING, Any

from ember.protocol.message.codings import CODINGS, find
from ember.protocol.message.text import utf8
from ember.protocol.server.threadpool import run_short, run_whole
from ember.request import Request
from ember.response import Response
from ember.responses.negotiation import add_vary, negotiate

if TYPE_CHECKING:
    from ember.protocol.message.encoders import Encoder

#: The codings of responses by name, the best first.
ENCODINGS = tuple(coding.name for coding in CODINGS if coding.encodes)

#: Bytes below which a body is not compressed: it fits into one packet anyway.
MINIMUM_SIZE = 500

#: Bytes from which a whole body is compressed in a thread: it takes some milliseconds.
_LARGE = 131072

_MAY_SHRINK = re.compile(
    r"\s*+(text/|[^/;]+/[^;]+\+(json|xml|yaml|text)\s*(;|$)|"
    r"application/(json|javascript|x-javascript|xml|x-ndjson|ndjson|jsonl|yaml|toml|graphql|wasm|"
    r"sql|msgpack|x-msgpack|x-www-form-urlencoded|postscript|x-tar)\s*(;|$)|"
    r"image/(bmp|x-icon|vnd\.microsoft\.icon)\s*(;|$)|font/(ttf|otf|collection)\s*(;|$))",
    re.IGNORECASE,
).match


def encoder(coding: str, events: bool = False) -> Encoder:
    """A new compressor. `events`: for an event stream, with a small window.

    Raises LookupError if the library is not installed; see `available`."""
    found = find(coding)
    if found is None:
        raise LookupError(f"{coding!r} is unknown; known: {', '.join(ENCODINGS)}")
    return found.encoder(events)


def available(encodings: Iterable[str] = ENCODINGS) -> list[str]:
    """The `encodings` whose library is installed; gzip always is.

    Raises ValueError for a name other than "zstd", "br", "gzip".
    """
    return [name for name in encodings if _can_encode(name)]


def _can_encode(name: str) -> bool:
    coding = find(name)
    if coding is None or name not in ENCODINGS:
        raise ValueError(f"encodings: {name!r} is unknown; known: {', '.join(ENCODINGS)}")
    return coding.can_encode()


async def compress_response(
    request: Request,
    response: Response,
    minimum_size: int = MINIMUM_SIZE,
    encodings: Sequence[str] = ENCODINGS,
) -> Response:
    """A copy of `response` with a compressed body, in the encoding that `request` prefers.

    `response` itself does not change: the application may return it again.

    - `minimum_size`: a whole body with fewer bytes is not compressed. Streams always are.
    - `encodings`: the offered encodings, the best first; without those that are not installed.

    It does not compress: types that are already compressed, responses with Content-Encoding or
    `no-transform`, parts of a file (206), and responses without content. A stream is flushed after
    each piece, so that an event arrives at once.
    """
    for_request = getattr(response, "for_request", None)
    if for_request is not None:  # a file: ranges and conditions come first
        response = for_request(request)
    if not _may_compress(response, minimum_size):
        return response
    original, response = response, response.copy()
    add_vary(response)
    accept = ", ".join(request.headers.get_all("accept-encoding"))
    coding = negotiate(accept, filter(_can_encode, encodings))
    if coding is None:
        return response
    headers = response.headers
    if response.stream is not None:
        events = (response.content_type or "").startswith("text/event-stream")
        response.stream = CompressedStream(response.stream, encoder(coding, events))
    else:
        response.body = await _compressed(coding, original)
    headers["Content-Encoding"] = coding
    headers.pop("Content-Length")
    headers.pop("Accept-Ranges")
    etag = headers.get("etag")
    if etag is not None and not etag.startswith("W/"):
        # A strong tag would mean the same bytes (RFC 9110 section 8.8.3.3).
        headers["ETag"] = f"W/{etag}"
    return response


def _may_compress(response: Response, minimum_size: int) -> bool:
    if response.status_code in (204, 205, 206, 304):
        return False
    if response.stream is None and len(response.body) < max(minimum_size, 1):
        return False
    kind = response.content_type
    if kind is None or _MAY_SHRINK(kind) is None:
        return False
    headers = response.headers
    if "content-encoding" in headers or "content-range" in headers:
        return False
    # RFC 9111 section 5.2.2.6
    return "no-transform" not in ", ".join(headers.get_all("cache-control")).lower()


async def _compressed(coding: str, response: Response) -> bytes:
    """The body in `coding`. For a stored response (`ember.route_cache`) it is compressed once."""
    stored = getattr(response, "stored", None)
    if stored is not None and stored.body is response.body and coding in stored.encoded:
        done: bytes = stored.encoded[coding]
        return done
    body = response.body
    if len(body) < _LARGE:
        result = _whole(coding, body)
    else:
        result = await run_short(_whole, coding, body)
    if stored is not None and stored.body is body:
        stored.encoded[coding] = result
    return result


def _whole(coding: str, body: bytes) -> bytes:
    compressor = encoder(coding)
    return compressor.compress(body) + compressor.finish()


class CompressedStream:
    """The pieces of `stream`, each compressed and flushed. Closing this closes `stream`."""

    def __init__(self, stream: Any, compressor: Encoder) -> None:
        self._stream = stream
        self._compressor = compressor
        self._pieces: AsyncIterator[bytes | str] | None = None
        self._ended = False

    def __aiter__(self) -> CompressedStream:
        return self

    async def __anext__(self) -> bytes:
        if self._pieces is None:
            stream = self._stream
            self._pieces = stream.__aiter__() if hasattr(stream, "__aiter__") else _pull(stream)
        while not self._ended:
            try:
                piece = await self._pieces.__anext__()
            except StopAsyncIteration:
                self._ended = True
                return self._compressor.finish()
            data = utf8(piece) if isinstance(piece, str) else bytes(piece)
            if data:
                return self._compressor.compress(data) + self._compressor.flush()
        raise StopAsyncIteration

    async def aclose(self) -> None:
        """Close the stream, also if it was not started."""
        for source in (self._pieces, self._stream):
            close = getattr(source, "aclose", None)
            if close is not None:
                await close()
        close = getattr(self._stream, "close", None)
        if close is not None:
            close()


_END: Any = object()


async def _pull(stream: Iterable[bytes | str]) -> AsyncIterator[bytes | str]:
    """Iterate a sync iterable in a thread, because it may block; a list or tuple without one."""
    iterator = iter(stream)
    threaded = not isinstance(stream, (list, tuple))
    while True:
        piece = await run_whole(next, iterator, _END) if threaded else next(iterator, _END)
        if piece is _END:
            return
        yield piece


class CompressionMiddleware:
    """Compresses the responses of its routes; see `compress_response`.

    Raises ValueError for an unknown encoding or a negative size.
    """

    def __init__(
        self, minimum_size: int = MINIMUM_SIZE, encodings: Sequence[str] = ENCODINGS
    ) -> None:
        if isinstance(minimum_size, bool) or not isinstance(minimum_size, int) or minimum_size < 0:
            raise ValueError(
                f"CompressionMiddleware(minimum_size={minimum_size!r}): expected bytes, 0 or more"
            )
        self.minimum_size = minimum_size
        self.encodings = tuple(available(encodings))

    async def __call__(
        self, request: Request, call_next: Callable[[Request], Awaitable[Response]]
    ) -> Response:
        """The compressed response of the next middleware or of the handler."""
        return await self.compress(request, await call_next(request))

    async def compress(self, request: Request, response: Response) -> Response:
        """`compress_response` with these options."""
        return await compress_response(request, response, self.minimum_size, self.encodings)


class _Compressing(Coroutine[Any, Any, Response]):
    """A coroutine that compresses the result of a dispatch.

    Unlike an `async def`, it closes the coroutine of the handler if it is closed before it has
    started.
    """

    __slots__ = ("_convert", "_middleware", "_request", "_running", "_value")

    def __init__(
        self,
        middleware: CompressionMiddleware,
        convert: Callable[[Request, object], Response],
        request: Request,
        value: Any,
    ) -> None:
        self._middleware = middleware
        self._convert = convert
        self._request = request
        self._running: Coroutine[Any, Any, Response] | None = None
        self._value = value

    def __await__(self) -> Generator[Any, Any, Response]:
        self._running = self._run()
        return self._running.__await__()

    def send(self, value: Any) -> Any:
        if self._running is None:
            self._running = self._run()
        return self._running.send(value)

    def throw(self, *error: Any) -> Any:
        if self._running is None:
            # Like a coroutine that has not started: it raises the error, and the handler never
            # runs.
            self.close()
            self._running = self._run()
        return self._running.throw(*error)

    def close(self) -> None:
        """Close the coroutine of the handler."""
        close = getattr(self._value if self._running is None else self._running, "close", None)
        if close is not None:
            close()

    async def _run(self) -> Response:
        value = self._value
        if hasattr(value, "__await__"):
            value = await value
        response = value if isinstance(value, Response) else self._convert(self._request, value)
        return await self._middleware.compress(self._request, response)


def compressing(
    convert: Callable[[Request, object], Response], middleware: CompressionMiddleware | bool
) -> Callable[[Request, object], Awaitable[Response]]:
    """A function that compresses all responses of an application, also those of errors."""
    if not isinstance(middleware, CompressionMiddleware):
        middleware = CompressionMiddleware()
    options = middleware
    return lambda request, value: _Compressing(options, convert, request, value)

"""Request bodies that come compressed (RFC 9110 section 8.4), decoded piece by piece: a bomb is
stopped at the limit of the body, before it is in memory."""

from __future__ import annotations

import zlib

from ember.exceptions import BadRequest, PayloadTooLarge, UnsupportedMediaType
from ember.limits import MAX_FRAMES

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Callable
    from typing import Any

    from ember.protocol.message.interfaces import Source

#: Bytes that come out at once.
PIECE = 65536

#: What a zstd frame may ask for as memory, as a power of two: 8 MiB (RFC 9659 section 3).
_ZSTD_WINDOW = 23


class _Framed:
    """What decodes messages that follow each other: gzip members, zstd frames.

    One that holds nothing costs a few bytes to send and a new decoder here, so their number has a
    limit of its own (`RouteLimits.max_frames`).
    """

    def __init__(self, max_frames: int) -> None:
        self._input = b""
        self._at = 0
        self._frames = 0
        self._max_frames = max_frames
        self._object = self._next()

    def _make(self) -> Any:
        raise NotImplementedError

    def _next(self) -> Any:
        self._frames += 1
        if self._frames > self._max_frames:
            raise PayloadTooLarge(
                f"the request body has more than {self._max_frames} gzip members or zstd frames"
            )
        return self._make()

    def put(self, data: bytes) -> None:
        self._input = self._input[self._at :] + data if self._at < len(self._input) else data
        self._at = 0

    def _piece(self) -> memoryview:
        """The next bytes to feed: few, because what is behind a frame is handed back as a copy."""
        piece = memoryview(self._input)[self._at : self._at + PIECE]
        self._at += len(piece)
        return piece

    @property
    def ended(self) -> bool:
        return bool(self._object.eof)


class _Zlib(_Framed):
    """gzip and deflate."""

    def __init__(self, bits: int, max_frames: int) -> None:
        self._bits = bits
        super().__init__(max_frames)

    def _make(self) -> Any:
        return zlib.decompressobj(self._bits)

    def take(self, most: int) -> bytes:
        while self._at < len(self._input):
            if self._object.eof:
                # Another member: a gzip file may be several, one after the other (RFC 1952 2.2).
                self._object = self._next()
            data: bytes = self._object.decompress(self._piece(), most)
            ended = self._object.eof
            rest = self._object.unused_data if ended else self._object.unconsumed_tail
            self._at -= len(rest)
            if data:
                return data
        # What did not fit the last time may still be inside.
        return b"" if self._object.eof else self._object.decompress(b"", most)


class _Zstd(_Framed):
    def __init__(self, module: Any, max_frames: int) -> None:
        self._module = module
        super().__init__(max_frames)

    def _make(self) -> Any:
        window = self._module.DecompressionParameter.window_log_max
        return self._module.ZstdDecompressor(options={window: _ZSTD_WINDOW})

    def take(self, most: int) -> bytes:
        while self._at < len(self._input) or not (self._object.needs_input or self._object.eof):
            if self._object.eof:  # frames may follow each other (RFC 8878 section 3.1)
                self._object = self._next()
            given = self._piece() if self._object.needs_input else b""
            data: bytes = self._object.decompress(given, most)
            if self._object.eof:
                self._at -= len(self._object.unused_data)
            if data:
                return data
        return b""


class _Brotli:
    def __init__(self, module: Any) -> None:
        self._object = module.Decompressor()
        self._input = b""

    def put(self, data: bytes) -> None:
        self._input += data

    def take(self, most: int) -> bytes:
        given = b""
        if self._object.can_accept_more_data():
            given, self._input = self._input, b""
        data: bytes = self._object.process(given, output_buffer_limit=most)
        return data

    @property
    def ended(self) -> bool:
        return bool(self._object.is_finished())


def _zstd(max_frames: int) -> _Zstd:
    try:
        from compression import zstd  # type: ignore[import-not-found, unused-ignore]
    except ImportError:
        from backports import zstd
    return _Zstd(zstd, max_frames)


def _brotli(_: int) -> _Brotli:
    import brotli

    return _Brotli(brotli)


_DECODERS: dict[str, Callable[[int], _Zlib | _Zstd | _Brotli]] = {
    "gzip": lambda frames: _Zlib(31, frames),
    "x-gzip": lambda frames: _Zlib(31, frames),
    "deflate": lambda frames: _Zlib(15, frames),
    "br": _brotli,
    "zstd": _zstd,
}


def decoder(content_encoding: str, max_frames: int) -> _Zlib | _Zstd | _Brotli | None:
    """What decodes a body with that Content-Encoding, of at most `max_frames` gzip members or zstd
    frames; None where nothing has to be done.

    Raises `UnsupportedMediaType`, with the codings that are known in its `Accept-Encoding` (RFC
    9110 section 15.5.16), for any other, for one whose library is not installed, and for several.
    """
    codings = [coding.strip(" \t").lower() for coding in content_encoding.split(",")]
    codings = [coding for coding in codings if coding not in ("", "identity")]
    if not codings:
        return None
    make = _DECODERS.get(codings[0]) if len(codings) == 1 else None
    try:
        if make is not None:
            return make(max_frames)
    except ImportError:
        pass
    known = ", ".join(_installed())
    raise UnsupportedMediaType(
        f'a body with "Content-Encoding: {", ".join(codings)}" is not taken; known: {known}',
        {"Accept-Encoding": known},
    )


def _installed() -> list[str]:
    found = []
    for coding in ("zstd", "br", "gzip", "deflate"):
        try:
            _DECODERS[coding](1)
        except ImportError:
            continue
        found.append(coding)
    return found


class _Whole:
    """A body that has arrived already, read like one that arrives."""

    __slots__ = ("_data",)

    def __init__(self, data: bytes) -> None:
        self._data = data

    async def read(self) -> bytes:
        data, self._data = self._data, b""
        return data


class DecodedBody:
    """Reads like the body that it decodes, which may be whole already (bytes). `most`: bytes that
    may come out; `max_frames`: gzip members or zstd frames that may be in it."""

    __slots__ = ("_coding", "_decoder", "_empty", "_left", "_most", "_source")

    def __init__(
        self, source: Source | bytes, content_encoding: str, most: int, max_frames: int = MAX_FRAMES
    ) -> None:
        self._source: Source = _Whole(source) if isinstance(source, bytes) else source
        self._coding = content_encoding
        self._decoder = decoder(content_encoding, max_frames)
        self._most = self._left = most
        self._empty = True

    async def read(self) -> bytes:
        """The next bytes, at least one; empty at the end. Raises `PayloadTooLarge`, and
        `BadRequest` for what is broken or ends too early."""
        decoder = self._decoder
        if decoder is None:
            return await self._source.read()
        try:
            while True:
                # One more than is allowed tells that there is more.
                data = decoder.take(min(PIECE, self._left + 1))
                if data:
                    self._left -= len(data)
                    if self._left < 0:
                        raise PayloadTooLarge(
                            f"the request body is larger than {self._most} bytes, decoded"
                        )
                    return data
                more = await self._source.read()
                if not more:
                    break
                self._empty = False
                decoder.put(more)
        except (PayloadTooLarge, BadRequest, OSError):
            raise
        except Exception as error:
            if not _is_codec_error(error):
                raise
            raise BadRequest(f'the body is not "{self._coding}": {error}') from None
        if not self._empty and not decoder.ended:
            raise BadRequest(f'the body with "Content-Encoding: {self._coding}" ends too early')
        return b""


def _is_codec_error(error: Exception) -> bool:
    """zlib.error, brotli.error, ZstdError: three libraries, of which one is always there."""
    return type(error).__module__.partition(".")[0] in (
        "zlib", "brotli", "_brotli", "backports", "compression", "_zstd",
    )  # fmt: skip

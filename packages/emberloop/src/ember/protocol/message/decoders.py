"""The decoders of content codings. Each is given its library; `codings.py` says which codings exist
and loads the libraries."""

from __future__ import annotations

from ember.exceptions import PayloadTooLarge

TYPE_CHECKING = False
if TYPE_CHECKING:
    from typing import Any, Protocol

    class Decoder(Protocol):
        """A decoder of one message, piece by piece."""

        #: What the library raises for bytes that are not in the coding.
        error: type[Exception]

        def put(self, data: bytes) -> None:
            """Add encoded bytes. Call `take` until it returns nothing before the next ones."""

        def take(self, most: int) -> bytes:
            """The next decoded bytes, at most `most`; empty if there are none until more is put."""

        @property
        def ended(self) -> bool:
            """Whether the message is complete."""


#: The most bytes that are fed to a library at once.
PIECE = 65536

#: What a zstd frame may ask for as memory, as a power of two: 8 MiB (RFC 9659 section 3).
_ZSTD_WINDOW = 23


class Framed:
    """What decodes messages that follow each other: gzip members, zstd frames.

    One that holds nothing costs a few bytes to send and a new decoder here, so their number has a
    limit of its own (`RouteLimits.max_frames`).
    """

    error: type[Exception]

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


class Zlib(Framed):
    """gzip and deflate."""

    def __init__(self, library: Any, bits: int, max_frames: int) -> None:
        self._library = library
        self._bits = bits
        self.error = library.error
        super().__init__(max_frames)

    def _make(self) -> Any:
        return self._library.decompressobj(self._bits)

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


class Zstd(Framed):
    """zstd."""

    def __init__(self, library: Any, max_frames: int) -> None:
        self._library = library
        self.error = library.ZstdError
        super().__init__(max_frames)

    def _make(self) -> Any:
        window = self._library.DecompressionParameter.window_log_max
        return self._library.ZstdDecompressor(options={window: _ZSTD_WINDOW})

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


class Brotli:
    """br."""

    def __init__(self, library: Any) -> None:
        self._object = library.Decompressor()
        self._input = b""
        self.error = library.error

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

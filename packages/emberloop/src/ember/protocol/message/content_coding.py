"""Request bodies that come compressed (RFC 9110 section 8.4), decoded piece by piece: a bomb is
stopped at the limit of the body, before it is in memory."""

from __future__ import annotations

from ember.exceptions import BadRequest, PayloadTooLarge, UnsupportedMediaType
from ember.limits import MAX_FRAMES
from ember.protocol.message.codings import CODINGS, MissingLibrary, find

TYPE_CHECKING = False
if TYPE_CHECKING:
    from ember.protocol.message.decoders import Decoder
    from ember.protocol.message.interfaces import Source

#: Bytes that come out at once.
PIECE = 65536


def decoder(content_encoding: str, max_frames: int) -> Decoder | None:
    """What decodes a body with that Content-Encoding, of at most `max_frames` gzip members or zstd
    frames; None where nothing has to be done.

    Raises `UnsupportedMediaType`, with the codings that are known in its `Accept-Encoding` (RFC
    9110 section 15.5.16), for any other, for one whose library is not installed, and for several.
    """
    names = [name.strip(" \t").lower() for name in content_encoding.split(",")]
    names = [name for name in names if name not in ("", "identity")]
    if not names:
        return None
    coding = find(names[0]) if len(names) == 1 else None
    missing = None
    if coding is not None:
        try:
            return coding.decoder(max_frames)
        except MissingLibrary as error:
            missing = error  # the client is told what is known, a traceback what to install
    known = ", ".join(coding.name for coding in CODINGS if coding.can_decode())
    raise UnsupportedMediaType(
        f'a body with "Content-Encoding: {", ".join(names)}" is not taken; known: {known}',
        {"Accept-Encoding": known},
    ) from missing


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
        except decoder.error as error:
            raise BadRequest(f'the body is not "{self._coding}": {error}') from None
        if not self._empty and not decoder.ended:
            raise BadRequest(f'the body with "Content-Encoding: {self._coding}" ends too early')
        return b""

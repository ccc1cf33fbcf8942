"""The encoders of content codings. Each is given its library; `codings.py` says which codings exist
and loads the libraries."""

from __future__ import annotations

TYPE_CHECKING = False
if TYPE_CHECKING:
    from typing import Any, Protocol

    class Encoder(Protocol):
        """An encoder of one message."""

        def compress(self, data: bytes) -> bytes:
            """Compress `data`. Returns the output that is ready."""

        def flush(self) -> bytes:
            """The rest of the output so far, so that the client can decode all of it."""

        def finish(self) -> bytes:
            """The end of the message."""


#: The windows of compressors for event streams, as powers of two: 128 KiB for zstd, 32 KiB for
#: brotli, for which a larger one compresses no better. There may be thousands of such streams, open
#: for hours. An open stream takes 300 KiB for zstd, 340 for brotli and 100 for gzip; with the
#: default windows it would be 800 KiB and more.
EVENT_WINDOW = 17
BROTLI_EVENT_WINDOW = 15


class Gzip:
    """gzip, by zlib or a library with its interface."""

    def __init__(self, library: Any, level: int) -> None:
        self._object = library.compressobj(level, library.DEFLATED, 31)  # 31: with gzip's head
        self._finish = library.Z_FINISH
        self._sync = library.Z_SYNC_FLUSH

    def compress(self, data: bytes) -> bytes:
        result: bytes = self._object.compress(data)
        return result

    def flush(self) -> bytes:
        result: bytes = self._object.flush(self._sync)
        return result

    def finish(self) -> bytes:
        result: bytes = self._object.flush(self._finish)
        return result


class Brotli:
    """br."""

    def __init__(self, library: Any, events: bool) -> None:
        if events:
            # 3: the tables of 4 are twice as large, and make events only 2 % smaller.
            self._object = library.Compressor(quality=3, lgwin=BROTLI_EVENT_WINDOW)
        else:
            # 4: as fast as gzip, and smaller. 11, the default, takes a hundred times as long; it is
            # for files that are compressed once.
            self._object = library.Compressor(quality=4)

    def compress(self, data: bytes) -> bytes:
        result: bytes = self._object.process(data)
        return result

    def flush(self) -> bytes:
        result: bytes = self._object.flush()
        return result

    def finish(self) -> bytes:
        result: bytes = self._object.finish()
        return result


class Zstd:
    """zstd."""

    def __init__(self, library: Any, events: bool) -> None:
        if not events:
            self._object = library.ZstdCompressor(level=3)
            return
        option = library.CompressionParameter
        self._object = library.ZstdCompressor(
            options={
                option.compression_level: 3,
                option.window_log: EVENT_WINDOW,
                # The tables are only as large as the window needs.
                option.hash_log: EVENT_WINDOW - 3,
                option.chain_log: EVENT_WINDOW - 3,
            }
        )

    def compress(self, data: bytes) -> bytes:
        result: bytes = self._object.compress(data)
        return result

    def flush(self) -> bytes:
        result: bytes = self._object.flush(self._object.FLUSH_BLOCK)
        return result

    def finish(self) -> bytes:
        result: bytes = self._object.flush(self._object.FLUSH_FRAME)
        return result

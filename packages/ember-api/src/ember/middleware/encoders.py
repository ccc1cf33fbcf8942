"""The compressors of responses: zstd, br and gzip. Each is imported when it is used first."""

from __future__ import annotations

import zlib
from collections.abc import Callable
from typing import Any, Protocol

#: The windows of compressors for event streams, as powers of two: 128 KiB for zstd, 32 KiB for
#: brotli, for which a larger one compresses no better. There may be thousands of such streams, open
#: for hours. An open stream takes 300 KiB for zstd, 340 for brotli and 100 for gzip; with the
#: default windows it would be 800 KiB and more.
EVENT_WINDOW = 17
BROTLI_EVENT_WINDOW = 15


class Encoder(Protocol):
    """A compressor of one message."""

    def compress(self, data: bytes) -> bytes:
        """Compress `data`. Returns the output that is ready."""

    def flush(self) -> bytes:
        """The rest of the output so far, so that the client can decode all of it."""

    def finish(self) -> bytes:
        """The end of the message."""


class _Zlib:
    def __init__(self, module: Any, level: int) -> None:
        self._object = module.compressobj(level, zlib.DEFLATED, 31)  # 31: with gzip's head
        self._finish = module.Z_FINISH
        self._sync = module.Z_SYNC_FLUSH

    def compress(self, data: bytes) -> bytes:
        result: bytes = self._object.compress(data)
        return result

    def flush(self) -> bytes:
        result: bytes = self._object.flush(self._sync)
        return result

    def finish(self) -> bytes:
        result: bytes = self._object.flush(self._finish)
        return result


class _Brotli:
    def __init__(self, module: Any, events: bool) -> None:
        if events:
            # 3: the tables of 4 are twice as large, and make events only 2 % smaller.
            self._object = module.Compressor(quality=3, lgwin=BROTLI_EVENT_WINDOW)
        else:
            # 4: as fast as gzip, and smaller. 11, the default, takes a hundred times as long; it is
            # for files that are compressed once.
            self._object = module.Compressor(quality=4)

    def compress(self, data: bytes) -> bytes:
        result: bytes = self._object.process(data)
        return result

    def flush(self) -> bytes:
        result: bytes = self._object.flush()
        return result

    def finish(self) -> bytes:
        result: bytes = self._object.finish()
        return result


class _Zstd:
    def __init__(self, module: Any, events: bool) -> None:
        if not events:
            self._object = module.ZstdCompressor(level=3)
            return
        option = module.CompressionParameter
        self._object = module.ZstdCompressor(
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


def _zstd() -> Callable[[bool], Encoder]:
    try:
        from compression import zstd  # type: ignore[import-not-found, unused-ignore]
    except ImportError:
        from backports import zstd
    return lambda events: _Zstd(zstd, events)


def _br() -> Callable[[bool], Encoder]:
    import brotli

    return lambda events: _Brotli(brotli, events)


def _gzip() -> Callable[[bool], Encoder]:
    try:
        from isal import isal_zlib
    except ImportError:
        # Level 1: two thirds of the gain in a fifth of the time.
        return lambda _: _Zlib(zlib, 1)
    return lambda _: _Zlib(isal_zlib, 2)


#: The functions that import a library and return its compressor factory, by content coding. They
#: raise ImportError.
LOADERS = {"zstd": _zstd, "br": _br, "gzip": _gzip}

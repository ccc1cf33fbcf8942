"""Streams that tell the dependencies how they ended.

So a database session is not committed if only half of the response was sent."""

from __future__ import annotations

from collections.abc import AsyncIterator, Iterator
from typing import Any, Protocol

from ember.exceptions import ClientDisconnected


class StreamCleanup(Protocol):
    """What is told of the end of a stream: `DependencyCleanup`."""

    error: BaseException | None

    async def exit_function_scope(self) -> None:
        """Called when the stream was read to its end."""


def track(cleanup: StreamCleanup, stream: Any) -> Any:
    """A stream with the pieces of `stream` that tells `cleanup` how it ended."""
    if isinstance(stream, (list, tuple)):
        return stream  # it cannot fail
    return (
        TrackedStream(cleanup, stream)
        if hasattr(stream, "__aiter__")
        else TrackedSyncStream(cleanup, stream)
    )


def _left() -> ClientDisconnected:
    return ClientDisconnected("the client left before the end of the response")


class TrackedStream:
    """The pieces of an async stream. Closing this closes the stream."""

    def __init__(self, cleanup: StreamCleanup, stream: Any) -> None:
        self._cleanup = cleanup
        self._stream = stream
        self._pieces: AsyncIterator[bytes | str] | None = None
        self._ended = False

    def __aiter__(self) -> TrackedStream:
        return self

    async def __anext__(self) -> bytes | str:
        if self._pieces is None:
            self._pieces = self._stream.__aiter__()
        if self._ended:
            raise StopAsyncIteration
        try:
            return await self._pieces.__anext__()
        except StopAsyncIteration:
            self._ended = True
            await self._cleanup.exit_function_scope()
            raise
        except BaseException as error:
            self._ended = True
            self._cleanup.error = error
            raise

    async def aclose(self) -> None:
        """Close the stream, also if it was not started."""
        if self._pieces is not None and not self._ended:
            self._ended = True
            self._cleanup.error = _left()
        for source in (self._pieces, self._stream):
            close = getattr(source, "aclose", None)
            if close is not None:
                await close()


class TrackedSyncStream:
    """The pieces of a sync stream. Closing this closes the stream."""

    def __init__(self, cleanup: StreamCleanup, stream: Any) -> None:
        self._cleanup = cleanup
        self._stream = stream
        self._pieces: Iterator[bytes | str] | None = None
        self._ended = False

    def __iter__(self) -> TrackedSyncStream:
        return self

    def __next__(self) -> bytes | str:
        if self._pieces is None:
            self._pieces = iter(self._stream)
        try:
            return next(self._pieces)
        except StopIteration:
            self._ended = True
            raise
        except BaseException as error:
            self._ended = True
            self._cleanup.error = error
            raise

    def close(self) -> None:
        """Close the stream."""
        if self._pieces is not None and not self._ended:
            self._ended = True
            self._cleanup.error = _left()
        close = getattr(self._stream, "close", None)
        if close is not None:
            close()

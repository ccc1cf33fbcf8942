"""Streams whose dependencies hear how they ended: a session is not committed for half an answer."""

from __future__ import annotations

from collections.abc import AsyncIterator, Iterator
from typing import Any, Protocol

from ember.exceptions import ClientDisconnected


class Ends(Protocol):
    """What wants to know: `Exits`."""

    error: BaseException | None

    async def leave_early(self) -> None:
        """The stream has come to its end."""


def followed(exits: Ends, stream: Any) -> Any:
    """`stream`, for `exits` to follow."""
    if isinstance(stream, (list, tuple)):
        return stream  # it cannot fail, and is sent without a thread
    return Followed(exits, stream) if hasattr(stream, "__aiter__") else FollowedSync(exits, stream)


def _left() -> ClientDisconnected:
    return ClientDisconnected("the client left before the end of the answer")


class Followed:
    """The pieces of an async stream, which is closed with it."""

    def __init__(self, exits: Ends, stream: Any) -> None:
        self._exits = exits
        self._stream = stream
        self._pieces: AsyncIterator[bytes | str] | None = None
        self._ended = False

    def __aiter__(self) -> Followed:
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
            await self._exits.leave_early()
            raise
        except BaseException as error:
            self._ended = True
            self._exits.error = error
            raise

    async def aclose(self) -> None:
        """Close what is followed, begun or not."""
        if self._pieces is not None and not self._ended:
            self._ended = True
            self._exits.error = _left()
        for source in (self._pieces, self._stream):
            close = getattr(source, "aclose", None)
            if close is not None:
                await close()


class FollowedSync:
    """The pieces of a sync stream, which is closed with it."""

    def __init__(self, exits: Ends, stream: Any) -> None:
        self._exits = exits
        self._stream = stream
        self._pieces: Iterator[bytes | str] | None = None
        self._ended = False

    def __iter__(self) -> FollowedSync:
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
            self._exits.error = error
            raise

    def close(self) -> None:
        """Close what is followed."""
        if self._pieces is not None and not self._ended:
            self._ended = True
            self._exits.error = _left()
        close = getattr(self._stream, "close", None)
        if close is not None:
            close()

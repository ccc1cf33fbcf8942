"""The body of a request on its way from the connection to the handler."""

from __future__ import annotations

from ember.exceptions import ClientDisconnected

TYPE_CHECKING = False
if TYPE_CHECKING:
    import asyncio
    from collections.abc import Callable

    OnRead = Callable[[], None]

#: Bytes that wait for the handler before the client is stopped, and where it may go on.
HIGH_WATER = 65536
LOW_WATER = 16384


class Body:
    """A queue of chunks with one reader. The connection puts in, the handler takes out."""

    __slots__ = ("_chunks", "_error", "_on_read", "_taken", "_waiter", "complete", "given", "size")

    def __init__(self, on_read: OnRead | None) -> None:
        self._chunks: list[bytes] = []
        self._error: Callable[[], BaseException] | None = None
        self._waiter: asyncio.Future[None] | None = None
        #: called before a reader takes or waits: sends 100-continue, lets the client go on
        self._on_read = on_read
        self._taken = False
        self.size = 0
        #: bytes that the handler took
        self.given = 0
        self.complete = on_read is None

    @property
    def taken(self) -> bool:
        """Whether the handler has asked for the body."""
        return self._taken

    @property
    def consumed(self) -> bool:
        """Whether everything has arrived and was taken."""
        return self.complete and not self._chunks

    def put(self, chunk: bytes) -> None:
        """Some bytes arrived."""
        if chunk:
            self._chunks.append(chunk)
            self.size += len(chunk)
            self._wake()

    def finish(self) -> None:
        """The last byte arrived."""
        self.complete = True
        self._on_read = None
        self._wake()

    def fail(self, error: Callable[[], BaseException]) -> None:
        """No more will come; whoever reads gets an `error()` after what has arrived. Each gets one
        of its own: one that is kept would keep the frames that it went through."""
        if not self.complete and self._error is None:
            self._error = error
            self._on_read = None
            self._wake()

    def release(self) -> None:
        """The connection is gone, and is not kept alive by this."""
        self._on_read = None

    def drop(self) -> None:
        """Nobody will read: forget what is queued."""
        self._chunks.clear()
        self.size = 0

    async def read(self) -> bytes:
        """What has arrived since the last call, at least one byte; empty at the end."""
        self._taken = True
        while True:
            if self._chunks:
                data = self._chunks[0] if len(self._chunks) == 1 else b"".join(self._chunks)
                self._chunks.clear()
                self.size = 0
                self.given += len(data)
                if self._on_read is not None and not self.complete:
                    self._on_read()
                return data
            if self.complete:
                return b""
            if self._error is not None:
                raise self._error()
            if self._on_read is None:
                raise ClientDisconnected("the client left before the body was complete")
            self._on_read()
            if self._chunks or self.complete or self._error is not None:
                continue
            await self._wait()

    async def _wait(self) -> None:
        import asyncio

        if self._waiter is not None:
            raise RuntimeError("the request body is already being read by another task")
        self._waiter = asyncio.get_running_loop().create_future()
        try:
            await self._waiter
        finally:
            self._waiter = None

    def _wake(self) -> None:
        if self._waiter is not None and not self._waiter.done():
            self._waiter.set_result(None)

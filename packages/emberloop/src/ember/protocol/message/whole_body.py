"""The body of a request in one piece, for whoever asks: once, again, at the same time or after a
cancelled attempt, and always with the same outcome."""

from __future__ import annotations

TYPE_CHECKING = False
if TYPE_CHECKING:
    import asyncio

    from ember.protocol.message.interfaces import Source


class WholeBody:
    """Gathers what `source.read()` gives until it gives nothing."""

    __slots__ = ("_pieces", "_source", "_waiters")

    def __init__(self, source: Source) -> None:
        self._source = source
        self._pieces: list[bytes] = []
        # Those who wait while another task reads; None: nobody reads.
        self._waiters: list[asyncio.Future[None]] | None = None

    async def read(self) -> bytes:
        """All of it. Raises what the source raises."""
        while self._waiters is not None:
            import asyncio

            waiter = asyncio.get_running_loop().create_future()
            self._waiters.append(waiter)
            await waiter
        self._waiters = []
        try:
            # What was read stays here when this is cancelled: the next attempt goes on from there.
            while piece := await self._source.read():
                self._pieces.append(piece)
        finally:
            waiters, self._waiters = self._waiters, None
            for waiter in waiters:
                if not waiter.done():
                    waiter.set_result(None)
        if len(self._pieces) > 1:
            self._pieces[:] = [b"".join(self._pieces)]
        return self._pieces[0] if self._pieces else b""


class Streamed:
    """In the place of a body that `request.stream` gives, and nobody keeps."""

    async def read(self) -> bytes:
        raise RuntimeError(
            "the request body was already taken by request.stream; "
            "to read it more than once, use request.body()"
        )


STREAMED = Streamed()

"""What a connection sends: batches of one turn, files, and waiting for a slow peer."""

from __future__ import annotations

from ember.exceptions import ClientDisconnected

TYPE_CHECKING = False
if TYPE_CHECKING:
    import asyncio

    from ember.protocol.server.openfile import OpenFile
    from ember.protocol.server.pure.interfaces import Owner, Transport

#: Bytes of pipelined responses that are collected before they are sent together.
BATCH = 65536
#: Bytes of responses from which on they are handed over as they are, instead of joined.
SHARED = 32768


class HTTPOutput:
    """The part of a connection that sends."""

    # Of the connection:
    is_lost: bool
    loop: asyncio.AbstractEventLoop | None
    written: int
    _batch: list[bytes]
    _batched: int
    _owner: Owner
    _paused: bool
    _processing: bool
    _resumed: asyncio.Future[None] | None
    _transport: Transport
    _written: int

    def abort(self) -> None:
        """End the connection now."""
        raise NotImplementedError

    def write(self, data: bytes) -> None:
        """Send `data`, together with what else is sent in this turn."""
        self.collect(data)
        self.flush_when_due()

    def collect(self, data: bytes) -> None:
        """`write` in two steps: `flush_when_due` is the other."""
        if not self.is_lost:
            self.written += len(data)
            self._batch.append(data)
            self._batched += len(data)

    def flush_when_due(self) -> None:
        """Hand what was collected to the transport, unless more will come in this turn."""
        if not self._processing or self._batched >= BATCH:
            self.flush()

    def flush(self) -> None:
        """Hand what was collected to the transport."""
        if self._batch and not self.is_lost:
            self._written += self._batched
            if self._batched < SHARED:
                self._transport.write(b"".join(self._batch))
            else:
                # By reference: a body that many wait for is there once.
                for data in self._batch:
                    self._transport.write(data)
        self._batch.clear()
        self._batched = 0

    @property
    def flowing(self) -> bool:
        """Whether there is nothing that `drain` would wait for or raise."""
        return not self._paused and not self.is_lost

    async def drain(self) -> None:
        """Wait until the peer has caught up. Raises `ClientDisconnected` when it left."""
        while self._paused and not self.is_lost:
            assert self.loop is not None
            self._resumed = self.loop.create_future()
            try:
                await self._resumed
            finally:
                self._resumed = None
        if self.is_lost:
            raise ClientDisconnected("the client left before the end of the response")

    async def send_file(self, file: OpenFile, offset: int, size: int) -> bool:
        """Let the kernel send part of a file. False: it cannot, and nothing of it was sent. When
        this fails the connection is aborted."""
        self.flush()
        if self.is_lost:
            raise ClientDisconnected("the client left before the end of the response")
        self._written += size
        try:
            sent = await self._owner.send_file(file, offset, size)
        except BaseException as error:
            self.abort()
            if isinstance(error, ConnectionError):
                raise ClientDisconnected(
                    "the client left before the end of the response"
                ) from error
            raise
        if sent:
            self.written += size
        else:
            self._written -= size
        if self.is_lost:
            raise ClientDisconnected("the client left before the end of the response")
        return sent

"""`MemoryConnection`: the real codec fed from memory, for tests, fuzzing and benchmarks."""

from __future__ import annotations

import asyncio

from ember.protocol.server.pure.connection import Connection

TYPE_CHECKING = False
if TYPE_CHECKING:
    from ember.limits import ServerLimits
    from ember.protocol.server.application import Application
    from ember.protocol.server.openfile import OpenFile
    from ember.protocol.server.states import State


class MemoryConnection:
    """A connection without a socket: `feed` what was received, `take` what was sent.

    Outside of a running loop everything happens inside `feed`, and a handler that has to wait
    raises `RuntimeError`. Inside of one, deadlines hold and responses may come later.
    """

    def __init__(
        self, app: Application, *, limits: ServerLimits | None = None, strict_tasks: bool = False
    ) -> None:
        self.closed = False
        self.aborted = False
        self.reading = True
        self._writable = True
        self._out: list[bytes] = []
        # Every task of this build is a genuine one, so that strict_tasks asks for nothing more.
        self._connection = Connection(app, self, self, limits=limits)
        self._attach()

    def _attach(self) -> None:
        if self._connection.loop is None:
            loop = asyncio._get_running_loop()
            if loop is not None:
                self._connection.attach(loop)

    def feed(self, data: bytes) -> None:
        """Bytes as received."""
        self._attach()
        self._connection.feed(data)

    def take(self) -> bytes:
        """What was sent since the last call."""
        out = b"".join(self._out)
        self._out.clear()
        return out

    @property
    def state(self) -> State:
        """What it is about; see `states.py`."""
        return self._connection.state

    def eof(self) -> None:
        """The peer closed its side."""
        self._connection.eof()

    def lost(self) -> None:
        """The connection was reset."""
        self.closed = True
        self._connection.lost()

    @property
    def writable(self) -> bool:
        """Whether the peer reads; set it to False to simulate one that does not."""
        return self._writable

    @writable.setter
    def writable(self, value: bool) -> None:
        if value != self._writable:
            self._writable = value
            if value:
                self._connection.resume_writing()
            else:
                self._connection.pause_writing()

    # -- what the connection calls ------------------------------------------------------------

    def write(self, data: bytes) -> None:
        self._out.append(data)

    def pause_reading(self) -> None:
        self.reading = False

    def resume_reading(self) -> None:
        self.reading = True

    def unsent(self) -> int:
        return 0 if self._writable else sum(map(len, self._out))

    def unread(self) -> bool:
        return False

    def watch_peer(self) -> None:
        pass

    async def send_file(self, file: OpenFile, offset: int, size: int) -> bool:
        return False

    def close_connection(self, linger: bool) -> None:
        if not self.closed:
            self.closed = True
            self._connection.lost()

    def abort_connection(self) -> None:
        self.aborted = True
        self.close_connection(False)

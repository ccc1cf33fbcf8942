"""Deadlines of one connection: what it waits for, and until when."""

from __future__ import annotations

from ember.protocol.server.wheel import NEVER, Wheel

TYPE_CHECKING = False
if TYPE_CHECKING:
    import asyncio
    from typing import Protocol

    from ember.limits import ServerLimits

    class Timed(Protocol):
        """What the deadlines need of their connection."""

        is_lost: bool

        @property
        def backlog(self) -> tuple[int, int]: ...
        @property
        def busy(self) -> bool: ...
        @property
        def unread(self) -> bool: ...

        def ask_peer(self) -> None: ...
        def handler_is_late(self) -> None: ...
        def is_stuck(self, backlog: int) -> None: ...
        def peer_is_late(self) -> None: ...


__all__ = ["NEVER", "Deadlines"]

#: Seconds until a peer whose bytes wait to be read is judged.
AGAIN = 0.01


class Deadlines:
    """What one connection waits for, and until when. Without a loop nothing is ever late."""

    __slots__ = (
        "_ask",
        "_connection",
        "_look_within",
        "_loop",
        "_since",
        "_taken",
        "_wheel",
        "_write_timeout",
        "due",
        "handler",
        "phase",
        "read",
        "slot",
    )

    def __init__(self, connection: Timed) -> None:
        self._connection: Timed | None = connection
        self._loop: asyncio.AbstractEventLoop | None = None
        self._wheel: Wheel | None = None
        self._taken = 0
        self._since = NEVER
        self._write_timeout = self._look_within = NEVER
        #: "head", "body" or "idle": what is awaited from the peer until `read`
        self.phase = "head"
        self.read = NEVER
        #: until when the response has to start
        self.handler = self._ask = NEVER
        #: when the wheel looks at this; the wheel's to change
        self.slot = self.due = NEVER

    def attach(self, loop: asyncio.AbstractEventLoop, limits: ServerLimits) -> None:
        """Let the wheel of `loop` look after the connection."""
        self._loop = loop
        self._wheel = Wheel.of(loop)
        self._write_timeout = limits.write_timeout
        #: how long a backlog may stand unlooked at
        self._look_within = limits.write_timeout / 4
        self._since = loop.time()

    def detach(self) -> None:
        """The connection is gone."""
        if self._wheel is not None:
            self._wheel.remove(self)
        self._wheel = self._connection = None
        self.read = self.handler = self._ask = NEVER

    def expect(self, phase: str, seconds: float) -> None:
        """The peer has so many seconds."""
        self.phase = phase
        if self._loop is not None:
            now = self._loop.time()
            self.read = now + seconds
            # What was answered until now may lie here, too.
            self._look_before(now + min(seconds, self._look_within))

    def handler_within(self, seconds: float) -> None:
        """The handler has so many seconds."""
        if self._loop is not None:
            self.handler = self._loop.time() + seconds
            self._look_before(self.handler)

    def ask_within(self, seconds: float) -> None:
        """The peer is to be asked whether it is still there, so many seconds from now."""
        if self._loop is not None:
            self._ask = self._loop.time() + seconds
            self._look_before(self._ask)

    def watch_backlog(self) -> None:
        """Something was written, or may be, that the peer has to take in time."""
        if self._loop is not None:
            self._look_before(self._loop.time() + self._look_within)

    def _look_before(self, when: float) -> None:
        if when < self.due and self._wheel is not None:
            self._wheel.place(self, when)

    def check_deadlines(self, now: float) -> float:
        """For the wheel: judge what is late. Gives the time of the next look."""
        connection = self._connection
        if connection is None:
            return NEVER
        if now >= self.handler:
            self.handler = NEVER
            connection.handler_is_late()
        if now >= self._ask:
            self._ask = NEVER
            connection.ask_peer()
        if now >= self.read:
            if connection.unread:
                # It is the loop that is late. What came in time is read before it is judged.
                self.read = now + AGAIN
            else:
                self.read = NEVER
                connection.peer_is_late()
        if connection.is_lost:
            return NEVER
        backlog, taken = connection.backlog
        if backlog == 0 or taken > self._taken:
            self._taken = taken
            self._since = now
        elif now - self._since >= self._write_timeout:
            connection.is_stuck(backlog)
        again = min(self.read, self.handler, self._ask)
        if backlog:
            again = min(again, now + self._look_within, self._since + self._write_timeout)
        elif connection.busy:
            again = min(again, now + self._look_within)
        return again

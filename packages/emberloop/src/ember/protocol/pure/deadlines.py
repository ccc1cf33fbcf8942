"""Deadlines of connections: one coarse sweep per loop, never a timer per request."""

from __future__ import annotations

from weakref import WeakKeyDictionary

TYPE_CHECKING = False
if TYPE_CHECKING:
    import asyncio

    from ember.limits import ServerLimits
    from ember.protocol.pure.connection import Connection

NEVER = float("inf")
#: Seconds between two sweeps, at most; less where a limit is short, so that each is kept within a
#: quarter of itself.
COARSE = 0.5
FINE = 0.01


class Sweep:
    """Looks at every connection of one loop now and then. Sleeps while there is none."""

    __slots__ = ("__weakref__", "_connections", "_interval", "_loop", "_timer")

    _of: WeakKeyDictionary[asyncio.AbstractEventLoop, Sweep] = WeakKeyDictionary()

    def __init__(self, loop: asyncio.AbstractEventLoop) -> None:
        self._loop = loop
        self._connections: set[Connection] = set()
        self._interval = COARSE
        self._timer: asyncio.TimerHandle | None = None

    @classmethod
    def of(cls, loop: asyncio.AbstractEventLoop) -> Sweep:
        """The sweep of `loop`."""
        sweep = cls._of.get(loop)
        if sweep is None:
            sweep = cls._of[loop] = cls(loop)
        return sweep

    def add(self, connection: Connection) -> None:
        """Look after `connection` until it is discarded."""
        self._connections.add(connection)
        if self._timer is None:
            self._schedule()

    def discard(self, connection: Connection) -> None:
        """Forget `connection`."""
        self._connections.discard(connection)
        if not self._connections and self._timer is not None:
            self._timer.cancel()
            self._timer = None
            self._interval = COARSE

    def want(self, seconds: float) -> None:
        """A limit of so many seconds is to be kept."""
        interval = max(FINE, seconds / 4)
        if interval < self._interval:
            self._interval = interval
            if self._timer is not None:
                self._timer.cancel()
                self._schedule()

    def _schedule(self) -> None:
        self._timer = self._loop.call_later(self._interval, self._run)

    def _run(self) -> None:
        self._schedule()
        now = self._loop.time()
        for connection in tuple(self._connections):
            connection.check_deadlines(now)


class Deadlines:
    """What one connection waits for, and until when. Without a loop nothing is ever late."""

    __slots__ = (
        "_loop",
        "_since",
        "_sweep",
        "_taken",
        "_write_timeout",
        "handler",
        "phase",
        "read",
    )

    def __init__(self) -> None:
        self._loop: asyncio.AbstractEventLoop | None = None
        self._sweep: Sweep | None = None
        self._taken = 0
        self._since = NEVER
        self._write_timeout = NEVER
        #: "head", "body" or "idle": what is awaited from the peer until `read`
        self.phase = "head"
        self.read = NEVER
        #: until when the answer has to start
        self.handler = NEVER

    def attach(
        self, loop: asyncio.AbstractEventLoop, connection: Connection, limits: ServerLimits
    ) -> None:
        """Let the sweep of `loop` look after `connection`."""
        self._loop = loop
        self._sweep = Sweep.of(loop)
        self._sweep.add(connection)
        self._write_timeout = limits.write_timeout
        self._sweep.want(
            min(
                limits.header_timeout,
                limits.body_timeout,
                limits.keep_alive_timeout,
                limits.write_timeout,
            )
        )
        self._since = loop.time()

    def detach(self, connection: Connection) -> None:
        """The connection is gone."""
        if self._sweep is not None:
            self._sweep.discard(connection)
        self.read = self.handler = NEVER

    def expect(self, phase: str, seconds: float) -> None:
        """The peer has so many seconds."""
        self.phase = phase
        if self._loop is not None:
            self.read = self._loop.time() + seconds

    def handler_within(self, seconds: float) -> None:
        """The handler has so many seconds."""
        if self._loop is not None and self._sweep is not None:
            self.handler = self._loop.time() + seconds
            self._sweep.want(seconds)

    def stuck(self, now: float, written: int, backlog: int) -> bool:
        """Whether the peer has taken nothing of a backlog for longer than it may."""
        taken = written - backlog
        if backlog == 0 or taken > self._taken:
            self._taken = taken
            self._since = now
            return False
        return now - self._since >= self._write_timeout

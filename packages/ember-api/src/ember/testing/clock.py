"""A clock for tests: an event loop whose time moves only when a test advances it."""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable
from typing import Any, TypeVar

T = TypeVar("T")

#: Iterations of the loop for tasks that were woken, before the clock moves on.
TURNS = 20


class VirtualLoop(asyncio.SelectorEventLoop):
    """An event loop whose `time()` changes only in `Clock.advance`.

    Sleeps, timeouts, heartbeats and deadlines use this time. Sockets and threads work as usual.
    """

    def __init__(self) -> None:
        self._now = 0.0
        super().__init__()

    def time(self) -> float:
        """Seconds that the clock was advanced since the loop was made."""
        return self._now

    def _next(self) -> float | None:
        """The time of the next timer; None if there is none."""
        timers: list[Any] = self._scheduled  # type: ignore[attr-defined]
        return min((timer.when() for timer in timers if not timer.cancelled()), default=None)


class Clock:
    """The clock of a test that `run_with_clock` runs."""

    def __init__(self, loop: VirtualLoop) -> None:
        self._loop = loop

    @property
    def now(self) -> float:
        """Seconds since the start of the test."""
        return self._loop._now

    async def advance(self, seconds: float) -> None:
        """Advance the time by `seconds`. Every timer that becomes due runs, in order."""
        if not seconds >= 0:
            raise ValueError(f"advance({seconds!r}): time goes forward")
        loop = self._loop
        target = loop._now + seconds
        await self._run_ready()
        while (due := loop._next()) is not None and due <= target:
            loop._now = max(loop._now, due)
            await self._run_ready()
        loop._now = target
        await self._run_ready()

    async def _run_ready(self) -> None:
        for _ in range(TURNS):
            await asyncio.sleep(0)


def run_with_clock(test: Callable[[Clock], Awaitable[T]]) -> T:
    """Run `await test(clock)` on a new loop whose time changes only with `clock.advance(...)`.

    Threads and sockets use the real time.
    """
    loops: list[VirtualLoop] = []

    def make() -> VirtualLoop:
        loops.append(VirtualLoop())
        return loops[0]

    async def main() -> T:
        return await test(Clock(loops[0]))

    with asyncio.Runner(loop_factory=make) as runner:
        return runner.run(main())

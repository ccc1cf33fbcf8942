"""Time in a test's hand: a loop whose clock moves only when it is told to."""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable
from typing import Any, TypeVar

T = TypeVar("T")

#: Turns of the loop that what was woken gets before the clock moves on.
TURNS = 20


class VirtualLoop(asyncio.SelectorEventLoop):
    """An event loop whose `time()` stands still between two calls of `Clock.advance`.

    Sleeps, time-outs, heartbeats and deadlines follow it; sockets and threads work as ever.
    """

    def __init__(self) -> None:
        self._now = 0.0
        super().__init__()

    def time(self) -> float:
        """Seconds since the loop was made, as far as it was advanced."""
        return self._now

    def _next(self) -> float | None:
        """When the next timer is due; None without one."""
        timers: list[Any] = self._scheduled  # type: ignore[attr-defined]
        return min((timer.when() for timer in timers if not timer.cancelled()), default=None)


class Clock:
    """The clock of a test that runs under `run_with_clock`."""

    def __init__(self, loop: VirtualLoop) -> None:
        self._loop = loop

    @property
    def now(self) -> float:
        """Seconds since the start of the test."""
        return self._loop._now

    async def advance(self, seconds: float) -> None:
        """Let so many seconds pass: every timer that falls due runs, in order, at its time."""
        if not seconds >= 0:
            raise ValueError(f"advance({seconds!r}): time goes forward")
        loop = self._loop
        target = loop._now + seconds
        await self._settle()
        while (due := loop._next()) is not None and due <= target:
            loop._now = max(loop._now, due)
            await self._settle()
        loop._now = target
        await self._settle()

    async def _settle(self) -> None:
        for _ in range(TURNS):
            await asyncio.sleep(0)


def run_with_clock(test: Callable[[Clock], Awaitable[T]]) -> T:
    """Run `await test(clock)` on a loop of its own, whose time passes with `clock.advance(...)`.

    What waits for a thread or a socket waits for real; what waits for time waits for `advance`.
    """
    loops: list[VirtualLoop] = []

    def make() -> VirtualLoop:
        loops.append(VirtualLoop())
        return loops[0]

    async def main() -> T:
        return await test(Clock(loops[0]))

    with asyncio.Runner(loop_factory=make) as runner:
        return runner.run(main())

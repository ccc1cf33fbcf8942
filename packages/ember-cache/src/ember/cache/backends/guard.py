"""Between a cache and its store: a deadline for each operation, and silence during an outage.

A store that fails is left alone for a while, that gets longer (0.1 s, doubled, up to 5 s); then one
operation is let through to see. Meanwhile everything is a miss, at once and without a log line.
"""

from __future__ import annotations

import asyncio
import logging
import time
from collections.abc import Awaitable, Callable
from typing import Final, TypeVar

__all__ = ["FAILED", "Failed", "Guard"]

T = TypeVar("T")
log = logging.getLogger("ember.cache")

FIRST_PAUSE = 0.1
LONGEST_PAUSE = 5.0
# An outage so soon after the last one is the same outage to whoever reads the log.
QUIET = 10.0


class Failed:
    """What an operation gives that the store did not carry out."""

    __slots__ = ()

    def __repr__(self) -> str:
        return "FAILED"


FAILED: Final = Failed()


class Guard:
    """`await guard.run(op)`: what `op()` gives, or FAILED; never raises for the store's sake.

    `deadline`: seconds for one operation. `refusals`: errors that do not mean an outage.
    `recover`: awaited, within the deadline, before the first operation after an outage.
    """

    def __init__(
        self,
        name: str,
        deadline: float,
        *,
        refusals: tuple[type[Exception], ...] = (),
        recover: Callable[[], Awaitable[None]] | None = None,
        reset: Callable[[], Awaitable[None]] | None = None,
        clock: Callable[[], float] = time.monotonic,
    ) -> None:
        self.name = name
        self.deadline = deadline
        self.failures = 0
        self._refusals = refusals
        self._recover = recover
        self._reset = reset
        self._clock = clock
        self._down_since: float | None = None
        self._retry_at = 0.0
        self._pause = FIRST_PAUSE
        self._probing = False
        self._quiet_until = -QUIET
        self._refused: dict[str, float] = {}

    @property
    def down(self) -> bool:
        return self._down_since is not None

    @property
    def shut(self) -> bool:
        """The next operation will not even be tried."""
        return self._down_since is not None and (self._probing or self._clock() < self._retry_at)

    async def run(self, op: Callable[[], Awaitable[T]], *, vital: bool = False) -> T | Failed:
        """`vital`: a refusal counts as an outage, since going on as if nothing were is wrong."""
        probe = probed = self._down_since is not None
        if probed:
            if self.shut:
                return FAILED
            self._probing = True
        try:
            async with asyncio.timeout(self.deadline):
                if probe and self._recover is not None:
                    await self._recover()
                    probe = self._up()
                try:
                    result = await op()
                except self._refusals as error:
                    if vital:
                        raise
                    self._refuse(error)
                    return FAILED
            if probe:
                self._up()
            return result
        except Exception as error:  # noqa: BLE001  # whatever a client raises: the store is away
            await self._fail(error, probed)
            return FAILED
        finally:
            if probed:
                self._probing = False

    async def _fail(self, error: Exception, probed: bool) -> None:
        self.failures += 1
        now = self._clock()
        if self._down_since is not None and not probed:
            return  # it began before the outage was noticed
        if self._down_since is None:
            self._down_since = now
            self._pause = FIRST_PAUSE
            if now >= self._quiet_until:
                log.warning(
                    "%s does not answer within %g s (%s); going on without it until it does",
                    self.name,
                    self.deadline,
                    _said(error),
                )
        else:
            self._pause = min(LONGEST_PAUSE, self._pause * 2)
        self._quiet_until = now + QUIET
        self._retry_at = now + self._pause
        if self._reset is not None:
            try:
                async with asyncio.timeout(self.deadline):
                    await self._reset()
            except Exception:
                log.debug("closing the connections of %s failed", self.name, exc_info=True)

    def _up(self) -> bool:
        if self._down_since is not None:
            now = self._clock()
            log.info("%s answers again after %.1f s", self.name, now - self._down_since)
            self._quiet_until = now + QUIET
            self._down_since = None
        return False

    def _refuse(self, error: Exception) -> None:
        self.failures += 1
        kind, now = type(error).__name__, self._clock()
        if now >= self._refused.get(kind, now):
            self._refused[kind] = now + 60.0
            log.warning(
                "%s refused an operation (%s); going on without it", self.name, _said(error)
            )


def _said(error: Exception) -> str:
    return f"{type(error).__name__}: {error}" if str(error) else type(error).__name__

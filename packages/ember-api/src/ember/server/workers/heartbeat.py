"""The heartbeat of a worker: once a second it updates its slot and checks its age and memory."""

from __future__ import annotations

import asyncio
import os
import time
from typing import TYPE_CHECKING, Protocol

if TYPE_CHECKING:
    from ember.limits import ServerLimits
    from ember.server.workers.context import WorkerContext
    from ember.server.workers.scoreboard import Slot

#: Seconds between two beats; less if `worker_timeout` is short.
INTERVAL = 1.0
#: The random part of `worker_max_age`: so workers do not all end at the same time.
JITTER = 0.1


class _Beating(Protocol):
    """The values of a server that the heartbeat publishes."""

    started: bool

    @property
    def limits(self) -> ServerLimits: ...

    @property
    def connections(self) -> int: ...

    @property
    def requests(self) -> int: ...


class Heartbeat:
    """Beats on the running event loop, from now until `stop`."""

    def __init__(self, slot: Slot, server: _Beating, context: WorkerContext | None) -> None:
        limits = server.limits
        self._slot = slot
        self._server = server
        self._context = context
        self._before = slot.requests
        self._loop = asyncio.get_running_loop()
        self._interval = min(INTERVAL, (limits.worker_timeout or INTERVAL * 4) / 4)
        self._max_memory = limits.worker_max_memory
        self._end = float("inf")
        self._asked = False
        if limits.worker_max_age is not None:
            import random  # imports hashlib: only if it is needed

            age = limits.worker_max_age * random.uniform(1 - JITTER, 1 + JITTER)
            self._end = time.monotonic() + age
        self._timer: asyncio.TimerHandle | None = None
        self._beat()

    def stop(self) -> None:
        """Stop, after a last beat."""
        if self._timer is not None:
            self._timer.cancel()
        self._count()

    def _count(self) -> None:
        slot, server = self._slot, self._server
        slot.connections = server.connections
        slot.requests = self._before + server.requests
        slot.heartbeat = time.monotonic_ns()

    def _beat(self) -> None:
        self._count()
        self._timer = self._loop.call_later(self._interval, self._beat)
        if self._context is not None and not self._asked and self._server.started:
            reason = self._too_old() or self._too_large()
            if reason:
                self._asked = True
                self._context.report("recycle", reason)

    def _too_old(self) -> str:
        return "worker_max_age" if time.monotonic() >= self._end else ""

    def _too_large(self) -> str:
        if self._max_memory is None:
            return ""
        size = resident()
        if size <= self._max_memory:
            return ""
        mib = 1024 * 1024
        return f"{size / mib:.0f} MiB is above worker_max_memory={self._max_memory / mib:.0f} MiB"


def resident() -> int:
    """Resident memory of this process in bytes; outside Linux, the largest it ever was."""
    try:
        with open("/proc/self/statm", "rb") as file:
            return int(file.read().split()[1]) * os.sysconf("SC_PAGE_SIZE")
    except OSError:
        import resource
        import sys

        most = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
        return most if sys.platform == "darwin" else most * 1024

"""What a server has to know of the application that it serves, and the other way round."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING, Protocol

if TYPE_CHECKING:
    from ember.concurrency.threads import ThreadPool
    from ember.protocol import Application
    from ember.routing.route import Route
    from ember.server.workers.scoreboard import Scoreboard

    class _Served(Application, Protocol):
        pass
else:
    _Served = Protocol


class Lifecycle(Protocol):
    """The start hooks that a server runs by itself."""

    async def started(self) -> None:
        """Run what follows the moment at which the sockets listen."""


class RunningServer(Protocol):
    """What serves an application now: one process, or the supervisor of several."""

    board: Scoreboard
    #: Which slot of the board is this process's.
    slot: int
    #: "io_uring", "epoll", "uvloop" or "asyncio"; empty before it is known.
    loop_name: str

    @property
    def requests(self) -> int:
        """How many requests came since the start."""

    def stop(self) -> None:
        """Tell it to stop, and wait for its end where that is possible."""


class ServedApp(_Served, Protocol):
    """An application, as its server sees it: besides what the connections ask for."""

    debug: bool
    server: RunningServer | None
    thread_pool_workers: int | None
    _pool: ThreadPool | None

    @property
    def lifecycle(self) -> Lifecycle:
        """Its hooks."""

    @property
    def routes(self) -> Sequence[Route]:
        """Every route."""

    def _threads(self) -> ThreadPool: ...

    async def startup(self) -> None:
        """Run what comes before the first request."""

    async def shutdown(self, until: float | None = None) -> None:
        """Run what comes after the last request, until `until` on the loop's clock."""

"""The parts of an application that its server uses, and the other way round."""

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
    """The start hooks that a server runs."""

    async def started(self) -> None:
        """Run the hooks that run when the sockets listen."""


class RunningServer(Protocol):
    """The server of an application: one process, or the supervisor of several."""

    board: Scoreboard
    #: The slot of this process on the scoreboard.
    slot: int
    #: "io_uring", "epoll", "uvloop" or "asyncio"; empty before it is known.
    loop_name: str

    @property
    def requests(self) -> int:
        """The number of requests since the start."""

    def stop(self) -> None:
        """Tell it to stop, and wait for its end if possible."""


class ServedApp(_Served, Protocol):
    """An application, as its server uses it."""

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
        """Run the start hooks, before the first request."""

    async def shutdown(self, until: float | None = None) -> None:
        """Run the stop hooks, after the last request, until `until` on the loop's clock."""

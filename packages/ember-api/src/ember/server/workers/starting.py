"""Runs the start hooks of a server: with a time limit, clear errors, and cancelled by a signal."""

from __future__ import annotations

import asyncio
import logging
from collections.abc import Awaitable

from ember.routing.router import RouteError
from ember.server.options import StartError
from ember.server.workers.ending import in_time

logger = logging.getLogger("ember.server")


class Start:
    """The start of one server, in the task that makes this object. It has `limit` seconds from now;
    None: no limit. `stop` is set when the server was told to stop."""

    def __init__(self, limit: float | None, stop: asyncio.Event) -> None:
        self._limit = limit
        self._stop = stop
        self._until = None if limit is None else asyncio.get_running_loop().time() + limit
        self._task = asyncio.current_task()
        #: Whether hooks are running now.
        self.running = False

    @property
    def late(self) -> str:
        """The message for a start that takes too long."""
        limit = 0.0 if self._limit is None else self._limit
        return f"the start hooks took longer than start_timeout={limit:g} s"

    async def run(self, hooks: Awaitable[None]) -> bool:
        """Run start hooks in this task. Returns False if the server was told to stop meanwhile.

        Raises StartError if a hook fails, or if the time is over."""
        if self._stop.is_set():
            close = getattr(hooks, "close", None)  # a coroutine that was not started
            if close is not None:
                close()
            return False
        self.running = True
        try:
            ended = await in_time(self._until, "the end of the start hooks", _explained(hooks))
        except asyncio.CancelledError:
            if not self._stop.is_set() or self._task is None:
                raise
            self._task.uncancel()
            return False
        finally:
            self.running = False
        if not ended:
            raise StartError(self.late)
        return True

    def cancel(self) -> None:
        """Cancel the hooks that are running."""
        if self.running and self._task is not None:
            self._task.cancel()


async def _explained(hooks: Awaitable[None]) -> None:
    """Await hooks. A StartError is raised as it is; other errors become a StartError."""
    try:
        await hooks
    except StartError:
        raise
    except RouteError as error:
        raise StartError(str(error)) from error
    except Exception as error:
        logger.exception("a start hook failed")
        raise StartError(f"a start hook failed: {type(error).__name__}: {error}") from error

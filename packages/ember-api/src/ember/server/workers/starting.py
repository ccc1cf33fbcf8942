"""The start hooks of a server: how long they may take, what their failure says, and how a signal
ends them."""

from __future__ import annotations

import asyncio
import logging
from collections.abc import Awaitable

from ember.routing.router import RouteError
from ember.server.options import StartError
from ember.server.workers.ending import in_time

logger = logging.getLogger("ember.server")


class Start:
    """The start of one server, which has `limit` seconds from now (None: for ever); in the task
    that makes this. `stop` is set when it was told to stop."""

    def __init__(self, limit: float | None, stop: asyncio.Event) -> None:
        self._limit = limit
        self._stop = stop
        self._until = None if limit is None else asyncio.get_running_loop().time() + limit
        self._task = asyncio.current_task()
        #: hooks are being run
        self.running = False

    @property
    def late(self) -> str:
        """What is said of a start that takes too long."""
        limit = 0.0 if self._limit is None else self._limit
        return f"the start hooks took longer than start_timeout={limit:g} s"

    async def run(self, hooks: Awaitable[None]) -> bool:
        """Run start hooks; False when they were told to stop meanwhile. In this very task, which
        leaves what they enter. Raises StartError, also when the time is over."""
        if self._stop.is_set():
            close = getattr(hooks, "close", None)  # a coroutine that is not begun
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
        """End the hooks that are being run."""
        if self.running and self._task is not None:
            self._task.cancel()


async def _explained(hooks: Awaitable[None]) -> None:
    """A StartError of theirs is their own one line, others are explained."""
    try:
        await hooks
    except StartError:
        raise
    except RouteError as error:
        raise StartError(str(error)) from error
    except Exception as error:
        logger.exception("a start hook failed")
        raise StartError(f"a start hook failed: {type(error).__name__}: {error}") from error

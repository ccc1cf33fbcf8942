"""Work that is done after the response was sent."""

from __future__ import annotations

import logging
from collections.abc import Callable
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    import asyncio

logger = logging.getLogger("ember.background")


class Pending:
    """Counts the unfinished work after responses, so that a stopping server can wait for it."""

    __slots__ = ("_count", "_idle")

    def __init__(self) -> None:
        self._count = 0
        self._idle: asyncio.Future[None] | None = None

    def __len__(self) -> int:
        return self._count

    def begin(self) -> None:
        """Count one more."""
        self._count += 1

    def end(self) -> None:
        """Count one less."""
        self._count -= 1
        if not self._count and self._idle is not None and not self._idle.done():
            self._idle.set_result(None)

    async def wait_idle(self, seconds: float) -> None:
        """Wait until all work is done, at most `seconds`. Unfinished work is logged."""
        import asyncio

        if not self._count:
            return
        self._idle = asyncio.get_running_loop().create_future()
        try:
            await asyncio.wait_for(self._idle, seconds)
        except TimeoutError:
            logger.warning("%d background tasks did not end within %g s", self._count, seconds)
        finally:
            self._idle = None


class BackgroundTasks:
    """Functions that are called after the response was sent, in order. A handler gets it by its
    annotation.

    If a function fails, or is cancelled by what it awaits, the error is logged and the next ones
    run. If the server's time to stop is over, the rest does not run, and the log names it. A plain
    function runs in the thread pool.
    """

    __slots__ = ("_run_in_thread", "_tasks")

    def __init__(self, run_in_thread: Callable[..., Any] | None = None) -> None:
        self._tasks: list[tuple[Callable[..., Any], tuple[Any, ...], dict[str, Any]]] = []
        self._run_in_thread = run_in_thread

    def add_task(self, function: Callable[..., Any], *args: Any, **kwargs: Any) -> None:
        """Call `function(*args, **kwargs)` after the response was sent."""
        if not callable(function):
            raise TypeError(f"add_task({function!r}): expected a function")
        self._tasks.append((function, args, kwargs))

    def __len__(self) -> int:
        return len(self._tasks)

    async def __call__(self) -> None:
        """Run the functions; called after the response was sent."""
        import inspect

        # A task may add others.
        while self._tasks:
            function, args, kwargs = self._tasks.pop(0)
            try:
                if self._run_in_thread is None or inspect.iscoroutinefunction(function):
                    result = function(*args, **kwargs)
                else:
                    result = await self._run_in_thread(function, *args, **kwargs)
                if hasattr(type(result), "__await__"):
                    await result
            except BaseException as error:
                from ember._interrupts import from_signal

                if from_signal(error) or isinstance(error, GeneratorExit):
                    raise
                if _is_stopped(error):
                    self._drop(function)
                    raise
                # SystemExit as well: a task of one request does not end the server.
                logger.exception("background task %s failed", _name(function))

    def _drop(self, stopped: Callable[..., Any]) -> None:
        """Log the cancelled function and those that will not run."""
        never = ", ".join(_name(function) for function, _, _ in self._tasks)
        self._tasks.clear()
        also = f"; these did not run: {never}" if never else ""
        logger.error("background task %s was cancelled%s", _name(stopped), also)


def _name(function: Callable[..., Any]) -> str:
    return getattr(function, "__qualname__", repr(function))


def _is_stopped(error: BaseException) -> bool:
    """Whether the task that runs the functions was cancelled, not only something they await."""
    import asyncio

    task = asyncio.current_task() if isinstance(error, asyncio.CancelledError) else None
    return task is not None and task.cancelling() > 0

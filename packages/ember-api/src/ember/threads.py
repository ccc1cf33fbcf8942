"""The threads that run `def` handlers, so that one that blocks never blocks the loop."""

from __future__ import annotations

import asyncio
import contextvars
import logging
import threading
from collections import deque
from collections.abc import Callable
from typing import Any

logger = logging.getLogger("ember.threads")

#: Enough that a few dozen handlers can wait for something at once, as Starlette's limiter has it.
DEFAULT_WORKERS = 40

THREAD_NAME = "ember-worker"

_Job = tuple[
    "asyncio.Future[Any]",
    asyncio.AbstractEventLoop,
    contextvars.Context,
    Callable[..., Any],
    tuple[Any, ...],
    dict[str, Any],
]


class ThreadPool:
    """Up to `workers` daemon threads, started as they are needed.

    They are daemons because a handler that never returns must not keep the process alive beyond
    `shutdown_timeout`.
    """

    def __init__(self, workers: int | None = None) -> None:
        workers = DEFAULT_WORKERS if workers is None else workers
        if isinstance(workers, bool) or not isinstance(workers, int) or workers < 1:
            raise ValueError(f"thread_pool_workers={workers!r}: expected a whole number, 1 or more")
        self.workers = workers
        self._jobs: deque[_Job] = deque()
        self._changed = threading.Condition(threading.Lock())
        self._threads = 0
        self._idle = 0
        self._closed = False

    async def run(self, function: Callable[..., Any], *args: Any, **kwargs: Any) -> Any:
        """Call `function` in a thread, inside a copy of the caller's context.

        When the caller is cancelled, a call that has not begun never does; one that has begun
        runs to its end, its result is dropped and its error is logged.
        """
        loop = asyncio.get_running_loop()
        future: asyncio.Future[Any] = loop.create_future()
        job = (future, loop, contextvars.copy_context(), function, args, kwargs)
        with self._changed:
            if self._closed:
                raise RuntimeError("the server has stopped; no more work for its threads")
            self._jobs.append(job)
            if self._idle >= len(self._jobs):
                self._changed.notify()
            elif self._threads < self.workers:
                self._threads += 1
                name = f"{THREAD_NAME}-{self._threads}"
                threading.Thread(target=self._work, name=name, daemon=True).start()
        return await future

    def close(self) -> None:
        """Let the threads end after what they are doing; what waits for one is cancelled."""
        with self._changed:
            self._closed = True
            waiting = list(self._jobs)
            self._jobs.clear()
            self._changed.notify_all()
        for future, loop, *_ in waiting:
            if not loop.is_closed():
                loop.call_soon_threadsafe(future.cancel)

    def _work(self) -> None:
        while True:
            with self._changed:
                while not self._jobs:
                    if self._closed:
                        self._threads -= 1
                        return
                    self._idle += 1
                    self._changed.wait()
                    self._idle -= 1
                future, loop, context, function, args, kwargs = self._jobs.popleft()
            if future.cancelled():
                continue
            result, error = None, None
            try:
                result = context.run(function, *args, **kwargs)
            except BaseException as raised:  # noqa: BLE001 - handed to the one who waits
                error = raised
            try:
                loop.call_soon_threadsafe(_settle, future, result, error, function)
            except RuntimeError:  # the loop was closed while the handler ran
                if error is not None:
                    _log_late(function, error)
            # An idle thread keeps nothing of its last request alive.
            del future, loop, context, function, args, kwargs, result, error


def _settle(
    future: asyncio.Future[Any],
    result: Any,
    error: BaseException | None,
    function: Callable[..., Any],
) -> None:
    if future.done():
        if error is not None:
            _log_late(function, error)
    elif error is None:
        future.set_result(result)
    elif isinstance(error, StopIteration):
        # A future cannot carry it: it would end the coroutine that awaits.
        wrapped = RuntimeError("handler raised StopIteration")
        wrapped.__cause__ = error
        future.set_exception(wrapped)
    else:
        future.set_exception(error)


def _log_late(function: Callable[..., Any], error: BaseException) -> None:
    name = getattr(function, "__qualname__", repr(function))
    logger.error("%s failed after its request had been given up", name, exc_info=error)

"""Waiting for an async iterator in the task that asks, and yet waking up before it has an item.

A task for each item would be the plain way: `asyncio.wait((next_item, ...), timeout=...)`. It costs
several times what an item does, and gives the iterator another task at every step, so that nothing
entered in one step (a timeout, a task group) can be left in another. Here the iterator is stepped
by hand: what it waits for is handed to the task with `Interruptible` standing in between, which
can wake the task although the future is not done, and wait for the same future again afterwards.
"""

from __future__ import annotations

from asyncio import AbstractEventLoop, CancelledError, TimerHandle
from collections.abc import AsyncIterator, Awaitable, Callable, Generator
from contextvars import Context
from types import coroutine
from typing import Any, Final

#: What `resume` gives when it was woken before there was an item.
INTERRUPTED: Final = object()


class Interruptible:
    """A future to the task that waits for it: done whenever what the iterator awaits is, or else
    after `interval` seconds (None: never), or when it is stopped.

    One task uses it, for one iterator.
    """

    __slots__ = (
        "__weakref__",
        "_asyncio_future_blocking",
        "_closing",
        "_context",
        "_future",
        "_interval",
        "_since",
        "_step",
        "_timer",
        "_wake",
        "loop",
        "stopped",
    )

    def __init__(self, loop: AbstractEventLoop, interval: float | None) -> None:
        self.loop = loop
        self.stopped = False
        self._interval = interval
        self._asyncio_future_blocking = False
        self._step: Any = None  # the iterator's __anext__() under way
        self._future: Any = None  # what it waits for
        self._wake: Callable[[Any], object] | None = None  # the task that waits for us
        self._context: Context | None = None
        self._since = 0.0
        self._timer: TimerHandle | None = None
        self._closing = False

    @property
    def step(self) -> Any:
        """What the iterator is doing: its `__anext__()` under way, None between two items."""
        return self._step

    def stop(self) -> None:
        """Wake the task now, and let it not wait for the iterator again."""
        self.stopped = True
        self._interrupt()

    def resume(self, source: AsyncIterator[Any]) -> Awaitable[Any]:
        """The next item; INTERRUPTED when there is none yet, to be called again for the same one.

        Raises what the iterator raises, StopAsyncIteration at its end.
        """
        if self._step is None:
            step: Any = source.__anext__()
            self._step = step if hasattr(step, "send") else _as_coroutine(step)
        return self._go_on(None)

    @coroutine
    def _go_on(self, error: BaseException | None) -> Generator[Any, Any, Any]:
        while True:
            if self._future is None:
                try:
                    if error is None:
                        future = self._step.send(None)
                    else:
                        future = self._step.throw(error)
                except StopIteration as end:
                    self._step = None
                    return end.value
                except BaseException:
                    self._step = None
                    raise
                error = None
                if not getattr(future, "_asyncio_future_blocking", False):
                    # One turn of the loop, or a mistake that the task will name.
                    try:
                        yield future
                    except BaseException as thrown:  # noqa: BLE001 - it is the iterator's
                        error = thrown
                    continue
                future._asyncio_future_blocking = False
                self._future = future
                if self._interval is not None:
                    self._since = self.loop.time()
                    if self._timer is None:
                        self._timer = self.loop.call_later(self._interval, self._tick)
            self._asyncio_future_blocking = True
            try:
                yield self
            except BaseException as thrown:  # noqa: BLE001 - it is the iterator's
                self._let_go()
                self._future, error = None, thrown
                continue
            if not self._future.done():
                self._since = self.loop.time()
                return INTERRUPTED
            self._future = None

    async def close(self, source: AsyncIterator[Any]) -> None:
        """Cancel the step under way, as cancelling a task would, and close the iterator."""
        if self._timer is not None:
            self._timer.cancel()
        self._closing, self._interval = True, None
        if self._step is not None:
            try:
                await self._cancel()
            except (CancelledError, StopAsyncIteration):
                pass
            except Exception as error:  # noqa: BLE001 - there is nobody left to tell but the log
                self.loop.call_exception_handler(
                    {"message": "an SSE generator failed while it was closed", "exception": error}
                )
        close = getattr(source, "aclose", None)
        if close is not None:
            await close()

    def _cancel(self) -> Awaitable[Any]:
        error = None
        if self._future is None or not self._future.cancel():
            self._future, error = None, CancelledError()
        return self._go_on(error)

    def _tick(self) -> None:
        """Silent for long enough? Else look again when it may be."""
        if self._interval is None:
            return
        left = self._since + self._interval - self.loop.time()
        if self._wake is None:
            left = self._interval
        elif left <= 0:
            left = self._interval
            self._interrupt()
        self._timer = self.loop.call_later(left, self._tick)

    def _interrupt(self) -> None:
        wake = self._wake
        if wake is not None and not self._closing and not self._future.done():
            self._let_go()
            self.loop.call_soon(wake, self, context=self._context)

    def _let_go(self) -> None:
        if self._wake is not None:
            self._wake = None
            self._future.remove_done_callback(self._future_done)

    def _future_done(self, future: Any) -> None:
        wake = self._wake
        if wake is not None and future is self._future:
            self._wake = None
            wake(self)

    # ---- what a task asks of a future ------------------------------------------------------

    def get_loop(self) -> AbstractEventLoop:
        """The loop of what is waited for: a task refuses another one than its own."""
        loop: AbstractEventLoop = self._future.get_loop()
        return loop

    def add_done_callback(
        self, callback: Callable[[Any], object], *, context: Context | None = None
    ) -> None:
        """Called by the task that waits, once for each time."""
        self._wake, self._context = callback, context
        self._future.add_done_callback(self._future_done, context=context)

    def cancel(self, msg: Any = None) -> bool:
        """The task is cancelled: so is what it waits for."""
        return bool(self._future is not None and self._future.cancel(msg=msg))

    def done(self) -> bool:
        """Whether the task is to be woken."""
        return self._wake is None

    def result(self) -> None:
        """Nothing: the iterator takes the result from its own future."""


async def _as_coroutine(awaitable: Awaitable[Any]) -> Any:
    return await awaitable

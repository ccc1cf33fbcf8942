"""Waits for the next item of an async iterator, with a time limit and without a task for each item.

The simple way is a task for each item: `asyncio.wait((next_item, ...), timeout=...)`. It is several
times slower. It also runs each step of the iterator in another task, so that a timeout or a task
group cannot be entered in one step and exited in another. Here the iterator is stepped by hand.
`Interruptible` stands between the task and the future that the iterator awaits: it can wake the
task before the future is done, and wait for the same future again later.
"""

from __future__ import annotations

from asyncio import AbstractEventLoop, CancelledError, TimerHandle
from collections.abc import AsyncIterator, Awaitable, Callable, Generator
from contextvars import Context
from types import coroutine
from typing import Any, Final

#: The result of `resume` if it was woken before there was an item.
INTERRUPTED: Final = object()


class Interruptible:
    """Looks like a future to the task that awaits it. It is done when the future of the iterator is
    done, after `interval` seconds (None: no limit), or when it is stopped.

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
        self._step: Any = None  # the running __anext__() of the iterator
        self._future: Any = None  # the future that it awaits
        self._wake: Callable[[Any], object] | None = None  # wakes the task that awaits this
        self._context: Context | None = None
        self._since = 0.0
        self._timer: TimerHandle | None = None
        self._closing = False

    @property
    def step(self) -> Any:
        """The running `__anext__()` of the iterator; None between two items."""
        return self._step

    def stop(self) -> None:
        """Wake the task now; `stopped` tells it not to wait for the iterator again."""
        self.stopped = True
        self._interrupt()

    def resume(self, source: AsyncIterator[Any]) -> Awaitable[Any]:
        """The next item. INTERRUPTED if there is none yet: call it again for the same item.

        Raises the exceptions of the iterator, StopAsyncIteration at its end.
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
                    # `asyncio.sleep(0)`, or an invalid value for which the task raises an error.
                    try:
                        yield future
                    except BaseException as thrown:  # noqa: BLE001 - raised in the iterator
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
            except BaseException as thrown:  # noqa: BLE001 - raised in the iterator
                self._detach()
                self._future, error = None, thrown
                continue
            if not self._future.done():
                self._since = self.loop.time()
                return INTERRUPTED
            self._future = None

    async def close(self, source: AsyncIterator[Any]) -> None:
        """Cancel the running step, as cancelling a task would, and close the iterator."""
        if self._timer is not None:
            self._timer.cancel()
        self._closing, self._interval = True, None
        if self._step is not None:
            try:
                await self._cancel()
            except (CancelledError, StopAsyncIteration):
                pass
            except Exception as error:  # noqa: BLE001 - nobody else can handle it
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
        """Interrupt the task if the interval is over, and set the next timer."""
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
            self._detach()
            self.loop.call_soon(wake, self, context=self._context)

    def _detach(self) -> None:
        if self._wake is not None:
            self._wake = None
            self._future.remove_done_callback(self._future_done)

    def _future_done(self, future: Any) -> None:
        wake = self._wake
        if wake is not None and future is self._future:
            self._wake = None
            wake(self)

    # ---- the interface of a future that a task uses -----------------------------------------

    def get_loop(self) -> AbstractEventLoop:
        """The loop of the awaited future. A task refuses a future of another loop."""
        loop: AbstractEventLoop = self._future.get_loop()
        return loop

    def add_done_callback(
        self, callback: Callable[[Any], object], *, context: Context | None = None
    ) -> None:
        """Called by the task each time it starts to wait."""
        self._wake, self._context = callback, context
        self._future.add_done_callback(self._future_done, context=context)

    def cancel(self, msg: Any = None) -> bool:
        """The task was cancelled: cancel the awaited future."""
        return bool(self._future is not None and self._future.cancel(msg=msg))

    def done(self) -> bool:
        """Whether the task has been woken."""
        return self._wake is None

    def result(self) -> None:
        """None: the iterator gets the result from its own future."""


async def _as_coroutine(awaitable: Awaitable[Any]) -> Any:
    return await awaitable

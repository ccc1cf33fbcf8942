"""Of N concurrent calls for one key, one does the work; all get what comes of it.

What is decided here, and tested:

- The work runs in a task of its own, in a copy of the first caller's context. A caller that is
  cancelled leaves; the work goes on for the others. When the last one leaves, the work is
  cancelled and forgotten at once: the next call starts again.
- The work fails: every waiter gets that error at once, with the traceback and context that the work
  gave it and its own frames, not those of the waiters before it; the next call starts again.
- The work is cancelled by somebody else: every waiter gets `WorkCancelled`. Not `CancelledError`,
  which would look as if the waiter itself had been cancelled.
- The work waits, directly or through others, for itself: that caller works on its own, as it would
  without a cache, instead of waiting for ever.
- The loop it was started on is gone: the flight is forgotten, never joined.
"""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable, Hashable, Iterable
from contextvars import ContextVar
from types import TracebackType
from typing import Any, Final, Generic, TypeVar

__all__ = ["Alone", "Flight", "SingleFlight", "Work", "WorkCancelled"]

T = TypeVar("T")


class WorkCancelled(RuntimeError):
    """The shared work was cancelled by somebody who was not waiting for it."""


class Alone(Generic[T]):
    """A result for the first caller alone: what work returns when nobody else may see its value.

    The other waiters then do their own work, each in its own task.
    """

    __slots__ = ("value",)

    def __init__(self, value: T) -> None:
        self.value = value


class Flight:
    """One piece of work and those who wait for it."""

    __slots__ = (
        "_error",
        "_leader",
        "_raised",
        "_untold",
        "_waiters",
        "blocked_on",
        "detached",
        "dropped",
        "key",
        "loop",
        "tags",
        "task",
    )

    def __init__(
        self,
        key: Hashable,
        tags: frozenset[str],
        loop: asyncio.AbstractEventLoop,
        detached: bool,
    ) -> None:
        self.key = key
        self.tags = tags
        self.loop = loop
        self.detached = detached
        """Goes on without waiters (a refresh in the background)."""
        self.dropped = False
        """Something was invalidated since it began: its result must not be stored."""
        self.task: asyncio.Task[Any] | None = None
        self.blocked_on: list[Flight] = []
        """The flights that this one's work is waiting for; only to find circles."""
        self._waiters: dict[asyncio.Future[Any], None] = {}
        self._leader: asyncio.Future[Any] | None = None
        self._error: BaseException | None = None
        self._raised: tuple[TracebackType | None, BaseException | None] = (None, None)
        self._untold = 0

    @property
    def waiters(self) -> int:
        return len(self._waiters)

    def waits_for(self, other: Flight) -> bool:
        """Whether this flight cannot end before `other` does."""
        seen: set[int] = set()
        left = [self]
        while left:
            flight = left.pop()
            if flight is other:
                return True
            if id(flight) not in seen:
                seen.add(id(flight))
                left.extend(flight.blocked_on)
        return False

    async def wait(self, leader: bool) -> Any:
        # A future each: awaiting the task itself would let one cancelled caller cancel it for all.
        waiter: asyncio.Future[Any] = self.loop.create_future()
        self._waiters[waiter] = None
        if leader:
            self._leader = waiter
        try:
            result = await waiter
            if result is _FAILED:
                self._raise()
            return result
        finally:
            self._waiters.pop(waiter, None)
            if self._untold:
                self._untold -= 1
                if not self._untold:
                    # Their frames lead here: that would be a circle.
                    self._error, self._raised = None, (None, None)

    def land(self, task: asyncio.Task[Any]) -> None:
        waiters, self._waiters = self._waiters, {}
        error: BaseException | None
        if task.cancelled():
            error = WorkCancelled(f"the work for {self.key!r} was cancelled")
        else:
            error = task.exception()
            if isinstance(error, _Ends):
                error = error.error
        self.task = None  # it refers to its error for ever
        if error is not None and waiters:
            # Not as the exception of the waiters' futures: each of them would add its frames to it,
            # and the error that its caller is handling just then.
            self._error = error
            self._raised = error.__traceback__, error.__context__
            self._untold = len(waiters)
        result = task.result() if error is None else _FAILED
        del error
        alone = isinstance(result, Alone)
        for waiter in waiters:
            if not waiter.done():
                waiter.set_result(_NOT_SHARED if alone and waiter is not self._leader else result)

    def _raise(self) -> None:
        """Raise the error as the work did, without what those who waited have added to it."""
        error = self._error
        assert error is not None
        traceback, context = self._raised
        try:
            raise error.with_traceback(traceback)
        except BaseException:
            error.__context__ = context
            raise
        finally:
            del error, traceback, context  # this frame is part of the traceback


class _Ends(Exception):
    """What work raised that would end the loop, had its task raised it; it is for the waiters."""

    def __init__(self, error: BaseException) -> None:
        super().__init__(f"the work raised {type(error).__name__}")
        self.error = error


_FAILED: Final = object()
_NOT_SHARED: Final = object()
_current: ContextVar[Flight | None] = ContextVar("ember.cache.flight", default=None)


Work = Callable[["Flight | None"], Awaitable[Any]]
"""What is to be done once. It gets its flight, or None when it is done beside any flight, for one
caller only."""


class SingleFlight:
    """`await flights.do(key, work)`: concurrent calls with an equal key share one `work(flight)`.

    Belongs to one thread at a time; calls on different event loops never share.
    """

    __slots__ = ("_flights", "joined", "started")

    def __init__(self) -> None:
        self._flights: dict[Hashable, Flight] = {}
        self.started = 0
        """How often work was begun."""
        self.joined = 0
        """How many calls found the work already begun."""

    def __len__(self) -> int:
        return len(self._flights)

    def __contains__(self, key: Hashable) -> bool:
        return key in self._flights

    async def do(self, key: Hashable, work: Work, *, tags: Iterable[str] = ()) -> Any:
        """The result of `work`, begun by this call or by an earlier one that is not done yet.

        `tags` only matter to `drop`. Raises what `work` raises, and `WorkCancelled`.
        """
        flight = self._flights.get(key)
        me = _current.get()
        if flight is None or flight.loop is not asyncio.get_running_loop():
            flight = self._start(key, work, tags, detached=False)
            leader = True
        elif me is not None and flight.waits_for(me):
            return _unwrap(await work(None))
        else:
            self.joined += 1
            leader = False
        if me is not None:
            me.blocked_on.append(flight)
        try:
            result = await flight.wait(leader)
        finally:
            if me is not None:
                me.blocked_on.remove(flight)
            if not flight.waiters:
                self._left(flight)
        if result is _NOT_SHARED:
            result = await work(None)
        return _unwrap(result)

    def start(self, key: Hashable, work: Work, *, tags: Iterable[str] = ()) -> Flight | None:
        """Begin `work` for nobody in particular; it goes on whoever joins or leaves.

        None when work for this key is under way. Its failure is for the caller to handle inside
        `work`: here it reaches those who joined, and nobody else.
        """
        flight = self._flights.get(key)
        if flight is not None and flight.loop is asyncio.get_running_loop():
            return None
        return self._start(key, work, tags, detached=True)

    def drop(self, predicate: Callable[[Flight], bool] | None = None) -> int:
        """Forget the flights that match: who waits gets the result, later calls start again."""
        found = [f for f in self._flights.values() if predicate is None or predicate(f)]
        for flight in found:
            flight.dropped = True
            del self._flights[flight.key]
            if flight.detached and not flight.waiters and flight.task is not None:
                flight.task.cancel()  # nobody waits and nothing will be stored
        return len(found)

    async def close(self) -> None:
        """Cancel what is under way on this loop; its waiters get `WorkCancelled`."""
        loop = asyncio.get_running_loop()
        tasks = [f.task for f in self._flights.values() if f.task is not None and f.loop is loop]
        self.drop()
        for task in tasks:
            task.cancel()
        if tasks:
            await asyncio.wait(tasks)

    def _start(
        self,
        key: Hashable,
        work: Work,
        tags: Iterable[str],
        *,
        detached: bool,
    ) -> Flight:
        loop = asyncio.get_running_loop()
        flight = Flight(key, frozenset(tags), loop, detached)

        async def run() -> Any:
            _current.set(flight)  # in the context of this task only
            try:
                return await work(flight)
            except (SystemExit, KeyboardInterrupt) as error:
                raise _Ends(error) from error

        # First: an eager task runs at once, and what it starts has to find this flight.
        self._flights[key] = flight
        self.started += 1
        flight.task = loop.create_task(run(), name=f"ember.cache {key!r}")
        flight.task.add_done_callback(lambda task: self._landed(flight, task))
        return flight

    def _landed(self, flight: Flight, task: asyncio.Task[Any]) -> None:
        self._forget(flight)
        flight.land(task)

    def _left(self, flight: Flight) -> None:
        """The last waiter went: on success there is nothing to do, else nobody wants the work."""
        if flight.detached or flight.task is None or flight.task.done():
            return
        self._forget(flight)
        flight.dropped = True
        flight.task.cancel()

    def _forget(self, flight: Flight) -> None:
        if self._flights.get(flight.key) is flight:
            del self._flights[flight.key]


def _unwrap(result: Any) -> Any:
    return result.value if isinstance(result, Alone) else result

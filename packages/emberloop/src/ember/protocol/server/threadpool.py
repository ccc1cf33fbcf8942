"""Threads for what would block the loop: a pool with a bound, and the server's own few threads.

The threads are daemons, and no `atexit` function joins them: a call that never returns must not
keep the process alive beyond `shutdown_timeout`.
"""

from __future__ import annotations

import asyncio
import contextvars
import logging
import os
import threading
from collections import OrderedDict
from concurrent.futures import Future

from ember.exceptions import ServiceUnavailable

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Callable
    from typing import Any, TypeVar

    T = TypeVar("T")

logger = logging.getLogger("ember.threads")

#: Enough that a few dozen handlers can wait for something at once, as Starlette's limiter has it.
DEFAULT_WORKERS = 40
#: Calls of `def` handlers that may wait for a thread; see `ServerLimits.max_thread_queue`.
DEFAULT_QUEUE = 1000
#: What the names of the threads of handlers begin with.
THREAD_NAME = "ember-worker"
#: Threads for the server's own short work: files, names, compression.
SHORT_WORKERS = 4
#: Seconds that a refused client is asked to wait.
RETRY_AFTER = "1"


class NoThread(ServiceUnavailable, RuntimeError):
    """The system gives no thread, and there is none."""


class _Job:
    """A call that an asyncio future waits for."""

    __slots__ = ("_args", "_context", "_function", "_kwargs", "ended", "future", "loop", "resolved")

    def __init__(
        self,
        loop: asyncio.AbstractEventLoop,
        function: Callable[..., Any],
        args: tuple[Any, ...],
        kwargs: dict[str, Any],
    ) -> None:
        self.loop = loop
        self.future: asyncio.Future[Any] = loop.create_future()
        #: done when the thread is, for whoever waits although the call was given up
        self.ended: asyncio.Future[None] | None = None
        self.resolved = False
        self._context = contextvars.copy_context()
        self._function = function
        self._args = args
        self._kwargs = kwargs

    def run(self) -> None:
        """In the thread."""
        result, error = None, None
        try:
            result = self._context.run(self._function, *self._args, **self._kwargs)
        except BaseException as raised:  # noqa: BLE001 - handed to the one who waits
            error = raised
        try:
            self.loop.call_soon_threadsafe(self._resolve, result, error)
        except RuntimeError:  # the loop was closed while the function ran
            if error is not None:
                _log_late(self._function, error)

    def cancel(self) -> None:
        """It will not be run: the pool was closed."""
        if not self.loop.is_closed():
            self.loop.call_soon_threadsafe(self.future.cancel)

    def give_up(self) -> asyncio.Future[None] | None:
        """Nobody waits for the result any more; a future for the end of the thread, None when it
        has ended."""
        if self.resolved:
            return None
        self.ended = self.loop.create_future()
        return self.ended

    def _resolve(self, result: Any, error: BaseException | None) -> None:
        self.resolved = True
        future = self.future
        if future.done():
            if error is not None:
                _log_late(self._function, error)
        elif error is None:
            future.set_result(result)
        elif isinstance(error, StopIteration):
            # A future cannot carry it: it would end the coroutine that awaits.
            wrapped = RuntimeError("handler raised StopIteration")
            wrapped.__cause__ = error
            future.set_exception(wrapped)
        else:
            future.set_exception(error)
        if self.ended is not None and not self.ended.done():
            self.ended.set_result(None)


class _Submitted:
    """A call that a `concurrent.futures.Future` waits for."""

    __slots__ = ("_call", "future")

    def __init__(self, future: Future[Any], call: Callable[[], Any]) -> None:
        self.future = future
        self._call = call

    def run(self) -> None:
        """In the thread."""
        if not self.future.set_running_or_notify_cancel():
            return
        try:
            result = self._call()
        except BaseException as error:  # noqa: BLE001 - handed to the one who waits
            self.future.set_exception(error)
        else:
            self.future.set_result(result)

    def cancel(self) -> None:
        """It will not be run: the pool was closed."""
        self.future.cancel()


class ThreadPool:
    """Up to `workers` threads, started as they are needed.

    `max_queue`: how many calls of `run_or_refuse` may wait for a thread. When the system gives no
    more threads, those that there are do the work; when there is none, the call raises
    NoThread (503), and the next one tries again. Raises ValueError for less than one worker.
    """

    def __init__(
        self,
        workers: int | None = None,
        max_queue: int = DEFAULT_QUEUE,
        *,
        name: str = THREAD_NAME,
    ) -> None:
        workers = DEFAULT_WORKERS if workers is None else workers
        if isinstance(workers, bool) or not isinstance(workers, int) or workers < 1:
            raise ValueError(f"thread_pool_workers={workers!r}: expected a whole number, 1 or more")
        self.workers = workers
        self.max_queue = max_queue
        self._name = name
        self._jobs: OrderedDict[_Job | _Submitted, None] = OrderedDict()
        self._changed = threading.Condition(threading.Lock())
        self._threads = 0
        self._idle = 0
        self._busy: set[int] = set()  # threads that do something, by their idents
        self._closed = False

    @property
    def waiting(self) -> int:
        """How many calls wait for a thread."""
        return len(self._jobs)

    def running(self) -> frozenset[int]:
        """The idents of the threads that do something."""
        with self._changed:
            return frozenset(self._busy)

    async def run(self, function: Callable[..., Any], *args: Any, **kwargs: Any) -> Any:
        """Call `function` in a thread, inside a copy of the caller's context.

        When the caller is cancelled, a call that has not begun never does; one that has begun
        runs to its end, its result is dropped and its error is logged. `thread_of` gives what to
        wait for then. Raises NoThread when none can be had.
        """
        job = _Job(asyncio.get_running_loop(), function, args, kwargs)
        self._add(job, refuse=False)
        return await self._result(job)

    async def run_or_refuse(self, function: Callable[..., Any], *args: Any, **kwargs: Any) -> Any:
        """`run`, which raises ServiceUnavailable (503 with Retry-After) when `max_queue` calls wait
        already."""
        job = _Job(asyncio.get_running_loop(), function, args, kwargs)
        self._add(job, refuse=True)
        return await self._result(job)

    async def _result(self, job: _Job) -> Any:
        try:
            return await job.future
        except asyncio.CancelledError as error:
            if not self._forget(job):
                error.thread = job.give_up()  # type: ignore[attr-defined]
            raise

    def submit(self, call: Callable[[], Any]) -> Future[Any]:
        """Call `call` in a thread; for who has no loop. Cancelled in time it is never called."""
        future: Future[Any] = Future()
        job = _Submitted(future, call)
        self._add(job, refuse=False)

        def over(future: Future[Any]) -> None:
            if future.cancelled():
                self._forget(job)

        future.add_done_callback(over)
        return future

    def close(self) -> None:
        """Let the threads end after what they are doing; what waits for one is cancelled."""
        with self._changed:
            self._closed = True
            waiting = list(self._jobs)
            self._jobs.clear()
            self._changed.notify_all()
        for job in waiting:
            job.cancel()

    def _add(self, job: _Job | _Submitted, *, refuse: bool) -> None:
        with self._changed:
            if self._closed:
                raise RuntimeError("the server has stopped; no more work for its threads")
            free = self.workers - len(self._busy)  # also of those that have not begun yet
            if refuse and len(self._jobs) >= free + self.max_queue:
                raise ServiceUnavailable(
                    "all threads are busy, and too many requests wait for one",
                    {"Retry-After": RETRY_AFTER},
                )
            self._jobs[job] = None
            if self._idle >= len(self._jobs):
                self._changed.notify()
            elif self._threads < self.workers:
                self._start(job)

    def _start(self, job: _Job | _Submitted) -> None:
        """One thread more; without one `job` is left to the others."""
        self._threads += 1
        try:
            name = f"{self._name}-{self._threads}"
            threading.Thread(target=self._work, name=name, daemon=True).start()
        except (RuntimeError, MemoryError) as error:
            self._threads -= 1
            if not self._threads:
                del self._jobs[job]
                logger.error("no thread can be started, and none is running: %s", error)
                raise NoThread("no thread can be started", {"Retry-After": RETRY_AFTER}) from error
            logger.warning("no more than %d threads can be started: %s", self._threads, error)

    def _forget(self, job: _Job | _Submitted) -> bool:
        """Take `job` out of the queue; whether it was there, and so never begins."""
        with self._changed:
            if job not in self._jobs:
                return False
            del self._jobs[job]
            return True

    def _work(self) -> None:
        try:
            while (job := self._next()) is not None:
                try:
                    job.run()
                finally:
                    with self._changed:
                        self._busy.discard(threading.get_ident())
                # An idle thread keeps nothing of its last request alive.
                del job
        finally:
            with self._changed:
                self._threads -= 1

    def _next(self) -> _Job | _Submitted | None:
        with self._changed:
            while not self._jobs:
                if self._closed:
                    return None
                self._idle += 1
                try:
                    self._changed.wait()
                finally:
                    self._idle -= 1
            self._busy.add(threading.get_ident())
            return self._jobs.popitem(last=False)[0]


def thread_of(error: BaseException) -> asyncio.Future[None] | None:
    """Where a cancellation has given up a call that still runs in a thread: a future for its end.
    None where nothing runs on."""
    ended: asyncio.Future[None] | None = getattr(error, "thread", None)
    return None if ended is None or ended.done() else ended


async def run_whole(function: Callable[..., Any], *args: Any) -> Any:
    """Call `function` in a thread of the loop's executor, in a copy of this context; cancelled,
    first wait until the thread has ended, since the caller will close what it uses. A call that has
    not begun by then does nothing. Cancelled again it waits no longer."""
    context, given_up = contextvars.copy_context(), False

    def call() -> Any:
        return None if given_up else context.run(function, *args)

    running = asyncio.get_running_loop().run_in_executor(None, call)
    try:
        return await asyncio.shield(running)
    except asyncio.CancelledError:
        given_up = True
        await asyncio.wait((running,))
        raise


_short: ThreadPool | None = None


def short_pool() -> ThreadPool:
    """The server's own few threads."""
    global _short
    if _short is None:
        _short = ThreadPool(SHORT_WORKERS, name="ember-short")
    return _short


async def run_short(function: Callable[..., T], *args: Any) -> T:
    """Call `function`, Ember's own and soon over, in a thread that no handler can hold."""
    result: T = await short_pool().run(function, *args)
    return result


def _after_fork() -> None:
    global _short
    _short = None  # its threads are not in the child


if hasattr(os, "register_at_fork"):
    os.register_at_fork(after_in_child=_after_fork)


def _log_late(function: Callable[..., Any], error: BaseException) -> None:
    name = getattr(function, "__qualname__", repr(function))
    logger.error("%s failed after its request had been given up", name, exc_info=error)

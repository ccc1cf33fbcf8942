"""The thread pool of an application as the default executor of its loop."""

from __future__ import annotations

from concurrent.futures import Future, ThreadPoolExecutor
from typing import TYPE_CHECKING, Any

from ember.protocol.server.threadpool import short_pool

if TYPE_CHECKING:
    from collections.abc import Callable

    from ember.concurrency.threads import ThreadPool


class PoolExecutor(ThreadPoolExecutor):
    """Makes the pool of the application the default executor of the loop: one pool, one limit.

    DNS look-ups of asyncio run in threads of the server instead: handlers that wait for a
    connection may use up the pool.
    """

    def __init__(self, pool: Callable[[], ThreadPool]) -> None:
        super().__init__(1)  # starts no thread by itself
        self._pool = pool

    def submit(self, fn: Callable[..., Any], /, *args: Any, **kwargs: Any) -> Future[Any]:
        """Call `fn` in a thread of the pool."""
        pool = short_pool() if getattr(fn, "__module__", "") == "socket" else self._pool()
        return pool.submit(lambda: fn(*args, **kwargs))

    def shutdown(self, wait: bool = True, *, cancel_futures: bool = False) -> None:
        """Do nothing: the application closes its pool, and nobody waits for its threads."""

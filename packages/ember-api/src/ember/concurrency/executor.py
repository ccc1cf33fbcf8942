"""The thread pool of an application as the default executor of its loop."""

from __future__ import annotations

from concurrent.futures import Future, ThreadPoolExecutor
from typing import TYPE_CHECKING, Any

from ember.protocol.server.threadpool import short_pool

if TYPE_CHECKING:
    from collections.abc import Callable

    from ember.concurrency.threads import ThreadPool


class PoolExecutor(ThreadPoolExecutor):
    """`pool` as the default executor of a loop, so that there is one pool and one bound.

    What asyncio itself needs a thread for, names that are looked up, has the server's own threads:
    handlers that wait for a connection must not keep it from being made.
    """

    def __init__(self, pool: Callable[[], ThreadPool]) -> None:
        super().__init__(1)  # starts no thread by itself
        self._pool = pool

    def submit(self, fn: Callable[..., Any], /, *args: Any, **kwargs: Any) -> Future[Any]:
        """Call `fn` in a thread of the pool."""
        pool = short_pool() if getattr(fn, "__module__", "") == "socket" else self._pool()
        return pool.submit(lambda: fn(*args, **kwargs))

    def shutdown(self, wait: bool = True, *, cancel_futures: bool = False) -> None:
        """Nothing: the pool is closed by whom it belongs to, and its threads are not waited for."""

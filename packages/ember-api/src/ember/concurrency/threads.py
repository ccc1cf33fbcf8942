"""The thread pool for `def` handlers: a handler that blocks does not block the event loop.

One pool of the application runs its `def` handlers and dependencies, plain background tasks, sync
streams, and the functions of `asyncio.to_thread`.
"""

from __future__ import annotations

from ember.protocol.server.threadpool import DEFAULT_QUEUE as DEFAULT_QUEUE
from ember.protocol.server.threadpool import DEFAULT_WORKERS as DEFAULT_WORKERS
from ember.protocol.server.threadpool import THREAD_NAME as THREAD_NAME
from ember.protocol.server.threadpool import ThreadPool as ThreadPool
from ember.protocol.server.threadpool import run_short as run_short
from ember.protocol.server.threadpool import thread_of as thread_of

"""The threads that run `def` handlers, so that one that blocks never blocks the loop.

One pool of the application's runs its `def` handlers and dependencies, plain background tasks,
sync streams, and whatever it gives to `asyncio.to_thread`.
"""

from __future__ import annotations

from ember.protocol.server.threadpool import DEFAULT_QUEUE as DEFAULT_QUEUE
from ember.protocol.server.threadpool import DEFAULT_WORKERS as DEFAULT_WORKERS
from ember.protocol.server.threadpool import THREAD_NAME as THREAD_NAME
from ember.protocol.server.threadpool import ThreadPool as ThreadPool
from ember.protocol.server.threadpool import run_short as run_short
from ember.protocol.server.threadpool import thread_of as thread_of

"""How long an end may take, and what ends a process that does not."""

from __future__ import annotations

import _thread
import asyncio
import logging
import os
import sys
import threading
import time
from queue import Empty, SimpleQueue
from typing import TYPE_CHECKING, Any

from ember.workers.stacks import log_running

if TYPE_CHECKING:
    from collections.abc import Awaitable

    from ember.limits import ServerLimits

logger = logging.getLogger("ember.server")

#: Seconds that stop hooks have at least, when requests have used up `shutdown_timeout`.
LEAST_FOR_HOOKS = 2.0
#: Seconds that everything has to end after a second signal.
HURRY = 0.5


def stop_time(limits: ServerLimits) -> float:
    """Seconds from the order to stop to the end of a process, at most."""
    return limits.drain_delay + limits.shutdown_timeout + LEAST_FOR_HOOKS


class Guard:
    """Ends this process when it was told to end and has not after some seconds.

    By a thread, which is started when it is needed: the loop may be what does not end. It says what
    still runs and leaves with status 0, since to end is what was asked for; `atexit` functions are
    not called. While C code holds the interpreter, no thread can do anything.
    """

    def __init__(self) -> None:
        self._loop: asyncio.AbstractEventLoop | None = None
        # Put to in a signal handler, which may interrupt a put: it is made for that.
        self._times: SimpleQueue[float | None] = SimpleQueue()
        self._at: float | None = None
        self._running = False

    def watch(self, loop: asyncio.AbstractEventLoop) -> None:
        """Name the tasks of `loop` too."""
        self._loop = loop

    def within(self, seconds: float) -> None:
        """The process has to have ended in `seconds`; an earlier time stays."""
        at = time.monotonic() + seconds
        if self._at is not None and self._at <= at:
            return
        self._at = at
        self._times.put(at)
        if not self._running:
            self._running = True
            try:
                _thread.start_new_thread(self._wait, ())
            except RuntimeError:
                self._running = False
                logger.warning("no thread can be started to see that the process ends in time")

    def release(self) -> None:
        """The server has ended in time, in a thread of a program that goes on."""
        if self._at is not None:
            self._at = None
            self._times.put(None)

    def leave_to_program(self) -> None:
        """The server has ended, and its program goes on: only what joins threads at its very end
        has to keep the time."""
        at = self._at
        if at is None:
            return
        self.release()
        register: Any = getattr(threading, "_register_atexit", None)
        if register is not None:
            # Before concurrent.futures and threading wait for threads that may never end.
            register(lambda: self.within(max(HURRY, at - time.monotonic())))

    def _wait(self) -> None:
        at = self._times.get()
        while True:
            try:
                timeout = None if at is None else max(0.0, at - time.monotonic())
                at = self._times.get(timeout=timeout)
            except Empty:
                break
        try:
            log_running(logger, "the process did not end in time, and is ended:", loop=self._loop)
            logging.shutdown()
            for stream in (sys.stdout, sys.stderr):
                if stream is not None:
                    stream.flush()
        finally:
            os._exit(0)


async def in_time(until: float | None, what: str, waiting: Awaitable[object]) -> bool:
    """Await in this task; at `until`, on the loop's clock, say what still runs and cancel it.
    Whether it ended in time. None: for ever."""
    task, loop, over = asyncio.current_task(), asyncio.get_running_loop(), False
    assert task is not None

    def end() -> None:
        nonlocal over
        over = True
        log_running(logger, "%s did not come in time; still running:", what, loop=loop)
        task.cancel()

    timer = None if until is None else loop.call_at(until, end)
    try:
        await waiting
    except asyncio.CancelledError:
        if not over:
            raise
        task.uncancel()
        return False
    finally:
        if timer is not None:
            timer.cancel()
    return True

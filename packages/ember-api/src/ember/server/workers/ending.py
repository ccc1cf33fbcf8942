"""Deadlines for the end of a process, and the guard that enforces them."""

from __future__ import annotations

import _thread
import asyncio
import logging
import os
import sys
import threading
import time
from queue import Empty, SimpleQueue
from typing import TYPE_CHECKING, Any, NamedTuple

from ember.server.workers.stacks import log_running

if TYPE_CHECKING:
    from collections.abc import Awaitable

    from ember.limits import ServerLimits

logger = logging.getLogger("ember.server")

#: The seconds that stop hooks always have, also if requests have used up `shutdown_timeout`.
LEAST_FOR_HOOKS = 2.0
#: Seconds in which the process has to end after a second signal.
HURRY = 0.5
#: Seconds in which a process that does not serve yet has to end: its start hooks are cancelled, and
#: what they have opened is closed.
START_END = LEAST_FOR_HOOKS + HURRY


def stop_time(limits: ServerLimits) -> float:
    """Seconds from the order to stop to the latest end of a process."""
    return limits.drain_delay + limits.shutdown_timeout + LEAST_FOR_HOOKS


class _Deadline(NamedTuple):
    """When this process is killed, the reason for the log, and its exit status."""

    at: float
    reason: str = "the process did not end in time, and is ended"
    status: int = 0


class Guard:
    """Ends this process if it does not stop in time, or if its start takes too long.

    A thread does it, because the event loop may be blocked. The thread starts when a deadline is
    set. It logs the running tasks and threads and exits: with status 0 if the process was told to
    stop. `atexit` functions are not called. The thread cannot run while C code holds the GIL.
    """

    def __init__(self) -> None:
        self._loop: asyncio.AbstractEventLoop | None = None
        # SimpleQueue.put is reentrant: a signal handler may interrupt another put.
        self._times: SimpleQueue[_Deadline | None] = SimpleQueue()
        self._deadline: _Deadline | None = None
        self._running = False

    def watch(self, loop: asyncio.AbstractEventLoop) -> None:
        """Log the tasks of `loop` too."""
        self._loop = loop

    def started_within(self, seconds: float, reason: str) -> None:
        """The process has to call `started` within `seconds`. If not, it exits with status 1."""
        self._set(_Deadline(time.monotonic() + seconds, reason, 1))

    def started(self) -> None:
        """The process serves: forget the deadline of the start, but not that of a stop."""
        if self._deadline is not None and self._deadline.status:
            self.release()

    def within(self, seconds: float) -> None:
        """The process has to end within `seconds`. An earlier deadline stays."""
        at, before = time.monotonic() + seconds, self._deadline
        if before is None or at < before.at or before.status:
            self._set(_Deadline(at if before is None else min(at, before.at)))

    def _set(self, deadline: _Deadline) -> None:
        self._deadline = deadline
        self._times.put(deadline)
        if not self._running:
            self._running = True
            try:
                _thread.start_new_thread(self._wait, ())
            except RuntimeError:
                self._running = False
                logger.warning("the thread that enforces the stop deadline cannot be started")

    def release(self) -> None:
        """The server has ended in time, and its program continues: forget the deadline."""
        if self._deadline is not None:
            self._deadline = None
            self._times.put(None)

    def leave_to_program(self) -> None:
        """The server has ended, and its program continues. The deadline counts again when the
        interpreter exits and waits for threads."""
        deadline = self._deadline
        if deadline is None:
            return
        self.release()
        register: Any = getattr(threading, "_register_atexit", None)
        if register is not None and not deadline.status:
            # This runs before concurrent.futures and threading wait for threads, perhaps for ever.
            register(lambda: self.within(max(HURRY, deadline.at - time.monotonic())))

    def _wait(self) -> None:
        deadline = self._times.get()
        while True:
            try:
                timeout = None if deadline is None else max(0.0, deadline.at - time.monotonic())
                deadline = self._times.get(timeout=timeout)
            except Empty:
                break
        assert deadline is not None
        try:
            log_running(logger, "%s:", deadline.reason, loop=self._loop)
            if deadline.status:
                print(f"ember: {deadline.reason}", file=sys.stderr)
            logging.shutdown()
            for stream in (sys.stdout, sys.stderr):
                if stream is not None:
                    stream.flush()
        finally:
            os._exit(deadline.status)


async def in_time(until: float | None, what: str, waiting: Awaitable[object]) -> bool:
    """Await `waiting` in this task. At `until`, on the loop's clock, log what still runs and cancel
    it. Returns whether it ended in time. `until=None`: no limit."""
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

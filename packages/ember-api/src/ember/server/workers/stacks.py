"""The stacks of tasks and threads, for the log, if a process does not end in time."""

from __future__ import annotations

import asyncio
import gc
import logging
import sys
import threading
import traceback
from collections.abc import Collection, Sequence
from typing import Any

#: The most frames of one task, and of one thread.
MOST_FRAMES, MOST_THREAD_FRAMES = 50, 6
#: The attributes of coroutines, generators and async generators for their frame and awaitable.
_FRAMES = ("cr_frame", "gi_frame", "ag_frame")
_AWAITED = ("cr_await", "gi_yieldfrom", "ag_await")


def log_running(
    logger: logging.Logger,
    message: str,
    *args: object,
    loop: asyncio.AbstractEventLoop | None = None,
    threads: Collection[int] | None = None,
) -> None:
    """Log `message % args` as an error, followed by the lines of `running`. Each line is an
    argument of its own: the log formatter writes each argument as one line."""
    lines = running(loop, threads)
    logger.error(message + "\n%s" * len(lines), *args, *lines)


def running(
    loop: asyncio.AbstractEventLoop | None, threads: Collection[int] | None = None
) -> Sequence[str]:
    """Lines with the stacks of the tasks of `loop` and of the threads of this process. `threads`:
    the idents of the only threads to show."""
    lines: list[str] = []
    if loop is not None:
        try:
            tasks = list(asyncio.all_tasks(loop))
        except RuntimeError:  # the tasks kept changing meanwhile
            tasks = []
        for task in tasks:
            lines += [f"task {task.get_name()}:", *(_chain(task.get_coro()) or [f"  {task!r}"])]
    names = {thread.ident: thread.name for thread in threading.enumerate()}
    for ident, frame in sys._current_frames().items():
        if ident != threading.get_ident() if threads is None else ident in threads:
            lines.append(f"thread {names.get(ident, ident)}:")
            for entry in traceback.format_stack(frame)[-MOST_THREAD_FRAMES:]:
                lines += entry.rstrip().split("\n")
    return lines


def _chain(waiting: Any) -> list[str]:
    """The frames of a coroutine that waits, the outermost first."""
    lines: list[str] = []
    seen: set[int] = set()
    while waiting is not None and id(waiting) not in seen and len(lines) < MOST_FRAMES:
        seen.add(id(waiting))
        frame = _first(waiting, _FRAMES)
        if frame is not None:
            code = frame.f_code
            number = "?" if frame.f_lineno is None else frame.f_lineno
            lines.append(f'  File "{code.co_filename}", line {number} in {code.co_name}')
        elif not any(hasattr(waiting, name) for name in _FRAMES):
            # One step of an async generator, or the iterator of a coroutine: the object that it
            # runs is only among its references.
            waiting = next((found for found in gc.get_referents(waiting) if _drives(found)), None)
            continue
        waiting = _first(waiting, _AWAITED) or _stepped(frame)
    return lines


def _stepped(frame: Any) -> Any:
    """The generator that an `Interruptible` in this frame runs, as event streams do; else None."""
    module = sys.modules.get("ember.concurrency.interruptible")
    owner = frame.f_locals.get("self") if frame is not None else None
    return owner.step if module is not None and isinstance(owner, module.Interruptible) else None


def _first(owner: Any, names: Sequence[str]) -> Any:
    found = (getattr(owner, name, None) for name in names)
    return next((value for value in found if value is not None), None)


def _drives(found: object) -> bool:
    return any(hasattr(found, name) for name in _FRAMES)

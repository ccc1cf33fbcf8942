"""Cancelled requests whose thread still runs: what the thread uses stays open until it ends.

A thread cannot be cancelled. If the client leaves or the time limit is over, the response (503, or
none) does not wait for the thread. The work after the response (background tasks, the end of
dependencies) does.
"""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable
from typing import Any

from ember.concurrency.threads import thread_of
from ember.request import Request


class _Threads:
    """The first work after the response: it waits for the threads of the request."""

    __slots__ = ("running",)

    def __init__(self, first: asyncio.Future[None]) -> None:
        self.running = {first}

    async def __call__(self) -> None:
        try:
            await asyncio.wait(self.running)
        except asyncio.CancelledError:
            # The shutdown timeout of the server is over. The rest of the work still runs.
            return


def wait_for_thread(request: Request, error: BaseException) -> None:
    """Let the work after the response to `request` wait for the thread that `error` abandoned.

    Nothing happens if `error` abandoned no thread. The wait ends early when the shutdown timeout of
    the server is over.
    """
    ended = thread_of(error)
    if ended is None:
        return
    after = request._after
    if after and isinstance(after[0], _Threads):
        # One wait for all threads: so the end of the server ends all waiting at once.
        after[0].running.add(ended)
        return
    request.after_response(_Threads(ended))
    # The wait goes first: the work that was registered before may close what the thread uses.
    waiting = request._after
    assert waiting is not None
    waiting.insert(0, waiting.pop())


async def await_call(request: Request, running: Awaitable[Any]) -> Any:
    """Await a call in a thread; if it is cancelled, call `wait_for_thread`."""
    try:
        return await running
    except asyncio.CancelledError as error:
        wait_for_thread(request, error)
        raise

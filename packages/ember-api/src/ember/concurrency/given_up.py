"""Requests that were given up while a thread works for them: what it uses stays open until it ends.

A thread cannot be cancelled. When the client leaves or the time limit comes, the answer (503, or
none) does not wait for it, but everything that follows the answer does.
"""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable
from typing import Any

from ember.concurrency.threads import thread_of
from ember.request import Request


class _Threads:
    """What follows the answer first: the wait for the threads that still work for the request."""

    __slots__ = ("running",)

    def __init__(self, first: asyncio.Future[None]) -> None:
        self.running = {first}

    async def __call__(self) -> None:
        try:
            await asyncio.wait(self.running)
        except asyncio.CancelledError:
            # The server's time to end is over. What is left is still closed, as well as it can be.
            return


def hold(request: Request, error: BaseException) -> None:
    """Let all that follows the answer to `request` wait for the thread that `error` has given up,
    if there is one.

    When the server ends meanwhile, its time counts: then what follows does not wait any longer.
    """
    ended = thread_of(error)
    if ended is None:
        return
    after = request._after
    if after and isinstance(after[0], _Threads):
        # One wait for all of them: the end of the server ends it at once.
        after[0].running.add(ended)
        return
    request.after_response(_Threads(ended))
    # What was registered before would close what the thread uses: it comes behind.
    waiting = request._after
    assert waiting is not None
    waiting.insert(0, waiting.pop())


async def held(request: Request, running: Awaitable[Any]) -> Any:
    """Await a call in a thread, with `hold` when it is given up."""
    try:
        return await running
    except asyncio.CancelledError as error:
        hold(request, error)
        raise

"""Context variables across threads: the handler sees what a dependency sets in a thread."""

from __future__ import annotations

from asyncio import CancelledError
from collections.abc import Awaitable, Callable
from contextvars import Context, copy_context
from typing import Any

from ember.concurrency.abandoned import wait_for_thread
from ember.request import Request

RunInThread = Callable[..., Awaitable[Any]]

_NOTHING: Any = object()


async def in_thread(
    request: Request, run: RunInThread, function: Callable[..., Any], /, *args: Any, **kwargs: Any
) -> Any:
    """Run `function` in a thread, and set the context variables here that it has set there.

    If this is cancelled, the thread goes on: the work after the response to `request` waits for it.
    The thread gets a copy of the context, because a context cannot be entered twice, and this one
    is entered again when the caller is cancelled.
    """
    context = copy_context()
    try:
        return await run(context.run, function, *args, **kwargs)
    except CancelledError as error:
        wait_for_thread(request, error)
        raise
    finally:
        adopt(context)


async def in_same_context(
    context: Context, run: RunInThread, function: Callable[..., Any], *args: Any
) -> Any:
    """Like `in_thread`, in the `context` in which the first part of the same generator ran.

    So the generator can reset its context variables. Variables that were set here since then are
    set in `context` first."""
    context.run(adopt, copy_context())
    try:
        return await run(context.run, function, *args)
    finally:
        adopt(context)


def adopt(context: Context) -> None:
    """Set the variables of `context` in the current context, where they differ."""
    for variable, value in context.items():
        if variable.get(_NOTHING) is not value:
            variable.set(value)

"""Context variables across threads: what a plain dependency sets there, the handler sees."""

from __future__ import annotations

from asyncio import CancelledError
from collections.abc import Awaitable, Callable
from contextvars import Context, copy_context
from typing import Any

from ember.concurrency.given_up import hold
from ember.request import Request

RunInThread = Callable[..., Awaitable[Any]]

_NOTHING: Any = object()


async def in_thread(
    request: Request, run: RunInThread, function: Callable[..., Any], /, *args: Any, **kwargs: Any
) -> Any:
    """`run(function, ...)`; what it sets of context variables is set here afterwards. When it is
    given up, what follows the answer to `request` waits for its end.

    The context itself cannot be lent to the thread: it is entered again when the caller is
    cancelled, and none may be entered twice.
    """
    context = copy_context()
    try:
        return await run(context.run, function, *args, **kwargs)
    except CancelledError as error:
        hold(request, error)
        raise
    finally:
        adopt(context)


async def in_same_context(
    context: Context, run: RunInThread, function: Callable[..., Any], *args: Any
) -> Any:
    """`in_thread` in the `context` that an earlier part of the same generator ran in, so that it
    can reset its tokens; what was set here since then is set there first."""
    context.run(adopt, copy_context())
    try:
        return await run(context.run, function, *args)
    finally:
        adopt(context)


def adopt(context: Context) -> None:
    """Set what `context` has and the current one has not."""
    for variable, value in context.items():
        if variable.get(_NOTHING) is not value:
            variable.set(value)

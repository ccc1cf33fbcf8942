"""What a route does around its handler: a thread, a status code.

Deadlines and body limits are the connection's; a route only names them (`request.limits`).

A plain `async def` handler has none of it and is called by the dispatcher itself. Each layer here
is put around the one before, once, at registration, so that a route pays only for what it declares.
"""

from __future__ import annotations

import inspect
from asyncio import CancelledError
from collections.abc import Awaitable, Callable
from typing import Any

from ember.concurrency.given_up import hold
from ember.concurrency.threads import ThreadPool
from ember.request import Request
from ember.response import Response
from ember.responses.conversion import convert
from ember.routing.dispatch import Wrapper
from ember.routing.route import Route
from ember.routing.signature import is_async

_Call = Callable[..., Awaitable[Any]]


def wrap(route: Route, pool: Callable[[], ThreadPool]) -> Wrapper | None:
    """What `route` wants around its handler; None when that is nothing."""
    call = target(route, pool)
    if call is None:
        return None
    return lambda request, args, kwargs: call(request, *args, **kwargs)


def target(route: Route, pool: Callable[[], ThreadPool]) -> _Call | None:
    """What is called in the place of the handler, with the request and its arguments; None for the
    handler."""
    handler = route.handler
    threaded = not route.inline and not is_async(handler)
    if not threaded and route.status_code is None:
        return None
    call = _in_thread(handler, pool) if threaded else _on_loop(handler)
    if route.status_code is not None:
        return _with_status(call, route.status_code, route.owner)
    return call


def _on_loop(handler: Callable[..., Any]) -> _Call:
    async def call(request: Request, /, *args: Any, **kwargs: Any) -> Any:
        value = handler(*args, **kwargs)
        return await value if inspect.isawaitable(value) else value

    return call


def _in_thread(handler: Callable[..., Any], pool: Callable[[], ThreadPool]) -> _Call:
    async def call(request: Request, /, *args: Any, **kwargs: Any) -> Any:
        try:
            value = await pool().run_or_refuse(handler, *args, **kwargs)
        except CancelledError as error:
            hold(request, error)
            raise
        # A `def` around an `async def` gives a coroutine; it belongs to the loop, not to a thread.
        return await value if inspect.isawaitable(value) else value

    return call


def _with_status(call: _Call, status: int, owner: str) -> _Call:
    async def finish(request: Request, /, *args: Any, **kwargs: Any) -> Response:
        return convert(await call(request, *args, **kwargs), status, owner)

    return finish

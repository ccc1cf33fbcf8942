"""Adapters around handlers: they run a `def` handler in a thread, and set a status code.

The connection enforces time and body limits; a route only declares them (`request.limits`).

An `async def` handler without `status_code=` needs no adapter: the dispatcher calls it directly.
The adapters are made once, when the route is compiled.
"""

from __future__ import annotations

import inspect
from asyncio import CancelledError
from collections.abc import Awaitable, Callable
from typing import Any

from ember.concurrency.abandoned import wait_for_thread
from ember.concurrency.threads import ThreadPool
from ember.request import Request
from ember.response import Response
from ember.responses.conversion import convert
from ember.routing.dispatch import Wrapper
from ember.routing.route import Route
from ember.routing.signature import is_async

_Call = Callable[..., Awaitable[Any]]


def endpoint_wrapper(route: Route, pool: Callable[[], ThreadPool]) -> Wrapper | None:
    """The wrapper around the handler of `route`, for an `Endpoint`; None if it needs none."""
    call = adapt_handler(route, pool)
    if call is None:
        return None
    return lambda request, args, kwargs: call(request, *args, **kwargs)


def adapt_handler(route: Route, pool: Callable[[], ThreadPool]) -> _Call | None:
    """The function to call instead of the handler, with the request and the arguments of the
    handler; None if the handler can be called directly."""
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
            wait_for_thread(request, error)
            raise
        # A `def` around an `async def` returns a coroutine, which has to run on the loop.
        return await value if inspect.isawaitable(value) else value

    return call


def _with_status(call: _Call, status: int, owner: str) -> _Call:
    async def finish(request: Request, /, *args: Any, **kwargs: Any) -> Response:
        return convert(await call(request, *args, **kwargs), status, owner)

    return finish

"""Middlewares as one function per route, composed when the application starts."""

from __future__ import annotations

import inspect
import logging
from collections.abc import Awaitable, Callable, Iterable
from itertools import groupby
from typing import TYPE_CHECKING, Any, NamedTuple

from ember.dispatch import Endpoint
from ember.hooks import Events
from ember.into_response import convert
from ember.middleware.forms import Step
from ember.request import Request
from ember.response import Response
from ember.routes import Route

if TYPE_CHECKING:
    from ember.blueprint import Blueprint

logger = logging.getLogger("ember.error")

Next = Callable[[Request], Awaitable[Response]]
#: What makes the response of an error: `Ember.on_error`.
OnError = Callable[[Request, BaseException], "Response | Awaitable[Response]"]
Owned = tuple[Callable[..., Any], str]


class Hooks(NamedTuple):
    """The hooks around an endpoint, each with how messages name it, in the order of running."""

    before: tuple[Owned, ...] = ()
    after: tuple[Owned, ...] = ()


class _Whole:
    """What an Endpoint asks of its binding, where that is a chain."""

    wants_request = True


def around_endpoint(
    endpoint: Endpoint, route: Route, parts: tuple[Blueprint, ...], on_error: OnError
) -> Endpoint:
    """`endpoint` with everything that `parts`, the outermost first, and `route` have around it;
    itself when that is nothing."""
    steps = [*(step for part in parts for step in part.middlewares), *route.middlewares]
    hooks = Hooks(_hooks(parts, Events.BEFORE_ENDPOINT), _hooks(parts[::-1], Events.AFTER_ENDPOINT))
    if not steps and not any(hooks):
        return endpoint
    names, owner = endpoint.names, endpoint.owner

    def call(request: Request) -> object:
        params = request.path_params
        return endpoint.call(request, [params[name] for name in names])

    chain = compose(steps, call, owner, on_error, hooks)
    return Endpoint(
        route, lambda request, _: chain(request), [], (), names, None, endpoint.app, _Whole()
    )


def _hooks(parts: Iterable[Blueprint], wanted: Events) -> tuple[Owned, ...]:
    return tuple(hook for part in parts for event, hook in part.endpoint_hooks if event is wanted)


def compose(
    steps: Iterable[Step],
    call: Callable[[Request], object],
    owner: str,
    on_error: OnError,
    hooks: Hooks = Hooks(),  # noqa: B008 - immutable
) -> Next:
    """One function that runs `steps`, `hooks` and `call`, from the outside in."""
    chain = _innermost(call, owner, on_error)
    if any(hooks):
        chain = _between(hooks, chain, on_error)
    # Neighbours that only run before share one call.
    runs = [(key, [*run]) for key, run in groupby(steps, lambda step: (step.around, step.after))]
    for (around, after), run in reversed(runs):
        if around is not None:
            for step in reversed(run):
                chain = _around(step.owner, around, chain, on_error)
        elif after is not None:
            for step in reversed(run):
                before = () if step.before is None else ((step.before, step.owner),)
                chain = _between(Hooks(before, ((after, step.owner),)), chain, on_error)
        else:
            befores = tuple((s.before, s.owner) for s in run if s.before is not None)
            chain = _between(Hooks(befores), chain, on_error)
    return chain


def _innermost(call: Callable[[Request], object], owner: str, on_error: OnError) -> Next:
    async def handler(request: Request) -> Response:
        try:
            value = call(request)
            if hasattr(value, "__await__"):
                value = await value
            return value if isinstance(value, Response) else convert(value, 0, owner)
        except Exception as error:  # noqa: BLE001 - whatever it is, on_error logs and answers it
            return await _answer(request, error, on_error)

    return handler


def _around(owner: str, middleware: Callable[..., Any], call_next: Next, on_error: OnError) -> Next:
    async def around(request: Request) -> Response:
        try:
            value = await middleware(request, call_next)
            if isinstance(value, Response):
                return value
            if value is None:
                raise TypeError(f"{owner} returned None; return what call_next(request) gave")
            return convert(value, 0, owner)
        except Exception as error:  # noqa: BLE001 - as in _innermost
            return await _answer(request, error, on_error)

    return around


def _between(hooks: Hooks, call_next: Next, on_error: OnError) -> Next:
    befores, afters = hooks

    async def between(request: Request) -> Response:
        try:
            for before, owner in befores:
                value = before(request)
                if hasattr(value, "__await__"):
                    value = await value
                if value is not None:
                    response = convert(value, 0, owner)
                    break
            else:
                response = await call_next(request)
        except Exception as error:  # noqa: BLE001 - as in _innermost
            response = await _answer(request, error, on_error)
        for after, owner in afters:
            try:
                value = after(request, response)
                if hasattr(value, "__await__"):
                    value = await value
                if value is not None:
                    response = convert(value, 0, owner)
            except Exception as error:  # noqa: BLE001 - as in _innermost
                response = await _answer(request, error, on_error)
        return response

    return between


async def _answer(request: Request, error: Exception, on_error: OnError) -> Response:
    """What on_error makes of an error; a bare 500 when it fails itself, as the connection does."""
    try:
        response = on_error(request, error)
        if inspect.isawaitable(response):
            response = await response
    except Exception:
        logger.exception("the error handler failed while answering %r", request)
        return Response("Internal Server Error", 500)
    return response

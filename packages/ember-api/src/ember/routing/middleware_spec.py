"""The forms of a middleware: what was added becomes a `MiddlewareSpec`."""

from __future__ import annotations

import inspect
from collections.abc import Callable
from typing import Any, NamedTuple

from ember.routing.router import RouteError

_FORMS = (
    "a middleware is `async def m(request, call_next)`, `m(request)`, or an object with "
    "`before(request)` and/or `after(request, response)`"
)


class MiddlewareSpec(NamedTuple):
    """A middleware that was parsed: it has `around`, or `before` and/or `after`.

    `owner` is how messages name it."""

    owner: str
    around: Callable[..., Any] | None = None
    before: Callable[..., Any] | None = None
    after: Callable[..., Any] | None = None


def parse_middleware(middleware: Any) -> MiddlewareSpec:
    """The spec of `middleware`. Raises RouteError if it has none of the known forms."""
    name = getattr(middleware, "__qualname__", type(middleware).__qualname__)
    owner = f"middleware {name.replace('<locals>.', '')}"
    if isinstance(middleware, type):
        raise RouteError(f"{owner} is a class; add an instance of it: {middleware.__name__}(...)")
    before, after = (getattr(middleware, part, None) for part in ("before", "after"))
    if before is not None or after is not None:
        if callable(middleware):
            raise RouteError(f"{owner} can be called and has before or after; {_FORMS}")
        if before is not None and positional(before, f"{owner}.before") != 1:
            raise _wrong(before, f"{owner}.before", "before(request)")
        if after is not None and positional(after, f"{owner}.after") != 2:
            raise _wrong(after, f"{owner}.after", "after(request, response)")
        return MiddlewareSpec(owner, None, before, after)
    if not callable(middleware):
        raise RouteError(f"{owner} is not a middleware; {_FORMS}")
    count = positional(middleware, owner)
    if count == 1:
        return MiddlewareSpec(owner, before=middleware)
    if count != 2:
        raise _wrong(middleware, owner, _FORMS)
    second = [*inspect.signature(middleware).parameters][1]
    if second == "response":
        raise RouteError(
            f"{owner}(request, response): make it the method `after` of an object; {_FORMS}"
        )
    if not is_async(middleware):
        raise RouteError(f"{owner}(request, {second}) has to await {second}; make it `async def`")
    return MiddlewareSpec(owner, around=middleware)


def positional(function: Any, owner: str) -> int:
    """How many positional arguments `function` needs; -1 if positional arguments are not enough."""
    if not callable(function):
        raise RouteError(f"{owner} is not callable; {_FORMS}")
    try:
        parameters = inspect.signature(function).parameters.values()
    except (TypeError, ValueError) as error:
        raise RouteError(f"{owner}: its parameters cannot be read: {error}") from None
    needed = [p for p in parameters if p.default is p.empty and p.kind is not p.VAR_KEYWORD]
    usable = (inspect.Parameter.POSITIONAL_ONLY, inspect.Parameter.POSITIONAL_OR_KEYWORD)
    # *args does not say how many arguments are expected.
    return len(needed) if all(p.kind in usable for p in needed) else -1


def is_async(function: Any) -> bool:
    """Whether a call of `function` returns a coroutine."""
    while hasattr(function, "func"):  # functools.partial
        function = function.func
    call = getattr(type(function), "__call__", None)  # noqa: B004
    return inspect.iscoroutinefunction(function) or inspect.iscoroutinefunction(call)


def _wrong(function: Any, owner: str, expected: str) -> RouteError:
    return RouteError(f"{owner}{inspect.signature(function)}: expected {expected}")

"""Checks `cache=` when a route is registered or compiled."""

from __future__ import annotations

import inspect
import re
from typing import TYPE_CHECKING, Any, ForwardRef, get_args, get_origin

from ember.cache import Cache
from ember.request import Request
from ember.route_cache.wire import Wire
from ember.routing.router import RouteError

if TYPE_CHECKING:
    from ember.binding import Binding


def check_cache(cache: object, methods: tuple[str, ...], owner: str) -> Cache:
    """Returns `cache`. Raises RouteError if a route with these methods cannot have it."""
    if not isinstance(cache, Cache):
        hint = ""
        if isinstance(cache, type):
            hint = f", which is a class (write {cache.__name__}())"
        raise RouteError(
            f"{owner}: cache={cache!r}{hint}; expected one of StaticCache(), TTLCache(ttl=1.0), "
            f"RedisCache(url=...), MemcachedCache(host=...)"
        )
    if "GET" not in methods and "*" not in methods:
        raise RouteError(
            f"{owner}: cache= stores responses to GET, and this route has no GET; leave cache= "
            f"out: a {methods[0]} removes the stored responses of the same path by itself"
        )
    if inspect.iscoroutinefunction(cache.key_fn):
        raise RouteError(f"{owner}: key_fn of its cache is `async def`; write it as `def`")
    try:
        Wire(cache)
    except TypeError as error:
        raise RouteError(f"{owner}: {error}") from None
    return cache


def key_names(binding: Binding | None, cache: Cache, owner: str) -> tuple[str, ...]:
    """The request header fields that a handler reads by its parameters: they are part of the key.

    Raises RouteError for a dependency that gets the whole request: it is not called on a hit, and
    it may be the one that checks permissions.
    """
    if binding is None or cache.key_fn is not None:
        return ()
    for function in binding.dependencies:
        if _sees_request(function):
            name = getattr(function, "__qualname__", repr(function))
            raise RouteError(
                f"{owner}: with cache= a hit does not call {name}(request); take single values "
                f"instead of the request (Annotated[str, Header()] becomes part of the key), make "
                f"it a middleware or a BEFORE_ENDPOINT hook, which run before a hit, or give the "
                f"cache a key_fn with different keys for different requests"
            )
    names = {p.alias.lower() for p in binding.parameters if p.source == "header"}
    if any(p.source == "cookie" for p in binding.parameters):
        names.add("cookie")
    return tuple(names)


def _sees_request(function: Any) -> bool:
    try:
        parameters = inspect.signature(function).parameters.values()
    except (TypeError, ValueError):
        return False
    return any(p.name == "request" or _is_request(p.annotation) for p in parameters)


def _is_request(annotation: Any) -> bool:
    if isinstance(annotation, str):
        # As text: `Request`, `ember.Request`, `Annotated[Request, ...]`.
        return re.search(r"\bRequest\b", annotation) is not None
    if isinstance(annotation, ForwardRef):
        return _is_request(annotation.__forward_arg__)
    if get_origin(annotation) is not None:  # Annotated, a union
        return any(map(_is_request, get_args(annotation)))
    return isinstance(annotation, type) and (
        issubclass(annotation, Request) or annotation.__name__ == "Request"
    )

"""Puts the caches of an application around its endpoints, when it is compiled."""

from __future__ import annotations

import re
import time
from collections.abc import Iterable
from typing import TYPE_CHECKING, Any

from ember.cache import Cache, policy
from ember.cache.local import LocalCache
from ember.request import Request
from ember.response import Response
from ember.responses.conversion import convert
from ember.route_cache.check import key_names
from ember.route_cache.route import CachedRoute, path_tag
from ember.routing.dispatch import Endpoint

if TYPE_CHECKING:
    from ember.routing.route import Route


class _Whole:
    """Stands in for the binding of an Endpoint that is a cached route."""

    wants_request = True


class Caching:
    """Knows which routes share a path: an unsafe method of one route removes the stored responses
    of the others (RFC 9111 section 4.4)."""

    def __init__(self, app: Any, routes: Iterable[Route]) -> None:
        self._app = app
        self._caches: dict[str, list[Cache]] = {}
        self._changed: set[str] = set()
        self._hosts = False
        for route in routes:
            shape = _shape(route.path)
            self._hosts = self._hosts or bool(route.hosts)
            if route.cache is not None:
                caches = self._caches.setdefault(shape, [])
                if route.cache not in caches:
                    caches.append(route.cache)
            if any(policy.invalidates(method, 200) for method in route.methods):
                self._changed.add(shape)

    def around(self, route: Route, endpoint: Endpoint) -> tuple[Endpoint, CachedRoute | None]:
        """`endpoint` with the cache of `route`, and with the removal of the stored responses of
        other routes with the same path. Returns (endpoint, None) if it needs neither."""
        shape = _shape(route.path)
        cached = None
        call = endpoint.call
        if route.cache is not None:
            names = key_names(endpoint.binding, route.cache, route.owner)
            cached = CachedRoute(self._app, route, endpoint, names, shape in self._changed)
            call = cached.call
        caches = self._caches.get(shape, [])
        if caches and any(policy.invalidates(method, 200) for method in route.methods):
            call = _invalidating(call, tuple(caches), route.owner)
        if call == endpoint.call:
            return endpoint, None
        whole = Endpoint(route, call, [], (), endpoint.names, None, self._app, _Whole())
        return whole, cached

    def fast_path(self, cached: CachedRoute) -> bool:
        """Whether the connection may send hits by itself, if the route has no middleware."""
        cache = cached.cache
        return (
            isinstance(cache, LocalCache)
            and cache.store.clock is time.monotonic
            and cache.key_fn is None
            and not cached.vary
            and not self._hosts
            and self._app.dispatch is self._app._dispatch  # nothing else sees every request
        )


def _shape(path: str) -> str:
    return re.sub(r"\{[^}]*\}", "{}", path)


def _invalidating(call: Any, caches: tuple[Cache, ...], owner: str) -> Any:
    """`call`, which removes the stored responses of the path after a successful unsafe method."""

    async def change(request: Request, values: list[Any]) -> Response:
        value = call(request, values)
        if hasattr(value, "__await__"):
            value = await value
        response = value if isinstance(value, Response) else convert(value, 0, owner)
        if policy.invalidates(request.method, response.status_code):
            for cache in caches:
                await cache.invalidate(tag=path_tag(request))
        return response

    def invalidating(request: Request, values: list[Any]) -> object:
        if request.method in policy.SAFE:
            return call(request, values)
        return change(request, values)

    return invalidating

"""The caches of an application, put around its endpoints when it is compiled."""

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
    """What an Endpoint asks of its binding, where that is a cache."""

    wants_request = True


class Caching:
    """Knows which routes share a path, so that an unsafe method of one forgets what is kept for
    another (RFC 9111 section 4.4)."""

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
        """`endpoint` with what `route`, or another of the same path, has of caches."""
        shape = _shape(route.path)
        cached = None
        call = endpoint.call
        if route.cache is not None:
            names = key_names(endpoint.binding, route.cache, route.owner)
            cached = CachedRoute(self._app, route, endpoint, names, shape in self._changed)
            call = cached.call
        caches = self._caches.get(shape, [])
        if caches and any(policy.invalidates(method, 200) for method in route.methods):
            call = _forgetting(call, tuple(caches), route.owner)
        if call == endpoint.call:
            return endpoint, None
        whole = Endpoint(route, call, [], (), endpoint.names, None, self._app, _Whole())
        return whole, cached

    def quick(self, cached: CachedRoute) -> bool:
        """Whether the connection may give hits by itself, where nothing stands around the route."""
        cache = cached.cache
        return (
            isinstance(cache, LocalCache)
            and cache.store.clock is time.monotonic
            and cache.key_fn is None
            and not cached.vary
            and not self._hosts
            and self._app.dispatch is self._app._dispatch  # nothing wants to see every request
        )


def _shape(path: str) -> str:
    return re.sub(r"\{[^}]*\}", "{}", path)


def _forgetting(call: Any, caches: tuple[Cache, ...], owner: str) -> Any:
    """`call`, and after a success of an unsafe method nothing is kept of its path."""

    async def change(request: Request, values: list[Any]) -> Response:
        value = call(request, values)
        if hasattr(value, "__await__"):
            value = await value
        response = value if isinstance(value, Response) else convert(value, 0, owner)
        if policy.invalidates(request.method, response.status_code):
            for cache in caches:
                await cache.invalidate(tag=path_tag(request))
        return response

    def forgetting(request: Request, values: list[Any]) -> object:
        if request.method in policy.SAFE:
            return call(request, values)
        return change(request, values)

    return forgetting

"""All routes of an application, compiled: one router for each host that a blueprint names."""

from __future__ import annotations

from collections.abc import Iterable
from typing import TYPE_CHECKING, Any

from ember.response import RedirectResponse, Response
from ember.routing.dispatch import Lookup
from ember.routing.hosts import host_name
from ember.routing.router import Converter, Router

if TYPE_CHECKING:
    from ember.request import Request
    from ember.routing.route import Route


class RouteTable:
    """The routers of an application: `hosts` by host name, `general` for all other hosts.

    Raises RouteError for routes that conflict or cannot work; the message names them.
    """

    __slots__ = ("general", "hosts")

    def __init__(
        self, converters: dict[str, Converter], endpoints: Iterable[tuple[Route, Any]] = ()
    ) -> None:
        self.general = Router(converters)
        self.hosts: dict[str, Router] = {}
        gets: list[tuple[Router, Route, Any]] = []
        for route, endpoint in endpoints:
            routers = [self.general]
            if route.hosts:
                routers = [self.hosts.setdefault(h, Router(converters)) for h in route.hosts]
            for router in routers:
                for method in route.methods:
                    router.add(method, route.template, endpoint)
                    if method == "GET":
                        gets.append((router, route, endpoint))
        for router, route, endpoint in gets:
            router.add_head(route.template, endpoint)

    def lookups(self) -> tuple[Lookup, dict[str, Lookup]]:
        """The tables that the dispatcher uses: for all other hosts, and by host name."""
        hosts = {host: _lookup(router) for host, router in self.hosts.items()}
        return _lookup(self.general), hosts

    def router(self, request: Request) -> Router:
        """The router for the host that `request` names."""
        if not self.hosts:
            return self.general
        return self.hosts.get(host_name(request.host), self.general)

    def find(self, request: Request, path: str, values: list[Any]) -> Any:
        """The endpoint for a request and its decoded path, or None. The values of the path
        parameters are put into `values`."""
        router = self.router(request)
        found = router.exact.get(request.route_key)
        return router.find(request.method, path, values) if found is None else found


def _lookup(router: Router) -> Lookup:
    return Lookup(router.exact, router.prefixes, router.trees)


def redirect(request: Request, router: Router, raw: str, path: str) -> Response | None:
    """A redirect to the same path with (or without) its last slash, if that path has a route."""
    if path.endswith("/"):
        other, target = path[:-1], raw[:-1]
    else:
        other, target = path + "/", raw + "/"
    # "//host/" would send the browser to another host (RFC 3986 section 4.2).
    if not other or target.startswith("//") or not router.allowed(other):
        return None
    query = f"?{request.query_string}" if request.query_string else ""
    # 308, not 301: the method and the body go with it (RFC 9110 section 15.4.9).
    return RedirectResponse(target + query, 308)

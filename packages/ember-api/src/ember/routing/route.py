"""`Route`: a registered route, as in `request.route` and `ember routes`."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping
from copy import copy
from typing import TYPE_CHECKING, Any

from ember.constants import is_number
from ember.routing.middleware_spec import parse_middleware
from ember.routing.router import Converter, RouteError, Template
from ember.routing.signature import handler_name

if TYPE_CHECKING:
    from ember.cache import Cache
    from ember.limits import RouteLimits
    from ember.routing.cache_counters import Counters, RouteCacheStats
    from ember.routing.interfaces import Scope

#: What `app.route` accepts besides the verbs with a decorator of their own.
_TOKEN = frozenset("!#$%&'*+-.^_`|~0123456789ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz")


class Route:
    """One path with its methods and handler. Its attributes are the arguments of the decorator."""

    __slots__ = (
        "cache",
        "cache_counters",
        "deprecated",
        "handler",
        "hosts",
        "include_in_schema",
        "inline",
        "limits",
        "methods",
        "middlewares",
        "name",
        "named",
        "origin",
        "scope",
        "status_code",
        "summary",
        "tags",
        "template",
    )

    def __init__(
        self,
        path: str,
        handler: Callable[..., Any],
        methods: Iterable[str],
        *,
        name: str | None = None,
        status_code: int | None = None,
        limits: RouteLimits | None = None,
        inline: bool = False,
        middlewares: Iterable[Any] = (),
        tags: Iterable[str] = (),
        summary: str | None = None,
        deprecated: bool = False,
        include_in_schema: bool = True,
        cache: Cache | None = None,
    ) -> None:
        self.template = Template(path)
        self.handler = handler
        self.methods = _methods(path, methods)
        if not callable(handler):
            raise RouteError(f"{self.owner}: the handler is not callable")
        self.named = name is not None
        default: str = getattr(handler, "__name__", type(handler).__name__)
        self.name = name or default
        if status_code is not None and not (is_number(status_code) and 200 <= status_code <= 599):
            raise RouteError(
                f"{self.owner}: status_code={status_code!r}; expected a number from 200 to 599"
            )
        self.status_code = None if status_code is None else int(status_code)
        if limits is not None:
            from ember.limits import RouteLimits

            if not isinstance(limits, RouteLimits):
                raise RouteError(
                    f"{self.owner}: limits={limits!r}; expected RouteLimits(timeout=...)"
                )
        self.limits = limits
        #: The cache of its responses, and its counters; both None without `cache=`.
        self.cache = cache
        self.cache_counters: Counters | None = None
        if cache is not None:
            from ember.routing.cache_counters import Counters

            self.cache_counters = Counters()
        self.inline = inline
        self.middlewares = tuple(parse_middleware(middleware) for middleware in middlewares)
        if isinstance(tags, str):
            raise RouteError(f'{self.owner}: tags={tags!r}; expected a list: tags=["{tags}"]')
        self.tags = tuple(tags)
        self.summary = summary
        self.deprecated = deprecated
        self.include_in_schema = include_in_schema
        #: The blueprints it belongs to, the outermost first; the application is not among them.
        self.scope: tuple[Scope, ...] = ()
        #: The only hosts that reach it; empty: every host that no blueprint names.
        self.hosts: tuple[str, ...] = ()
        #: The route of the blueprint from which it was made, if a blueprint was added.
        self.origin: Route = self

    def mounted(self, prefix: str, scope: tuple[Scope, ...], hosts: tuple[str, ...]) -> Route:
        """A copy of this route for the place at which its blueprint was added."""
        route = copy(self)
        route.template = Template(prefix + self.path)
        route.scope = scope
        route.hosts = hosts
        if route.cache_counters is not None:
            route.cache_counters = type(route.cache_counters)()
        route.tags = tuple(dict.fromkeys([t for part in scope for t in part.tags] + [*self.tags]))
        if route.limits is None:
            route.limits = next((p.route_limits for p in scope[::-1] if p.route_limits), None)
        return route

    @property
    def path(self) -> str:
        """The path template, with its parameters."""
        return self.template.path

    @property
    def cache_stats(self) -> RouteCacheStats | None:
        """The statistics of its cache; None without `cache=`."""
        if self.cache is None or self.cache_counters is None:
            return None
        return self.cache_counters.snapshot(self.cache.stats().evicted)

    @property
    def owner(self) -> str:
        """The name of the route in messages: `route "GET /users/{id}" (app.show)`."""
        return f'route "{",".join(self.methods)} {self.path}" ({handler_name(self.handler)})'

    def __repr__(self) -> str:
        return f"<{self.owner}>"


def url_for(
    routes: list[Route], converters: Mapping[str, Converter], name: str, params: Mapping[str, Any]
) -> str:
    """The path of the route called `name`; see `Ember.url_for`."""
    found = [route for route in routes if route.name == name and route.named]
    found = found or [route for route in routes if route.name == name]
    if not found:
        names = ", ".join(sorted({route.name for route in routes})) or "none"
        raise LookupError(f'url_for: no route is called "{name}"; known: {names}')
    # Some hosts may have the blueprint under another prefix: use the path for all other hosts.
    found = [route for route in found if not route.hosts] or found
    if len({route.path for route in found}) > 1:
        paths = ", ".join(route.path for route in found)
        raise LookupError(
            f'url_for: several routes are called "{name}" ({paths}); give one a name='
        )
    template = found[0].template
    template.resolve(converters)
    return template.build(params, converters)


def _methods(path: str, methods: Iterable[str]) -> tuple[str, ...]:
    if isinstance(methods, str):
        raise RouteError(
            f'route "{path}": methods={methods!r}; expected a list: methods=["{methods}"]'
        )
    # RFC 9110 section 9.1: methods are case-sensitive; the registered ones are upper case.
    result = tuple(dict.fromkeys(method.upper() for method in methods))
    if not result:
        raise RouteError(f'route "{path}": methods is empty; name at least one, methods=["GET"]')
    for method in result:
        if not method or not _TOKEN.issuperset(method):
            raise RouteError(f'route "{path}": {method!r} is not a method name (RFC 9110 5.6.2)')
    return result


def check_names(routes: Iterable[Route]) -> None:
    """Raise RouteError if two routes were given the same name."""
    taken: dict[str, Route] = {}
    for route in routes:
        other = taken.setdefault(route.name, route) if route.named else route
        if other.origin is not route.origin:
            raise RouteError(
                f'{route.owner}: the name "{route.name}" is taken by {other.owner}; choose another'
            )

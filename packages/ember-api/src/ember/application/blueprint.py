"""`Blueprint`: routes are declared on it. An application is one too."""

from __future__ import annotations

import os
from collections.abc import Callable, Iterable, Iterator, Mapping
from contextlib import suppress
from typing import TYPE_CHECKING, Any, TypeVar, cast

from ember.application.components import Components
from ember.application.errors import ErrorHandlers
from ember.application.hooks import (
    ENDPOINT_EVENTS,
    Events,
    HookError,
    check_endpoint_hook,
    unknown_event,
)
from ember.protocol.message.forms import register_form_reader
from ember.request import Request
from ember.response import Response
from ember.routing.decorators import routes_of
from ember.routing.hosts import Mount, check_hosts, check_prefix, check_tags, narrow
from ember.routing.middleware_spec import parse_middleware
from ember.routing.route import Route
from ember.routing.route_options import RouteOptions
from ember.routing.router import RouteError, built_in_converters

if TYPE_CHECKING:
    from typing import Unpack

    from ember.limits import RouteLimits
    from ember.middleware.chain import Owned

register_form_reader("multipart/form-data", "ember.forms.multipart", "read_multipart")

F = TypeVar("F", bound=Callable[..., Any])
M = TypeVar("M")


class Blueprint:
    """A group of routes that is added to an application or to another blueprint.

    - `prefix`: the start of the paths of its routes, such as `/v1` or `/users/{user}`.
    - `hosts`: the only hosts that reach its routes, without port. A host that any blueprint names
      reaches only the routes of blueprints that name it.
    - `limits`: for its routes that have no limits of their own.
    - `middlewares`: around its routes; see `ember.middleware`.
    - `tags`: added to the tags of its routes.

    Its error handlers handle errors of its routes, before those of the blueprints around it. Routes
    may also be declared after the blueprint was added.

    Raises RouteError for an invalid prefix or host.
    """

    def __init__(
        self,
        prefix: str = "",
        hosts: Iterable[str] = (),
        *,
        limits: RouteLimits | None = None,
        middlewares: Iterable[Any] = (),
        tags: Iterable[str] = (),
    ) -> None:
        self.prefix = check_prefix(prefix)
        self.hosts = check_hosts(hosts)
        self.route_limits = limits
        self.tags = check_tags(tags, f'Blueprint("{prefix}")')
        self._declared: list[Route] = []
        self._mounts: list[tuple[Blueprint, list[Mount]]] = []
        self._parents: list[Blueprint] = []
        self._routes: list[Route] | None = None
        self._errors = ErrorHandlers()
        #: The middlewares around its routes, in order.
        self.middlewares = [parse_middleware(middleware) for middleware in middlewares]
        self.endpoint_hooks: list[tuple[Events, tuple[Callable[..., Any], str]]] = []

    @property
    def routes(self) -> list[Route]:
        """Every route, also those of added blueprints. Do not change this list."""
        if not self._mounts:
            return self._declared
        if self._routes is None:
            self._routes = [*self._declared, *self._mounted(self.prefix, (), ())]
        return self._routes

    def _mounted(
        self, prefix: str, scope: tuple[Blueprint, ...], hosts: tuple[str, ...]
    ) -> Iterator[Route]:
        """The routes of the blueprints that were added. `prefix` goes before their paths; it
        includes the prefix of this blueprint."""
        for part, mounts in self._mounts:
            around = (*scope, part)
            for mount in mounts:
                bound = narrow(hosts, mount.hosts, part.hosts)
                before = prefix + mount.prefix
                for route in part._declared:
                    yield route.mounted(before, around, bound)
                yield from part._mounted(before + part.prefix, around, bound)

    def add_blueprint(
        self, blueprint: Blueprint, prefix: str = "", *, prefixes: Mapping[str, str] | None = None
    ) -> None:
        """Add the routes of `blueprint` under `prefix`.

        `prefixes` gives a prefix for each host, `{"*": "/v1", "api.example.org": ""}`; `*` means
        every host that no blueprint names. Raises RouteError for an invalid prefix or host, and for
        a blueprint that would contain itself.
        """
        if not isinstance(blueprint, Blueprint) or blueprint._is_application:
            raise RouteError(f"add_blueprint({blueprint!r}): expected a Blueprint")
        if prefix and prefixes is not None:
            raise RouteError("add_blueprint: give prefix= or prefixes=, not both")
        if blueprint is self or blueprint in self._ancestors():
            raise RouteError(f"add_blueprint({blueprint!r}): it would contain itself")
        by_host = {"*": prefix} if prefixes is None else prefixes
        if not by_host:
            raise RouteError('add_blueprint: prefixes is empty; name a host, or "*" for the others')
        mounts = [Mount(check_hosts([h]), check_prefix(p)) for h, p in by_host.items()]
        self._mounts.append((blueprint, mounts))
        blueprint._parents.append(self)
        self._changed()

    #: An application cannot be added to another one.
    _is_application = False

    def _ancestors(self) -> Iterator[Blueprint]:
        for parent in self._parents:
            yield parent
            yield from parent._ancestors()

    def group(
        self,
        prefix: str = "",
        *,
        hosts: Iterable[str] = (),
        limits: RouteLimits | None = None,
        middlewares: Iterable[Any] = (),
        tags: Iterable[str] = (),
    ) -> Blueprint:
        """Make a blueprint and add it here. The arguments are those of Blueprint."""
        blueprint = Blueprint(prefix, hosts, limits=limits, middlewares=middlewares, tags=tags)
        self.add_blueprint(blueprint)
        return blueprint

    def add_middleware(self, middleware: M) -> M:
        """Run `middleware` around the routes of this blueprint; see `ember.middleware`.

        Middlewares of an application are also around its own responses, such as 404 and 405. Raises
        RouteError for an invalid middleware. Also a decorator.
        """
        self.middlewares.append(parse_middleware(middleware))
        self._changed()
        return middleware

    def hook(self, event: Events) -> Callable[[F], F]:
        """Decorate a function that runs at `event`: `def` (on the loop) or `async def`.

        `BEFORE_ENDPOINT` hooks get `request`, right before the handler of each route of this
        blueprint; those of the application run first. If one returns a value, it is the response.
        `AFTER_ENDPOINT` hooks get `request, response`, also after errors; those of the application
        run last. Only an application has the other events; their hooks take `components`, `app` or
        nothing. Raises HookError.
        """

        def register(hook: F) -> F:
            self._add_hook(event, hook)
            return hook

        return register

    def _add_hook(self, event: Events, hook: Callable[..., Any]) -> None:
        if event not in ENDPOINT_EVENTS:
            if not isinstance(event, Events):
                raise unknown_event(event)
            raise HookError(f"only an application has Events.{event.name}: use app.hook")
        self.endpoint_hooks.append((event, (hook, check_endpoint_hook(event, hook))))
        self._changed()

    def handle(self, what: int | type[BaseException], *, inline: bool = False) -> Callable[[F], F]:
        """Decorate the error handler for a status or an exception class and its subclasses.

        It takes `(request, error)` or `(request)`. A `def` runs in the thread pool, or with
        `inline=True` on the loop. It returns the same as a route handler; the default status is
        that of the error. A handler for Exception gets unexpected errors, but no HTTPError (404,
        422 ...); a handler for HTTPError, or for a status, gets those. Handlers of an application
        also get the 404 and 405 of the router; those of a blueprint get the errors of its routes.
        """

        def register(handler: F) -> F:
            self._errors.add(what, handler, inline)
            return handler

        return register

    def _changed(self) -> None:
        """Forget what was compiled: the declarations have changed."""
        self._routes = None
        for parent in self._parents:
            parent._changed()

    def __repr__(self) -> str:
        return f"<{type(self).__name__} {self.prefix or '/'}>"

    def add_route(
        self,
        path: str,
        handler: Callable[..., Any],
        methods: Iterable[str] = ("GET",),
        **options: Unpack[RouteOptions],
    ) -> Route:
        """Call `handler` for requests with `methods` to `path`. Every decorator calls this.

        Raises RouteError for an unknown or invalid option, and for a handler parameter that cannot
        be filled; the message names the route.
        """
        unknown = [name for name in options if name not in RouteOptions.__annotations__]
        if unknown:
            known = ", ".join(RouteOptions.__annotations__)
            raise RouteError(f'route "{path}": unknown option "{unknown[0]}"; known: {known}')
        route = Route(self.prefix + path, handler, methods, **options)
        if route.cache is not None:
            from ember.route_cache.check import check_cache

            check_cache(route.cache, route.methods, route.owner)
        if route.limits is None:
            route.limits = self.route_limits
        self._registered(route)
        self._declared.append(route)
        self._changed()
        return route

    def _registered(self, route: Route) -> None:
        """Check a new route as far as possible.

        A route of a blueprint can hardly be checked: the prefix may have parameters. But if the
        handler is defined inside a function, the names in its annotations are only known now; the
        check remembers them.
        """
        if "<locals>" in getattr(route.handler, "__qualname__", ""):
            from ember.application.compile import check

            with suppress(RouteError):  # reported at start, with the whole path
                check(route, built_in_converters(), Components())

    def route(
        self, path: str, methods: Iterable[str] = ("GET",), **options: Unpack[RouteOptions]
    ) -> Callable[[F], F]:
        """Decorate the handler for `methods` on `path`."""

        def register(handler: F) -> F:
            self.add_route(path, handler, methods, **options)
            return handler

        return register

    def add_class(self, instance: object, prefix: str = "", *, tags: Iterable[str] = ()) -> None:
        """Make the methods of `instance` handlers for paths under `prefix`.

        `get`, `post` ... handle `prefix` itself, `get_mine` handles GET `<prefix>/mine`. Methods
        with a decorator of `ember.routing.decorators` handle the path in the decorator. One object
        serves all requests. The name of a route is `Class.method`, unless its decorator names it.
        Raises RouteError if there is no such method, or for an invalid route.
        """
        base, common = check_prefix(prefix), check_tags(tags, "add_class")
        for handler, (path, methods, options) in routes_of(instance):
            own = {**options, "tags": (*common, *options.get("tags", ()))}
            # The root of an application is "/"; that of a blueprint may be its prefix.
            at = base + path or ("" if self.prefix else "/")
            route = self.add_route(at, handler, methods, **own)
            if not route.named:
                route.name = f"{type(instance).__name__}.{handler.__name__}"

    def get(self, path: str, **options: Unpack[RouteOptions]) -> Callable[[F], F]:
        """Decorate the handler for GET on `path`. HEAD gets the same headers without a body."""
        return self.route(path, ("GET",), **options)

    def post(self, path: str, **options: Unpack[RouteOptions]) -> Callable[[F], F]:
        """Decorate the handler for POST on `path`."""
        return self.route(path, ("POST",), **options)

    def put(self, path: str, **options: Unpack[RouteOptions]) -> Callable[[F], F]:
        """Decorate the handler for PUT on `path`."""
        return self.route(path, ("PUT",), **options)

    def patch(self, path: str, **options: Unpack[RouteOptions]) -> Callable[[F], F]:
        """Decorate the handler for PATCH on `path`."""
        return self.route(path, ("PATCH",), **options)

    def delete(self, path: str, **options: Unpack[RouteOptions]) -> Callable[[F], F]:
        """Decorate the handler for DELETE on `path`."""
        return self.route(path, ("DELETE",), **options)

    def head(self, path: str, **options: Unpack[RouteOptions]) -> Callable[[F], F]:
        """Decorate the handler for HEAD on `path`; without it, HEAD calls the handler for GET."""
        return self.route(path, ("HEAD",), **options)

    def options(self, path: str, **options: Unpack[RouteOptions]) -> Callable[[F], F]:
        """Decorate the handler for OPTIONS on `path`; without it, OPTIONS is a 204 with `Allow`."""
        return self.route(path, ("OPTIONS",), **options)

    def static(
        self,
        prefix: str,
        directory: str | os.PathLike[str],
        *,
        index: str | None = None,
        precompressed: bool = True,
        cache_control: str | None = None,
        dotfiles: bool = False,
        memory: int = 16 * 1024 * 1024,
        memory_file: int = 64 * 1024,
        memory_files: int = 1024,
        recheck: float = 0.1,
    ) -> None:
        """Serve the files of `directory` for GET and HEAD under `prefix`.

        Paths that lead outside the directory (also by a symbolic link), names that begin with a
        dot, and folders are a 404.

        - `index`: the file that is sent for a folder, such as "index.html".
        - `precompressed`: send `a.css.br`, `.zst` or `.gz` for `a.css` to clients that accept it.
        - `cache_control`: the field of that name, such as "public, max-age=3600".
        - `dotfiles`: also serve names that begin with a dot.
        - `memory`: bytes of file content that is kept in memory: files of up to `memory_file` bytes
          that were used last, at most `memory_files` of them.
        - `recheck`: seconds for which a file in memory is not compared with the disk; 0: each time.

        Raises NotADirectoryError if there is no such directory.
        """
        from ember.responses.static import StaticFiles

        files = StaticFiles(
            directory,
            index=index,
            precompressed=precompressed,
            cache_control=cache_control,
            dotfiles=dotfiles,
            memory=memory,
            memory_file=memory_file,
            memory_files=memory_files,
            recheck=recheck,
        )

        async def static(request: Request, path: str) -> Response:
            response = files.hit(request, path)
            return await files(request, path) if response is None else response

        base = prefix.rstrip("/")
        self.add_route(f"{base}/{{path:path}}", static, include_in_schema=False)
        if base and index is not None:

            async def static_root(request: Request) -> Response:
                return files.to_folder(request, base)

            self.add_route(base, static_root, include_in_schema=False)


def blueprints_of(route: Route) -> tuple[Blueprint, ...]:
    """The blueprints that a route belongs to, the outermost first."""
    return cast("tuple[Blueprint, ...]", route.scope)


def endpoint_hooks(parts: tuple[Blueprint, ...], wanted: Events) -> tuple[Owned, ...]:
    """The hooks of `parts` for an endpoint event, each with its name in messages."""
    return tuple(hook for part in parts for event, hook in part.endpoint_hooks if event is wanted)

"""`Ember`: routes, hooks, error handlers and shared objects of one application."""

from __future__ import annotations

import inspect
import os
from collections.abc import Awaitable, Callable
from typing import TYPE_CHECKING, Any, TypeVar

from ember.application.blueprint import Blueprint, blueprints_of, endpoint_hooks
from ember.application.compile import check, make_endpoint
from ember.application.components import Components
from ember.application.errors import (
    ErrorHandler,
    awaited_response,
    default_response,
    log_failure,
    status_of,
)
from ember.application.hooks import ENDPOINT_EVENTS, Events, Lifecycle
from ember.application.serving import Serving
from ember.binding.overrides import Overrides
from ember.concurrency.abandoned import await_call
from ember.concurrency.background import Pending
from ember.concurrency.threads import ThreadPool
from ember.exceptions import BadRequest, HTTPError, MethodNotAllowed, NotFound
from ember.limits import ServerLimits
from ember.middleware.observers import notify, observers
from ember.observability.observability import Observability
from ember.openapi.serve import documentation_routes
from ember.protocol import KeptAnswers
from ember.protocol.message.forwarded import TrustedProxies
from ember.request import Request
from ember.response import ProblemResponse, Response
from ember.responses.conversion import convert
from ember.routing.dispatch import Dispatcher, Endpoint
from ember.routing.route import Route, check_names, url_for
from ember.routing.route_table import RouteTable, redirect
from ember.routing.router import add_converter, built_in_converters, decode_path
from ember.routing.signature import Plan, resolve

if TYPE_CHECKING:
    from ember.middleware.chain import Chain
    from ember.middleware.compression import CompressionMiddleware
    from ember.responses.templates import Templates
    from ember.route_cache.compile import Caching
    from ember.server.interfaces import RunningServer

H = TypeVar("H", bound=Callable[..., Any])


class Ember(Serving, Blueprint):
    """One application: declare routes on it, then `run` it.

    - `server_limits`: what connections may cost; see ServerLimits.
    - `title`, `version`: what documentation calls the application.
    - `openapi_url`, `docs_url`: paths of its description and the page of it; None: nowhere.
    - `healthz_url`, `readyz_url`: whether it lives, and whether it is ready; None: nowhere.
    - `metrics`: answer /metrics (or the path that is given) for Prometheus; see `add_metrics`.
    - `access_log`: a line for each request. True: to stdout, coloured on a terminal, else JSON;
      "json" or "color" for one of these; anything else is the path of a file, as JSON.
    - `debug`: a readable page instead of an opaque 500, for browsers; never in production.
    - `redirect_slashes`: answer `/x/` with 308 to `/x` (and the reverse) where only that exists.
    - `trusted_proxies`: addresses and networks (`10.0.0.0/8`), or "unix", that are believed who the
      client is; `proxy_header`: the one field that they write it to. Clients write the others.
    - `compression`: compress the answers as clients like it; True, or CompressionMiddleware(...).

    Raises TypeError for an argument of the wrong type, ValueError for a proxy that is none.
    """

    def __init__(
        self,
        *,
        server_limits: ServerLimits | None = None,
        title: str = "Ember",
        version: str = "0.1.0",
        openapi_url: str | None = "/openapi.json",
        docs_url: str | None = "/docs",
        healthz_url: str | None = "/healthz",
        readyz_url: str | None = "/readyz",
        metrics: bool | str = False,
        access_log: bool | str | os.PathLike[str] | None = None,
        debug: bool = False,
        redirect_slashes: bool = False,
        trusted_proxies: tuple[str, ...] | list[str] = (),
        proxy_header: str = "X-Forwarded-For",
        compression: bool | CompressionMiddleware = False,
    ) -> None:
        super().__init__()
        if server_limits is not None and not isinstance(server_limits, ServerLimits):
            raise TypeError(
                f"server_limits={server_limits!r}: expected ServerLimits(keep_alive_timeout=...)"
            )
        self.limits = server_limits or ServerLimits()
        self.title, self.version = title, version
        self.openapi_url = openapi_url
        self.docs_url = docs_url
        self.debug = debug
        self.redirect_slashes = redirect_slashes
        self.trusted_proxies: tuple[str, ...] = TrustedProxies(trusted_proxies, proxy_header)
        self.components = Components()
        self.lifecycle = Lifecycle(self, self.components)
        self.thread_pool_workers: int | None = None
        self._converters = built_in_converters()
        self._fallback: Callable[[Request], object] | None = None
        self._observability = Observability(self, healthz_url, readyz_url)
        #: Hits that the connection gives by itself; see `ember.route_cache`.
        self.kept_answers = KeptAnswers()
        self._open = []
        self._plans: dict[Route, Plan | None] = {}
        self._pool: ThreadPool | None = None
        self._pending = Pending()
        #: What serves this application now, while something does.
        self.server: RunningServer | None = None
        #: What `request.render_template` renders with; `Templates(..., app=app)` sets it.
        self.templates: Templates | None = None
        #: Replacements of dependencies, for tests: `app.dependency_overrides[real] = fake`.
        self.dependency_overrides = Overrides(self._changed)
        self._table = RouteTable(self._converters)
        #: The middlewares around `_unmatched`.
        self._outside: Chain | None = None
        self._dispatcher = Dispatcher(self._refresh, self._missed, self._owner)
        #: The door to the server: see `ember.protocol.Application`.
        self.dispatch: Callable[[Request], object] = self._dispatcher.dispatch
        #: the same, whatever is put around that one
        self._dispatch = self.dispatch
        self.into_response = self._dispatcher.into_response
        self._compress: Callable[[Request, object], Awaitable[Response]] | None = None
        self._observability.configure(metrics, access_log)
        if compression:
            from ember.middleware.compression import compressing

            self._compress = compressing(self.into_response, compression)
            dispatch, compress = self.dispatch, self._compress
            self.dispatch = lambda request: compress(request, dispatch(request))

    # -- declaring ----------------------------------------------------------------------------

    _is_application = True

    def _registered(self, route: Route) -> None:
        if route.named:
            check_names([*self._declared, route])
        self._plans[route] = self._plan(route)

    def _plan(self, route: Route) -> Plan | None:
        shared = self.components.__contains__
        plan = resolve(route.handler, route.template, route.owner, self._converters, shared)
        if plan is None:
            check(route, self._converters, self.components)
        return plan

    def _changed(self) -> None:
        super()._changed()
        self._dispatcher.stale = True
        self.kept_answers.clear()

    def fallback(self, handler: H) -> H:
        """Answer with `handler(request)` what no route matches, instead of 404.

        A path that exists with other methods is still 405.
        """
        self._fallback = self._fallback_endpoint(handler)
        return handler

    def _fallback_endpoint(self, handler: Callable[..., Any]) -> Callable[[Request], object]:
        route = Route("/{path:path}", handler, ("*",), name="fallback")
        plan = resolve(
            handler, route.template, f"fallback {route.owner}", self._converters, lambda _: False
        )
        endpoint = self._endpoint(route, plan)
        return lambda request: endpoint.call(request, [request.path[1:]])

    def _add_hook(self, event: Events, hook: Callable[..., Any]) -> None:
        if event in ENDPOINT_EVENTS:
            super()._add_hook(event, hook)
        else:
            self.lifecycle.add(event, hook)

    def lifespan(self, manager: H) -> H:
        """Enter the async context manager that `manager(components)` gives before the server
        starts,
        and leave it after its last request. An async generator function will do."""
        self.lifecycle.add_lifespan(manager)
        return manager

    def add_component(
        self, component: object, provides: type | None = None, *, per_request: bool = False
    ) -> None:
        """Share an object with hooks and handlers, which ask for it by its type.

        With `per_request`, `component` is the class or function that makes one for each request; it
        may ask for what a handler may, and what it makes is closed after the request.
        """
        self.components.add(component, provides, per_request)
        self._changed()

    def add_converter(
        self,
        name: str,
        regex: str,
        to_python: Callable[[str], Any],
        to_url: Callable[[Any], str] = str,
    ) -> None:
        """Let paths say `{x:name}`: text that matches `regex` becomes `to_python(text)`.

        A ValueError of `to_python` means that the path does not match after all. `to_url` is its
        reverse, for `url_for`. Raises RouteError for a name that is taken or a regex that is none.
        """
        add_converter(self._converters, name, regex, to_python, to_url)

    def url_for(self, name: str, /, **params: Any) -> str:
        """The path of the route called `name`, with `params` percent-encoded into it.

        Raises LookupError for an unknown or ambiguous name, ValueError for parameters that are
        missing, unknown or do not fit.
        """
        return url_for(self.routes, self._converters, name, params)

    # -- compiling ----------------------------------------------------------------------------

    def freeze(self) -> None:
        """Compile what was declared; the server does it at start.

        Raises RouteError for what only shows when everything is declared: routes that conflict,
        unknown converters, missing components.
        """
        self._refresh()

    def check(self) -> None:
        """`freeze` without what only exists while a server runs: the components."""
        self._planned()
        RouteTable(self._converters, [(route, route) for route in self.routes])

    def _planned(self) -> dict[Route, Plan | None]:
        routes = self.routes
        check_names(routes)
        known = self._plans
        # Not only the new ones are added: what a blueprint had before it changed is forgotten.
        self._plans = {r: known[r] if r in known else self._plan(r) for r in routes}
        return self._plans

    def _refresh(self) -> None:
        planned = [*self._planned().items(), *documentation_routes(self)]
        planned += self._observability.metrics_routes()
        caching = None
        if any(route.cache is not None for route in self.routes):
            from ember.route_cache.compile import Caching

            caching = Caching(self, self.routes)
        self.kept_answers.clear()
        endpoints = [(route, self._endpoint(route, plan, caching)) for route, plan in planned]
        for route, plan in self._observability.health_routes():
            endpoints.append((route, self._around(self._bare(route, plan), route, ())))
        self._outside = None
        if self.middlewares:
            from ember.middleware.chain import compose

            self._outside = compose(self.middlewares, self._unmatched, "no route", self._answer)
        table = self._table = RouteTable(self._converters, endpoints)
        self._dispatcher.load(*table.lookups())

    def _endpoint(
        self, route: Route, plan: Plan | None, caching: Caching | None = None
    ) -> Endpoint:
        endpoint, cached = self._bare(route, plan), None
        if caching is not None:
            endpoint, cached = caching.around(route, endpoint)
        whole = self._around(endpoint, route, (self, *blueprints_of(route)))
        if cached is not None and caching is not None and whole is endpoint:
            cached.fast_path = caching.fast_path(cached)
        return whole

    def _around(self, endpoint: Endpoint, route: Route, parts: tuple[Blueprint, ...]) -> Endpoint:
        """`endpoint` with what `parts` and `route` have around it; itself when that is nothing."""
        if not route.middlewares and not any(p.middlewares or p.endpoint_hooks for p in parts):
            return endpoint
        # 0.4 MiB of memory, for those who have something around a handler.
        from ember.middleware.chain import Hooks, around_endpoint

        hooks = Hooks(
            endpoint_hooks(parts, Events.BEFORE_ENDPOINT),
            endpoint_hooks(parts[::-1], Events.AFTER_ENDPOINT),
        )
        return around_endpoint(endpoint, route, parts, self._answer, hooks)

    def _bare(self, route: Route, plan: Plan | None) -> Endpoint:
        return make_endpoint(
            self,
            route,
            plan,
            self._converters,
            self.components,
            self.dependency_overrides,
            self._threads,
            self._pending,
        )

    def _threads(self) -> ThreadPool:
        if self._pool is None:
            self._pool = ThreadPool(self.thread_pool_workers, self.limits.max_thread_queue)
        return self._pool

    # -- what the dispatcher cannot answer alone ----------------------------------------------

    def _missed(self, request: Request) -> object:
        raw = request.raw_path.decode("latin-1")
        path = decode_path(raw)
        if path and path != raw:  # with the path as it stands the dispatcher has looked already
            values: list[Any] = []
            endpoint = self._table.find(request, path, values)
            if endpoint is not None:
                return endpoint.call(request, values)
        request.app = self
        if self._outside is not None:
            return self._outside.enter(request, None)
        return self._unmatched(request)

    def _unmatched(self, request: Request) -> object:
        """The answer where no route is."""
        router = self._table.router(request)
        raw = request.raw_path.decode("latin-1")
        if raw == "*":  # RFC 9110 section 9.3.7: the server as a whole
            methods = {method for method in router.trees if method != "*"} | {"OPTIONS"}
            return Response(b"", 204, {"Allow": ", ".join(sorted(methods))})
        path = decode_path(raw)
        if path is None:
            raise BadRequest("the path is not percent-encoded UTF-8")
        allowed = router.allowed(path)
        if allowed:
            allow = {"Allow": ", ".join(allowed)}
            if request.method == "OPTIONS":
                return Response(b"", 204, allow)
            raise MethodNotAllowed(f"{request.method} is not among {', '.join(allowed)}", allow)
        moved = redirect(request, router, raw, path) if self.redirect_slashes else None
        if moved is not None:
            return moved
        if self._fallback is not None:
            return self._fallback(request)
        detail = f"nothing is at {request.path}"
        if self._errors or type(self).on_error is not Ember.on_error:
            raise NotFound(detail)
        # What on_error would make of it.
        return ProblemResponse(404, detail, extensions={"request_id": request.id})

    def _owner(self, request: Request) -> str:
        """Which route and handler `request` went to, for messages."""
        self._locate(request)
        route: Route | None = request.route
        return "no route" if route is None else route.owner

    def _locate(self, request: Request) -> None:
        """Tell `request` where it is, what dispatch leaves out for speed."""
        if request.app is not self:
            request.app = self
            values: list[Any] = []
            path = decode_path(request.raw_path.decode("latin-1"))
            endpoint = self._table.find(request, path, values) if path else None
            if endpoint is not None:
                endpoint.fill(request, values)

    # -- errors -------------------------------------------------------------------------------

    def on_error(self, request: Request, error: BaseException) -> Response | Awaitable[Response]:
        """The response for what a handler raised: a registered handler's, or problem+json."""
        response = self._answer(request, error)
        notified = observers.get()
        if notified:
            response = notify(notified, request, response)
        return response if self._compress is None else self._compress(request, response)

    def _answer(self, request: Request, error: BaseException) -> Response | Awaitable[Response]:
        """`on_error` for who is inside of what compresses."""
        self._locate(request)
        for observer in observers.get():
            observer.failed(request, error)
        status = status_of(error)
        found = self._error_handler(request, error, status)
        if not isinstance(error, HTTPError) and (found is None or found.general):
            log_failure(request, error, self._owner(request))
        if found is None:
            return default_response(request, error, self.debug)
        if found.threaded:
            run = self._threads().run(found.call_handling, request, error)
            return awaited_response(await_call(request, run), error, status, found.owner)
        value = found.call(request, error)
        if inspect.isawaitable(value):
            return awaited_response(value, error, status, found.owner)
        return convert(value, status, found.owner)

    def _error_handler(
        self, request: Request, error: BaseException, status: int
    ) -> ErrorHandler | None:
        """The innermost blueprint that has one decides."""
        route: Route | None = request.route
        for part in (self, *(blueprints_of(route) if route else ()))[::-1]:
            found = part._errors.find(error, status) if part._errors else None
            if found is not None:
                return found
        return None

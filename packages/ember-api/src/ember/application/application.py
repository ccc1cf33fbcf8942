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

    - `server_limits`: limits of connections and requests; see ServerLimits.
    - `title`, `version`: the name and version in the OpenAPI document.
    - `openapi_url`, `docs_url`: paths of the OpenAPI document and of its page; None: no route.
    - `healthz_url`, `readyz_url`: paths of the liveness and the readiness check; None: no route.
    - `metrics`: serve metrics for Prometheus at /metrics, or at this path; see `add_metrics`.
    - `access_log`: write a line for each request. True: to stdout, coloured on a terminal, else as
      JSON; "json" or "color": to stdout in this form; any other text or path: JSON to that file.
    - `debug`: show browsers a page with the traceback instead of a plain 500. Not for production.
    - `redirect_slashes`: redirect `/x/` to `/x` with 308, and the reverse, if only that one exists.
    - `trusted_proxies`: addresses, networks (`10.0.0.0/8`) or "unix": proxies whose `proxy_header`
      names the client. Other fields about the client are ignored: clients can send them.
    - `compression`: compress responses; True, or CompressionMiddleware(...).

    Raises TypeError for an argument of the wrong type, ValueError for an invalid proxy.
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
        #: Cached responses that the connection sends by itself; see `ember.route_cache`.
        self.kept_answers = KeptAnswers()
        self._open = []
        self._plans: dict[Route, Plan | None] = {}
        self._pool: ThreadPool | None = None
        self._pending = Pending()
        #: The server that serves this application now; None if there is none.
        self.server: RunningServer | None = None
        #: The templates of `request.render_template`; `Templates(..., app=app)` sets them.
        self.templates: Templates | None = None
        #: Replacements of dependencies, for tests: `app.dependency_overrides[real] = fake`.
        self.dependency_overrides = Overrides(self._changed)
        self._table = RouteTable(self._converters)
        #: The chain of middlewares around `_unmatched`.
        self._outside: Chain | None = None
        self._dispatcher = Dispatcher(self._refresh, self._missed, self._owner)
        #: The server calls this for every request; see `ember.protocol.Application`.
        self.dispatch: Callable[[Request], object] = self._dispatcher.dispatch
        #: The same without compression, and without what tests put around it.
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
        """Call `handler(request)` for requests that match no route, instead of a 404.

        A path that has routes with other methods is still a 405.
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
        """Enter the async context manager `manager(components)` before the server starts, and exit
        it after the last request. It may also be an async generator function with one `yield`."""
        self.lifecycle.add_lifespan(manager)
        return manager

    def add_component(
        self, component: object, provides: type | None = None, *, per_request: bool = False
    ) -> None:
        """Share an object with hooks and handlers: they get it in a parameter of its type.

        With `per_request`, `component` is a class or function that makes an object for each
        request. It may have the same parameters as a handler. The object is closed after the
        request.
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
        """Let paths use `{x:name}`: text that matches `regex` becomes `to_python(text)`.

        If `to_python` raises ValueError, the path does not match. `to_url` is the reverse, for
        `url_for`. Raises RouteError for a name that is taken or an invalid regex.
        """
        add_converter(self._converters, name, regex, to_python, to_url)

    def url_for(self, name: str, /, **params: Any) -> str:
        """The path of the route called `name`, with `params` in it, percent-encoded.

        Raises LookupError for an unknown or ambiguous name, ValueError for a missing, unknown or
        invalid parameter.
        """
        return url_for(self.routes, self._converters, name, params)

    # -- compiling ----------------------------------------------------------------------------

    def freeze(self) -> None:
        """Compile the routes; the server does it at start.

        Raises RouteError for mistakes that cannot be found earlier: routes that conflict, unknown
        converters, missing components.
        """
        self._refresh()

    def check(self) -> None:
        """Check the routes like `freeze`, but allow missing components: hooks may add them."""
        self._planned()
        RouteTable(self._converters, [(route, route) for route in self.routes])

    def _planned(self) -> dict[Route, Plan | None]:
        routes = self.routes
        check_names(routes)
        known = self._plans
        # A new dict: the plans of routes that do not exist any more are dropped.
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
        """`endpoint` with the middlewares and hooks of `parts` and `route`; itself without them."""
        if not route.middlewares and not any(p.middlewares or p.endpoint_hooks for p in parts):
            return endpoint
        # Imported only if needed: it takes 0.4 MiB of memory.
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

    # -- requests that the dispatcher finds no route for --------------------------------------

    def _missed(self, request: Request) -> object:
        raw = request.raw_path.decode("latin-1")
        path = decode_path(raw)
        if path and path != raw:  # the dispatcher has tried the path without decoding
            values: list[Any] = []
            endpoint = self._table.find(request, path, values)
            if endpoint is not None:
                return endpoint.call(request, values)
        request.app = self
        if self._outside is not None:
            return self._outside.enter(request, None)
        return self._unmatched(request)

    def _unmatched(self, request: Request) -> object:
        """The response if no route matches."""
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
        # The same response as that of on_error, but faster.
        return ProblemResponse(404, detail, extensions={"request_id": request.id})

    def _owner(self, request: Request) -> str:
        """The route and handler of `request`, for messages."""
        self._locate(request)
        route: Route | None = request.route
        return "no route" if route is None else route.owner

    def _locate(self, request: Request) -> None:
        """Set the app, route and path parameters of `request`: dispatch may skip it for speed."""
        if request.app is not self:
            request.app = self
            values: list[Any] = []
            path = decode_path(request.raw_path.decode("latin-1"))
            endpoint = self._table.find(request, path, values) if path else None
            if endpoint is not None:
                endpoint.fill(request, values)

    # -- errors -------------------------------------------------------------------------------

    def on_error(self, request: Request, error: BaseException) -> Response | Awaitable[Response]:
        """The response for an exception: from its error handler, or else problem+json."""
        response = self._answer(request, error)
        notified = observers.get()
        if notified:
            response = notify(notified, request, response)
        return response if self._compress is None else self._compress(request, response)

    def _answer(self, request: Request, error: BaseException) -> Response | Awaitable[Response]:
        """`on_error` without compression."""
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
        """The error handler of the innermost blueprint that has one for `error`."""
        route: Route | None = request.route
        for part in (self, *(blueprints_of(route) if route else ()))[::-1]:
            found = part._errors.find(error, status) if part._errors else None
            if found is not None:
                return found
        return None

"""A minimal `ember.protocol.Application`, so that protocol tests need no framework."""

from __future__ import annotations

import asyncio
from collections.abc import Callable

from ember.exceptions import HTTPError
from ember.limits import RouteLimits, ServerLimits
from ember.request import Request
from ember.response import JSONResponse, ProblemResponse, Response


class App:
    """Dispatches by raw path to the handlers it was given; anything else is 404.

    `App({"/": handler})`; a handler takes the request, and may be a coroutine function or return a
    value at once. `route_limits` gives a path its RouteLimits. What reached `on_error` is in
    `errors`.
    """

    def __init__(
        self,
        routes: dict[str, Callable[[Request], object]] | None = None,
        *,
        limits: ServerLimits | None = None,
        route_limits: dict[str, RouteLimits] | None = None,
    ) -> None:
        self.limits = ServerLimits() if limits is None else limits
        self.routes = {} if routes is None else routes
        self.route_limits = route_limits or {}
        self.errors: list[BaseException] = []

    def route(self, path: str) -> Callable[[Callable[[Request], object]], object]:
        """Decorator: the handler of `path`."""

        def add(handler: Callable[[Request], object]) -> object:
            self.routes[path] = handler
            return handler

        return add

    def dispatch(self, request: Request) -> object:
        path = request.raw_path.decode("latin-1")
        handler = self.routes.get(path, self.routes.get("*"))
        if path in self.route_limits:
            request.limits = self.route_limits[path]
        if handler is None:
            return Response("not found", 404)
        return handler(request)

    def into_response(self, request: Request, value: object) -> Response:
        return Response(b"", 204) if value is None else JSONResponse(value)

    def on_error(self, request: Request, error: BaseException) -> Response:
        self.errors.append(error)
        if isinstance(error, HTTPError):
            return ProblemResponse(error.status, error.detail, headers=error.headers)
        if isinstance(error, asyncio.CancelledError):
            return ProblemResponse(500, "the handler was cancelled")
        return ProblemResponse(500, "it is our fault")

"""OpenTelemetry: one server span for each request.

The OpenTelemetry packages are imported when a middleware is made."""

from __future__ import annotations

from collections.abc import Awaitable, Callable
from contextvars import ContextVar
from typing import TYPE_CHECKING, Any

from ember.middleware.observers import observe
from ember.request import Request
from ember.response import Response

if TYPE_CHECKING:
    from opentelemetry.trace import Span, TracerProvider

#: The values of `http.request.method`. Other methods are `_OTHER`: clients cannot add values.
_METHODS = frozenset(
    ("CONNECT", "DELETE", "GET", "HEAD", "OPTIONS", "PATCH", "POST", "PUT", "QUERY", "TRACE")
)
_PORTS = {"http": 80, "https": 443}

#: The span of the current request.
_current: ContextVar[_Trace | None] = ContextVar("ember.span", default=None)


class OpenTelemetryMiddleware:
    """One SERVER span for each request, below the parent that its `traceparent` names.

    - `tracer_provider`: where spans go. Default: the global provider of `opentelemetry.trace`,
      which records nothing until the application sets one.

    The name of a span is "METHOD template"; the attributes follow the stable semantic conventions
    for HTTP. The span is the current one in the handler and while its stream is sent. It ends when
    the response was sent. A 5xx response sets its status to error and records the exception. Spans
    of the handler, and log records of the SDK, are below it. Add this middleware first: then the
    other middlewares are inside the span. Health checks, and responses that the connection makes by
    itself, have no span.

    Raises ImportError without the extra `otel`.
    """

    def __init__(self, tracer_provider: TracerProvider | None = None) -> None:
        try:
            from opentelemetry import context, propagate, trace
        except ImportError:
            raise ImportError(
                "OpenTelemetryMiddleware needs opentelemetry-api: pip install 'ember-api[otel]'"
            ) from None
        self._context = context
        self._propagate = propagate
        self._trace = trace
        self._tracer = trace.get_tracer("ember", tracer_provider=tracer_provider)
        self._getter: Any = _getter()

    async def __call__(
        self, request: Request, call_next: Callable[[Request], Awaitable[Response]]
    ) -> Response:
        """Call the handler, or the next middleware, in the context of a new span."""
        trace = self._trace
        parent = self._propagate.extract(request.headers, getter=self._getter)
        span = self._tracer.start_span(
            span_name(request), parent, trace.SpanKind.SERVER, attributes_of(request)
        )
        # Never detached: the context is the request's own, and a stream is sent after this returns.
        self._context.attach(trace.set_span_in_context(span, parent))
        traced = _Trace(span)
        _current.set(traced)
        observe(self)
        request.after_response(traced.end)
        try:
            response = await call_next(request)
        except BaseException as error:
            # The handler was cancelled. `responded` is called with the response of a timeout; there
            # is no response if the client left.
            traced.error = error
            raise
        traced.responded(response)
        return response

    def failed(self, request: Request, error: BaseException) -> None:
        """See `ember.middleware.observers`."""
        traced = _current.get()
        if traced is not None:
            traced.error = error

    def responded(self, request: Request, response: Response) -> None:
        """See `ember.middleware.observers`."""
        traced = _current.get()
        if traced is not None:
            traced.responded(response)


class _Trace:
    """The span of a request that is not over."""

    __slots__ = ("error", "span", "status")

    def __init__(self, span: Span) -> None:
        self.span = span
        self.error: BaseException | None = None
        self.status = 0

    def responded(self, response: Response) -> None:
        self.status = response.status_code

    async def end(self) -> None:
        """End the span: the response was sent, or given up."""
        from opentelemetry.trace import Status, StatusCode

        span, error, status = self.span, self.error, self.status
        self.error = None  # its traceback holds the frames of the handler
        if status:
            span.set_attribute("http.response.status_code", status)
        if status >= 500 or not status:
            if error is not None:
                span.record_exception(error)
                span.set_attribute("error.type", _name(type(error)))
            elif status:
                span.set_attribute("error.type", str(status))
            span.set_status(Status(StatusCode.ERROR))
        span.end()


def span_name(request: Request) -> str:
    """Method and route template. So there are few names, whatever paths clients send."""
    method = request.method if request.method in _METHODS else "HTTP"
    return method if request.route is None else f"{method} {request.route.path}"


def attributes_of(request: Request) -> dict[str, Any]:
    """The attributes of a request that are known before it is handled."""
    found: dict[str, Any] = {
        "http.request.method": request.method,
        "url.path": request.raw_path.decode("latin-1"),
        "url.scheme": request.scheme,
        "network.protocol.version": request.http_version,
    }
    if request.method not in _METHODS:
        found["http.request.method"] = "_OTHER"
        found["http.request.method_original"] = request.method
    if request.route is not None:
        found["http.route"] = request.route.path
    host, port = _authority(request.host)
    if host:
        found["server.address"] = host
        found["server.port"] = port or _PORTS[request.scheme]
    client = request.client_ip
    if client:
        found["client.address"] = client
    return found


def _authority(host: str) -> tuple[str, int | None]:
    name, colon, port = host.rpartition(":")
    if not colon or name.count("[") != name.count("]"):
        name, port = host, ""
    return name.strip("[]"), int(port) if port.isascii() and port.isdigit() else None


def _name(cls: type) -> str:
    module = cls.__module__
    return cls.__qualname__ if module == "builtins" else f"{module}.{cls.__qualname__}"


def _getter() -> Any:
    from opentelemetry.propagators.textmap import Getter

    from ember.headers import Headers

    class FromHeaders(Getter[Headers]):
        """Reads the header fields of a request for OpenTelemetry's propagators."""

        def get(self, carrier: Headers, key: str) -> list[str] | None:
            return carrier.get_all(key) or None

        def keys(self, carrier: Headers) -> list[str]:
            return carrier.keys()

    return FromHeaders()

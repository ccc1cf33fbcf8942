"""OpenTelemetry: one server span for each request. Nothing of it is imported before it is used."""

from __future__ import annotations

from collections.abc import Awaitable, Callable
from contextvars import ContextVar
from typing import TYPE_CHECKING, Any

from ember.middleware.observers import watch
from ember.request import Request
from ember.response import Response

if TYPE_CHECKING:
    from opentelemetry.trace import Span, TracerProvider

#: What may be a value of `http.request.method`; others are `_OTHER`, so that nobody makes new ones.
_METHODS = frozenset(
    ("CONNECT", "DELETE", "GET", "HEAD", "OPTIONS", "PATCH", "POST", "PUT", "QUERY", "TRACE")
)
_PORTS = {"http": 80, "https": 443}

#: The span of the request in whose context this is asked.
_current: ContextVar[_Trace | None] = ContextVar("ember.span", default=None)


class OpenTelemetryMiddleware:
    """One SERVER span for each request, below the parent that its `traceparent` names.

    - `tracer_provider`: where spans go; default: the global one of `opentelemetry.trace`, at the
      first request, which records nothing until the application sets one.

    Named "METHOD template", with the stable semantic conventions for HTTP. The span is the current
    one in the handler and while its stream is sent, and ends with the answer. 5xx makes its status
    an error; what was raised is recorded where the answer is 5xx. Spans of the handler and log
    records of the SDK find it. Add it first, so that the other middlewares are inside. Health
    checks and what the connection answers itself have none.

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
        """The answer of what is inside, in the context of a new span."""
        trace = self._trace
        parent = self._propagate.extract(request.headers, getter=self._getter)
        span = self._tracer.start_span(
            span_name(request), parent, trace.SpanKind.SERVER, attributes_of(request)
        )
        # Never detached: the context is the request's own, and a stream is sent after this returns.
        self._context.attach(trace.set_span_in_context(span, parent))
        traced = _Trace(span)
        _current.set(traced)
        watch(self)
        request.after_response(traced.end)
        try:
            response = await call_next(request)
        except BaseException as error:
            # Cut short: the client left, or the time is over, whose answer `answered` is told.
            traced.error = error
            raise
        traced.answered(response)
        return response

    def failed(self, request: Request, error: BaseException) -> None:
        """See `ember.middleware.observers`."""
        traced = _current.get()
        if traced is not None:
            traced.error = error

    def answered(self, request: Request, response: Response) -> None:
        """See `ember.middleware.observers`."""
        traced = _current.get()
        if traced is not None:
            traced.answered(response)


class _Trace:
    """A span on its way."""

    __slots__ = ("error", "span", "status")

    def __init__(self, span: Span) -> None:
        self.span = span
        self.error: BaseException | None = None
        self.status = 0

    def answered(self, response: Response) -> None:
        self.status = response.status_code

    async def end(self) -> None:
        """The answer is out, or was given up."""
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
    """Method and template: few names, however many paths there are."""
    method = request.method if request.method in _METHODS else "HTTP"
    return method if request.route is None else f"{method} {request.route.path}"


def attributes_of(request: Request) -> dict[str, Any]:
    """What the semantic conventions say of a request, known before it is handled."""
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
        """How propagators read the fields of a request."""

        def get(self, carrier: Headers, key: str) -> list[str] | None:
            return carrier.get_all(key) or None

        def keys(self, carrier: Headers) -> list[str]:
            return carrier.keys()

    return FromHeaders()

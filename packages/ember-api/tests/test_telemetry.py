"""OpenTelemetry: one server span for each request, and nothing of it where nobody asks (P5)."""

from __future__ import annotations

import asyncio
import re
import subprocess
import sys
from collections.abc import AsyncIterator
from typing import Any

import pytest
from ember import Ember, HTTPError, OpenTelemetryMiddleware, Request, Response, RouteLimits
from ember.observability.telemetry import _authority
from opentelemetry import trace
from opentelemetry.sdk.trace import ReadableSpan, TracerProvider
from opentelemetry.sdk.trace.export import SimpleSpanProcessor
from opentelemetry.sdk.trace.export.in_memory_span_exporter import InMemorySpanExporter
from opentelemetry.trace import SpanKind, StatusCode

from tests.support.server import ServeFixture
from tests.support.waiting import eventually

TRACE, PARENT = "4bf92f3577b34da6a3ce929d0e0e4736", "00f067aa0ba902b7"


class Traced:
    """An application whose spans are kept."""

    def __init__(self, **options: Any) -> None:
        self.exporter = InMemorySpanExporter()
        self.provider = TracerProvider(shutdown_on_exit=False)
        self.provider.add_span_processor(SimpleSpanProcessor(self.exporter))
        self.tracer = self.provider.get_tracer("test")
        self.app = app = Ember(**options)
        app.add_middleware(OpenTelemetryMiddleware(self.provider))

        @app.get("/items/{id:int}")
        async def item(id: int) -> str:
            with self.tracer.start_as_current_span("inside"):
                await asyncio.sleep(0)
            return f"{trace.get_current_span().get_span_context().span_id:016x}"

        @app.get("/thread")
        def thread() -> str:
            return f"{trace.get_current_span().get_span_context().span_id:016x}"

        @app.get("/stream")
        async def stream() -> AsyncIterator[str]:
            for name in ("one", "two"):
                with self.tracer.start_as_current_span(name):
                    await asyncio.sleep(0)
                yield name

        @app.get("/broken")
        async def broken() -> None:
            raise ValueError("broken")

        @app.get("/refused")
        async def refused() -> None:
            raise HTTPError(409, "no")

        @app.get("/answered")
        async def answered() -> Response:
            return Response("later", 503)

        @app.get("/slow", limits=RouteLimits(timeout=0.01))
        async def slow() -> None:
            await asyncio.Event().wait()

    def spans(self, count: int = 1) -> list[ReadableSpan]:
        """The server spans, when there are `count`."""
        eventually(lambda: len(self.server_spans()) >= count)
        found = self.server_spans()
        assert len(found) == count
        return found

    def server_spans(self) -> list[ReadableSpan]:
        found = self.exporter.get_finished_spans()
        return [span for span in found if span.kind is SpanKind.SERVER]

    def named(self, name: str) -> ReadableSpan:
        return next(span for span in self.exporter.get_finished_spans() if span.name == name)


def attributes(span: ReadableSpan) -> dict[str, Any]:
    return dict(span.attributes or {})


def span_id(span: ReadableSpan) -> int:
    assert span.context is not None
    return span.context.span_id


def test_a_request_is_one_server_span_with_the_stable_conventions(serve: ServeFixture) -> None:
    traced = Traced()
    server = serve(traced.app)
    answer = server.get("/items/7?secret=1")
    (span,) = traced.spans()
    assert span.name == "GET /items/{id:int}"
    assert attributes(span) == {
        "http.request.method": "GET",
        "url.path": "/items/7",
        "url.scheme": "http",
        "network.protocol.version": "1.1",
        "http.route": "/items/{id:int}",
        "server.address": "127.0.0.1",
        "server.port": server.port,
        "client.address": "127.0.0.1",
        "http.response.status_code": 200,
    }
    assert (span.parent, span.status.status_code) == (None, StatusCode.UNSET)
    assert answer.body.decode() == f"{span_id(span):016x}"
    inside = traced.named("inside").parent
    assert inside is not None
    assert inside.span_id == span_id(span)


def test_the_parent_is_that_of_traceparent(serve: ServeFixture) -> None:
    traced = Traced()
    server = serve(traced.app)
    server.get("/items/7", {"traceparent": f"00-{TRACE}-{PARENT}-01", "tracestate": "a=b"})
    (span,) = traced.spans()
    assert span.parent is not None
    assert f"{span.parent.trace_id:032x}" == TRACE
    assert f"{span.parent.span_id:016x}" == PARENT
    assert span.context is not None
    assert span.context.trace_state.get("a") == "b"
    server.get("/items/7", {"traceparent": f"00-{TRACE}-{PARENT}-00"})  # not sampled
    server.get("/items/7", {"traceparent": "nonsense"})
    assert traced.spans(2)[1].parent is None


def test_requests_of_one_connection_do_not_see_the_spans_of_each_other(serve: ServeFixture) -> None:
    traced = Traced()
    server = serve(traced.app)
    with server.connect() as client:
        bodies = []
        for path in ("/items/1", "/thread", "/items/2"):
            client.send(f"GET {path} HTTP/1.1\r\nHost: x\r\n\r\n")
            bodies.append(client.recv_response().body.decode())
    spans = traced.spans(3)
    assert [f"{span_id(span):016x}" for span in spans] == bodies
    assert all(span.parent is None for span in spans)


def test_a_stream_is_sent_inside_of_the_span(serve: ServeFixture) -> None:
    traced = Traced()
    assert serve(traced.app).get("/stream").body == b"onetwo"
    (span,) = traced.spans()
    for name in ("one", "two"):
        part = traced.named(name)
        assert part.parent is not None
        assert part.parent.span_id == span_id(span)
        assert part.end_time is not None
        assert span.end_time is not None
        assert part.end_time <= span.end_time


def test_an_exception_is_recorded_and_makes_the_status_an_error(serve: ServeFixture) -> None:
    traced = Traced()
    assert serve(traced.app).get("/broken").status == 500
    (span,) = traced.spans()
    assert span.status.status_code is StatusCode.ERROR
    found = attributes(span)
    assert (found["http.response.status_code"], found["error.type"]) == (500, "ValueError")
    (event,) = span.events
    recorded = dict(event.attributes or {})
    assert event.name == "exception"
    assert (recorded["exception.type"], recorded["exception.message"]) == ("ValueError", "broken")
    assert "in broken" in str(recorded["exception.stacktrace"])


@pytest.mark.parametrize(
    ("path", "name", "status"),
    [
        ("/refused", "GET /refused", 409),
        ("/no/such/path", "GET", 404),
        ("/items/x", "GET", 404),
    ],
)
def test_a_4xx_is_not_an_error_of_the_span(
    serve: ServeFixture, path: str, name: str, status: int
) -> None:
    traced = Traced()
    assert serve(traced.app).get(path).status == status
    (span,) = traced.spans()
    assert (span.name, span.status.status_code) == (name, StatusCode.UNSET)
    found = attributes(span)
    assert found["http.response.status_code"] == status
    assert "error.type" not in found
    assert ("http.route" in found) == (path == "/refused")
    assert not span.events


def test_a_503_of_the_handlers_own_is_an_error_with_its_status(serve: ServeFixture) -> None:
    traced = Traced()
    serve(traced.app).get("/answered")
    (span,) = traced.spans()
    assert span.status.status_code is StatusCode.ERROR
    assert attributes(span)["error.type"] == "503"


def test_a_handler_over_its_time_has_the_status_that_was_sent(serve: ServeFixture) -> None:
    traced = Traced()
    assert serve(traced.app).get("/slow").status == 503
    (span,) = traced.spans()
    found = attributes(span)
    assert found["http.response.status_code"] == 503
    assert found["error.type"] == "ember.exceptions.ServiceUnavailable"
    assert span.status.status_code is StatusCode.ERROR


def test_a_client_that_leaves_ends_the_span(serve: ServeFixture) -> None:
    traced = Traced()
    began = asyncio.Event()

    @traced.app.get("/wait")
    async def wait() -> None:
        began.set()
        await asyncio.Event().wait()

    server = serve(traced.app)
    with server.connect() as client:
        client.send("GET /wait HTTP/1.1\r\nHost: x\r\n\r\n")
        server.call(began.wait())
    (span,) = traced.spans()
    found = attributes(span)
    assert "http.response.status_code" not in found
    assert found["error.type"] == "asyncio.exceptions.CancelledError"


def test_an_unknown_method_makes_no_new_name(serve: ServeFixture) -> None:
    traced = Traced()
    serve(traced.app).request("BREW", "/items/1")
    (span,) = traced.spans()
    assert span.name == "HTTP"
    found = attributes(span)
    assert found["http.request.method"] == "_OTHER"
    assert found["http.request.method_original"] == "BREW"


def test_behind_a_proxy_the_client_is_what_it_reports(serve: ServeFixture) -> None:
    traced = Traced(trusted_proxies=["127.0.0.1"])
    serve(traced.app).get("/items/1", {"X-Forwarded-For": "203.0.113.9"})
    assert attributes(traced.spans()[0])["client.address"] == "203.0.113.9"


@pytest.mark.parametrize(
    ("host", "parts"),
    [
        ("a.example", ("a.example", None)),
        ("a.example:81", ("a.example", 81)),
        ("[::1]", ("::1", None)),
        ("[::1]:81", ("::1", 81)),
        ("", ("", None)),
    ],
)
def test_the_servers_address_is_taken_apart(host: str, parts: tuple[str, int | None]) -> None:
    assert _authority(host) == parts


def test_without_a_provider_handlers_run_and_nothing_is_recorded(serve: ServeFixture) -> None:
    app = Ember()
    app.add_middleware(OpenTelemetryMiddleware())

    @app.get("/")
    async def index(request: Request) -> str:
        return str(trace.get_current_span().is_recording())

    assert serve(app).get("/").body == b"False"


def run(code: str) -> str:
    done = subprocess.run(
        [sys.executable, "-c", code], capture_output=True, text=True, check=True, timeout=120
    )
    return done.stdout


SERVED = """
import sys
from ember import Ember, RequestIDMiddleware
from ember.protocol import MemoryConnection
app = Ember()
app.add_middleware(RequestIDMiddleware())
@app.get("/")
async def index(): return "x"
connection = MemoryConnection(app)
for path in ("/", "/no"):
    connection.feed(f"GET {path} HTTP/1.1\\r\\nHost: a\\r\\n\\r\\n".encode())
    assert b"X-Request-ID" in connection.take()
"""


def test_nothing_of_it_is_imported_where_nobody_asks() -> None:
    loaded = run(SERVED + "print(*sys.modules)").split()
    assert "ember.middleware.request_ids" in loaded
    assert [
        name for name in loaded if re.search("opentelemetry|observability.telemetry", name)
    ] == []


def test_where_it_is_not_installed_the_message_says_how() -> None:
    out = run("""
import sys
sys.modules["opentelemetry"] = None
from ember import OpenTelemetryMiddleware
try:
    OpenTelemetryMiddleware()
except ImportError as error:
    print(error)
""")
    assert out.strip() == (
        "OpenTelemetryMiddleware needs opentelemetry-api: pip install 'ember-api[otel]'"
    )

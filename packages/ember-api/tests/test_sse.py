"""Server-sent events: the wire format, silence, the client leaving, the server stopping."""

from __future__ import annotations

import asyncio
import re
import threading
from collections.abc import AsyncIterator
from typing import Any

import pytest
from ember import Ember, Request, ServerSentEvent, SSEResponse

from tests.support.server import DEADLINE, Client, ServeFixture

GET = "GET /events HTTP/1.1\r\nHost: a\r\n\r\n"


@pytest.mark.parametrize(
    ("event", "wire"),
    [
        (ServerSentEvent("a"), "data: a\n\n"),
        (ServerSentEvent("a\nb\r\nc\rd"), "data: a\ndata: b\ndata: c\ndata: d\n\n"),
        (ServerSentEvent("a\n"), "data: a\ndata: \n\n"),
        (ServerSentEvent(""), "data: \n\n"),
        (ServerSentEvent({"x": [1, "é"]}), 'data: {"x":[1,"é"]}\n\n'),
        (
            ServerSentEvent(1, event="e", id=7, retry=10),
            "event: e\nid: 7\nretry: 10\ndata: 1\n\n",
        ),
        (ServerSentEvent(id=""), "id: \n\n"),
        (ServerSentEvent(), ""),
        # U+2028 ends a line in JavaScript, not in an event stream.
        (ServerSentEvent("a\u2028b\x0bc"), "data: a\u2028b\x0bc\n\n"),
    ],
)
def test_an_event_is_encoded_as_the_standard_says(event: ServerSentEvent, wire: str) -> None:
    assert event.encode() == wire.encode()


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        ({"event": "a\nb"}, "only data may have line breaks"),
        ({"id": "a\rb"}, "only data may have line breaks"),
        ({"id": "a\x00"}, "an id may not contain NUL"),
        ({"retry": -1}, "ServerSentEvent(retry=-1): expected milliseconds"),
    ],
)
def test_an_event_that_would_break_the_stream_is_refused(
    arguments: dict[str, Any], message: str
) -> None:
    with pytest.raises(ValueError, match=re.escape(message)):
        ServerSentEvent("x", **arguments)


async def one() -> AsyncIterator[str]:
    yield "one"


def test_arguments_that_cannot_work_say_why() -> None:
    with pytest.raises(TypeError, match="call the async generator function and give its result"):
        SSEResponse(one)  # type: ignore[arg-type]
    with pytest.raises(ValueError, match=re.escape("SSEResponse(ping_interval=0)")):
        SSEResponse(one(), ping_interval=0)


def events_of(client: Client, count: int) -> list[str]:
    """The next `count` blocks of the stream, whatever chunks they came in."""
    text = ""
    while text.count("\n\n") < count:
        text += client.recv_chunk().decode()
    return text.split("\n\n")[:count]


def test_items_of_every_kind_arrive_as_they_come(serve: ServeFixture) -> None:
    app = Ember()
    go: asyncio.Queue[object] = asyncio.Queue()

    async def items(last: str | None) -> AsyncIterator[object]:
        yield f"after {last}"
        while (item := await go.get()) is not None:
            yield item

    @app.get("/events")
    async def events(request: Request) -> SSEResponse:
        return SSEResponse(items(request.headers.get("last-event-id")), retry=1500)

    server = serve(app)
    client = server.connect()
    client.send("GET /events HTTP/1.1\r\nHost: a\r\nLast-Event-ID: 41\r\n\r\n")
    head = client.recv_head()
    assert head.header("content-type") == "text/event-stream"
    assert head.header("cache-control") == "no-store"
    assert events_of(client, 2) == ["retry: 1500", "data: after 41"]
    for item, block in [
        ("two\nlines", "data: two\ndata: lines"),
        ({"a": 1}, 'data: {"a":1}'),
        (ServerSentEvent([1], event="list", id="9"), "event: list\nid: 9\ndata: [1]"),
    ]:
        server.call(go.put(item))
        assert events_of(client, 1) == [block]
    server.call(go.put(None))
    assert client.recv_chunk() == b""


def silent_app(closed: threading.Event, **options: Any) -> Ember:
    app = Ember()

    async def silence() -> AsyncIterator[str]:
        try:
            yield "first"
            await asyncio.Event().wait()
        finally:
            closed.set()

    @app.get("/events")
    async def events() -> SSEResponse:
        return SSEResponse(silence(), **options)

    return app


def test_silence_is_filled_with_pings(serve: ServeFixture) -> None:
    server = serve(silent_app(threading.Event(), ping_interval=0.02))
    client = server.connect()
    client.send(GET)
    client.recv_head()
    assert events_of(client, 5) == [": open", "data: first", ": ping", ": ping", ": ping"]


def test_the_generator_is_closed_when_its_client_leaves(serve: ServeFixture) -> None:
    closed = threading.Event()
    server = serve(silent_app(closed))
    client = server.connect()
    client.send(GET)
    client.recv_head()
    assert events_of(client, 2) == [": open", "data: first"]
    client.reset()
    assert closed.wait(DEADLINE)


@pytest.mark.parametrize(
    ("options", "last"),
    [
        ({}, "event: close\ndata: "),
        ({"last_event": ServerSentEvent("bye", event="end")}, "event: end\ndata: bye"),
    ],
)
def test_a_server_that_stops_sends_a_last_event(options: dict[str, Any], last: str) -> None:
    import socket

    closed = threading.Event()
    app = silent_app(closed, **options)
    app.run(port=0, block=False, startup_message=False)
    assert app.server is not None
    with Client(socket.create_connection(app.server.addresses[0])) as client:  # type: ignore[arg-type]
        client.send(GET)
        client.recv_head()
        assert events_of(client, 2) == [": open", "data: first"]
        app.stop()
        assert events_of(client, 1) == [last]
        assert client.recv_chunk() == b""
    assert closed.is_set()


def test_a_timeout_may_be_held_from_event_to_event(serve: ServeFixture) -> None:
    app = Ember()

    async def patient() -> AsyncIterator[str]:
        try:
            async with asyncio.timeout(0.05):
                yield "first"
                await asyncio.Event().wait()
        except TimeoutError:
            yield "it took too long"

    @app.get("/events")
    async def events() -> SSEResponse:
        return SSEResponse(patient())

    client = serve(app).connect()
    client.send(GET)
    client.recv_head()
    assert events_of(client, 3) == [": open", "data: first", "data: it took too long"]
    assert client.recv_chunk() == b""


def test_an_error_in_the_generator_breaks_the_message(
    serve: ServeFixture, caplog: pytest.LogCaptureFixture
) -> None:
    app = Ember()

    async def broken() -> AsyncIterator[str]:
        yield "first"
        raise ValueError("broken")

    @app.get("/events")
    async def events() -> SSEResponse:
        return SSEResponse(broken())

    client = serve(app).connect()
    client.send(GET)
    client.recv_head()
    assert not client.recv_until_close().endswith(b"0\r\n\r\n")
    assert any("broken" in str(r.exc_info) for r in caplog.records if r.exc_info)

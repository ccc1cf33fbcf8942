"""Ember behind nginx, with the configuration that we hand out."""

from __future__ import annotations

import asyncio
import http.client
from collections.abc import AsyncIterator

import pytest
from ember import Ember, Request, SSEResponse

from tests.support.server import DEADLINE, ServeFixture

from .conftest import Nginx


def ask(port: int, method: str, path: str, body: bytes | None = None) -> tuple[int, bytes]:
    connection = http.client.HTTPConnection("127.0.0.1", port, timeout=DEADLINE)
    try:
        connection.request(method, path, body)
        answer = connection.getresponse()
        return answer.status, answer.read()
    finally:
        connection.close()


def test_requests_pass_and_the_client_is_known(serve: ServeFixture, nginx: Nginx) -> None:
    app = Ember(trusted_proxies=["127.0.0.1"])

    @app.get("/who")
    async def who(request: Request) -> dict[str, str | None]:
        assert request.client is not None
        return {"ip": request.client_ip, "scheme": request.scheme, "host": request.host}

    port = nginx(serve(app).port)
    status, body = ask(port, "GET", "/who")
    assert status == 200
    assert body == f'{{"ip":"127.0.0.1","scheme":"http","host":"127.0.0.1:{port}"}}'.encode()


def test_an_upload_larger_than_nginx_would_like_passes(serve: ServeFixture, nginx: Nginx) -> None:
    app = Ember()

    @app.post("/size")
    async def size(request: Request) -> str:
        return str(len(await request.body()))

    port = nginx(serve(app).port)
    assert ask(port, "POST", "/size", bytes(3 << 20)) == (200, str(3 << 20).encode())


def test_health_is_not_shown_to_the_outside(serve: ServeFixture, nginx: Nginx) -> None:
    app = Ember()

    @app.get("/healthz")
    async def health() -> str:
        return "inside"

    server = serve(app)
    assert server.get("/healthz").body == b"inside"
    assert ask(nginx(server.port), "GET", "/healthz")[0] == 404


@pytest.mark.parametrize("heartbeats", [0, 8], ids=["at once", "after a silence"])
def test_events_pass_when_they_happen(serve: ServeFixture, nginx: Nginx, heartbeats: int) -> None:
    """The silence is longer than nginx waits: the heartbeats keep the stream open."""
    app = Ember()
    seen = asyncio.Event()

    @app.get("/events")
    async def events() -> SSEResponse:
        async def numbers() -> AsyncIterator[str]:
            yield "first"
            # Nothing more before the client has the first: a buffering proxy would hold it.
            await seen.wait()
            yield "second"

        return SSEResponse(numbers(), ping_interval=0.2)

    @app.post("/seen")
    async def note() -> None:
        seen.set()

    port = nginx(serve(app).port, proxy_read_timeout="1s")
    connection = http.client.HTTPConnection("127.0.0.1", port, timeout=DEADLINE)
    connection.request("GET", "/events")
    with connection.getresponse() as answer:
        assert answer.headers["Content-Type"].startswith("text/event-stream")

        def read_until(wanted: bytes) -> None:
            while (line := answer.readline()) != wanted:
                assert line, f"the stream ended before {wanted!r}"

        read_until(b"data: first\n")
        for _ in range(heartbeats):
            read_until(b": ping\n")
        assert ask(port, "POST", "/seen")[0] == 204
        read_until(b"data: second\n")
    connection.close()

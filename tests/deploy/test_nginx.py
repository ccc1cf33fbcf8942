"""Ember behind nginx, with the configuration that we hand out."""

from __future__ import annotations

import asyncio
import http.client
import socket
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


@pytest.mark.parametrize(
    "field",
    [
        b"X-Forwarded-For: 6.6.6.6",
        b"X-Forwarded-For: 6.6.6.6, 127.0.0.1",
        b"Forwarded: for=6.6.6.6",
        b'Forwarded: for="<script>\x9b31m"',
        b"X-Real-IP: 6.6.6.6",
        b"X_Forwarded_For: 6.6.6.6",
        b"Connection: X-Forwarded-For\r\nX-Forwarded-For: 6.6.6.6",
        b"X-Forwarded-For: 6.6.6.6\r\nX-Forwarded-For: 6.6.6.6",
    ],
)
@pytest.mark.parametrize("header", ["X-Forwarded-For", "Forwarded", "X-Real-IP"])
@pytest.mark.parametrize("client", ["127.0.0.1", "127.0.0.2"])
def test_a_client_cannot_say_who_it_is(
    serve: ServeFixture, nginx: Nginx, field: bytes, header: str, client: str
) -> None:
    """Nor when the application reads a field that nginx does not write."""
    app = Ember(trusted_proxies=["127.0.0.1"], proxy_header=header)

    @app.get("/who")
    async def who(request: Request) -> str | None:
        return request.client_ip

    answer = ask_raw(nginx(serve(app).port), b"GET /who HTTP/1.1", field, client)
    assert answer.endswith(
        b"\r\n\r\n" + (client if header == "X-Forwarded-For" else "127.0.0.1").encode()
    )


def test_what_only_a_proxy_may_say_does_not_pass(serve: ServeFixture, nginx: Nginx) -> None:
    app = Ember()

    @app.get("/fields")
    async def fields(request: Request) -> dict[str, str]:
        return dict(request.headers.items())

    names = ("For", "Host", "Port", "Prefix", "Proto")
    sent = b"\r\n".join([b"Forwarded: for=evil", b"X-Real-IP: evil"])
    sent += b"".join(b"\r\nX-Forwarded-%s: evil" % name.encode() for name in names)
    answer = ask_raw(nginx(serve(app).port), b"GET /fields HTTP/1.1", sent)
    assert answer.startswith(b"HTTP/1.1 200")
    assert b"evil" not in answer


@pytest.mark.parametrize(
    "path", ["/healthz", "//healthz", "/%68ealthz", "/x/../healthz", "/./healthz", "/healthz?x"]
)
def test_health_is_not_shown_by_another_spelling(
    serve: ServeFixture, nginx: Nginx, path: str
) -> None:
    app = Ember(redirect_slashes=True)
    answer = ask_raw(nginx(serve(app).port), f"GET {path} HTTP/1.1".encode())
    assert answer.startswith(b"HTTP/1.1 404")


def ask_raw(port: int, line: bytes, fields: bytes = b"X: y", client: str = "127.0.0.1") -> bytes:
    """The answer to a request that no client library would send."""
    address = "127.0.0.1", port
    with socket.create_connection(address, DEADLINE, source_address=(client, 0)) as sock:
        sock.sendall(line + b"\r\nHost: x\r\nConnection: close\r\n" + fields + b"\r\n\r\n")
        answer = b""
        while data := sock.recv(65536):
            answer += data
    return answer

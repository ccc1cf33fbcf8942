"""What the connection answers by itself: with an id, in the access log, in the metrics."""

from __future__ import annotations

import asyncio
import json
import re
from pathlib import Path
from typing import Any

import pytest
from ember import (
    Blueprint,
    Ember,
    Request,
    RequestIDMiddleware,
    RouteLimits,
    ServerLimits,
)

from tests.support.server import Answer, Running, ServeFixture
from tests.support.waiting import eventually

HEAD = b"GET / HTTP/1.1\r\nHost: x\r\n"
LIMITS: dict[str, Any] = {
    "header_timeout": 0.2,
    "body_timeout": 0.2,
    "max_target_size": 100,
    "max_header_size": 1000,
}


def make(path: Path | None, ids: RequestIDMiddleware | None, **limits: Any) -> Ember:
    app = Ember(
        metrics=True, access_log=path or False, server_limits=ServerLimits(**LIMITS, **limits)
    )
    if ids is not None:
        app.add_middleware(ids)

    @app.get("/")
    async def index() -> str:
        return "x"

    @app.post("/small", limits=RouteLimits(max_body_size=10))
    async def small(request: Request) -> int:
        return len(await request.body())

    return app


def lines(path: Path) -> list[dict[str, Any]]:
    if not path.exists():
        return []
    return [json.loads(line) for line in path.read_bytes().splitlines()]


def identity(answer: Answer, header: str = "X-Request-ID") -> str:
    """The id in the field and in the body, which is the same."""
    known = answer.header(header)
    assert known is not None
    problem = json.loads(answer.body)
    assert (problem["status"], problem["request_id"]) == (answer.status, known)
    return known


REFUSED = [
    (400, b"GET / HTTP/1.1\r\nBad Name: x\r\n\r\n"),
    (400, b"GET / HTTP/1.1\r\n\r\n"),
    (408, HEAD + b"X: sl"),
    (414, b"GET /" + b"a" * 101 + b" HTTP/1.1\r\nHost: x\r\n\r\n"),
    (417, HEAD + b"Expect: more\r\nContent-Length: 1\r\n\r\n"),
    (431, HEAD + b"X: " + b"a" * 1001 + b"\r\n\r\n"),
    (501, HEAD + b"Transfer-Encoding: gzip, chunked\r\n\r\n"),
    (505, b"GET / HTTP/2.0\r\nHost: x\r\n\r\n"),
]


@pytest.mark.parametrize(("status", "sent"), REFUSED)
def test_a_request_that_cannot_be_read_has_a_new_id(
    serve: ServeFixture,
    tmp_path: Path,
    caplog: pytest.LogCaptureFixture,
    status: int,
    sent: bytes,
) -> None:
    path = tmp_path / "log"
    server = serve(make(path, RequestIDMiddleware(trust_incoming=True)))
    answer = server.exchange(sent)
    assert answer.status == status
    known = identity(answer)
    assert f"[request {known}]" in caplog.text, "why it was refused is found by the id"
    assert re.fullmatch(r"[0-9a-f]{16}", known)
    eventually(lambda: lines(path))
    (line,) = lines(path)
    assert (line["id"], line["status"], line["route"]) == (known, status, None)
    assert (line["method"], line["path"]) == ("", "")
    assert line["bytes"] > len(answer.body)
    assert line["client"].startswith("127.0.0.1:")
    page = server.get("/metrics").body.decode()
    counted = f'requests_total{{route="(refused)",method="_OTHER",status="{status}"}} 1\n'
    assert counted in page
    assert identity(server.exchange(sent)) != known


CHUNKED = b"POST /small HTTP/1.1\r\nHost: x\r\nTransfer-Encoding: chunked\r\n\r\n"
BROKEN = [
    (400, CHUNKED + b"zz\r\n"),
    (408, b"POST /small HTTP/1.1\r\nHost: x\r\nContent-Length: 3\r\n\r\na"),
    (413, b"POST /small HTTP/1.1\r\nHost: x\r\nContent-Length: 11\r\n\r\n"),
    (413, CHUNKED + b"b\r\n01234567890\r\n"),
]


@pytest.mark.parametrize(("status", "sent"), BROKEN)
def test_a_request_whose_body_is_refused_keeps_its_id(
    serve: ServeFixture, tmp_path: Path, status: int, sent: bytes
) -> None:
    path = tmp_path / "log"
    server = serve(make(path, RequestIDMiddleware(trust_incoming=True)))
    answer = server.exchange(sent.replace(b"Host: x", b"Host: x\r\nX-Request-ID: mine"))
    assert (answer.status, identity(answer)) == (status, "mine")
    eventually(lambda: lines(path))
    (line,) = lines(path)
    assert (line["id"], line["status"], line["route"]) == ("mine", status, "/small")
    assert (line["method"], line["path"]) == ("POST", "/small")
    again = server.exchange(sent)
    assert re.fullmatch(r"[0-9a-f]{16}", identity(again))
    eventually(lambda: len(lines(path)) == 2)
    assert lines(path)[1]["id"] == identity(again)


def test_header_and_generator_are_those_of_the_middleware(serve: ServeFixture) -> None:
    numbers = iter(range(1, 100))
    ids = RequestIDMiddleware("X-Correlation-ID", generate=lambda: f"n-{next(numbers)}")
    server = serve(make(None, ids))
    assert identity(server.exchange(b"bad\r\n\r\n"), "X-Correlation-ID") == "n-1"
    assert identity(server.exchange(BROKEN[2][1]), "X-Correlation-ID") == "n-2"


def test_without_the_middleware_the_id_is_in_the_body_and_in_the_log(
    serve: ServeFixture, tmp_path: Path
) -> None:
    path = tmp_path / "log"
    server = serve(make(path, None))
    found = []
    for _, sent in (REFUSED[0], BROKEN[2]):
        answer = server.exchange(sent)
        assert answer.header("X-Request-ID") is None
        found.append(json.loads(answer.body)["request_id"])
    eventually(lambda: len(lines(path)) == 2)
    assert [line["id"] for line in lines(path)] == found


def test_the_middleware_of_a_blueprint_is_for_its_routes(serve: ServeFixture) -> None:
    app = make(None, None)
    part = Blueprint("/part", middlewares=[RequestIDMiddleware()])

    @part.post("/small", limits=RouteLimits(max_body_size=10))
    async def small(request: Request) -> int:
        return len(await request.body())

    app.add_blueprint(part)
    server = serve(app)
    sent = BROKEN[2][1]
    identity(server.exchange(sent.replace(b"/small", b"/part/small")))
    assert server.exchange(sent).header("X-Request-ID") is None
    assert server.exchange(b"bad\r\n\r\n").header("X-Request-ID") is None


def test_an_id_that_would_break_the_answer_is_in_none(serve: ServeFixture, tmp_path: Path) -> None:
    path = tmp_path / "log"
    app = make(path, RequestIDMiddleware())

    @app.add_middleware
    async def mine(request: Request) -> None:
        request.id = 'a"\r\nX: y'

    server = serve(app)
    answer = server.exchange(BROKEN[1][1])
    assert (answer.status, answer.header("X"), answer.header("X-Request-ID")) == (408, None, None)
    assert json.loads(answer.body)["request_id"] == 'a"\r\nX: y'
    eventually(lambda: lines(path))
    assert lines(path)[0]["id"] == 'a"\r\nX: y'


def test_an_answer_to_head_has_the_field_alone(serve: ServeFixture) -> None:
    server = serve(make(None, RequestIDMiddleware()))
    answer = server.exchange(b"HEAD / HTTP/1.1\r\n\r\n", "HEAD")
    assert (answer.status, answer.body) == (400, b"")
    assert answer.header("X-Request-ID")


def test_a_generator_that_fails_costs_the_id_and_not_the_answer(
    serve: ServeFixture, caplog: pytest.LogCaptureFixture
) -> None:
    server = serve(make(None, RequestIDMiddleware(generate=lambda: "not one")))
    answer = server.exchange(b"bad\r\n\r\n")
    assert (answer.status, answer.header("X-Request-ID")) == (400, None)
    assert "generate returned 'not one'" in caplog.text


def test_what_is_too_much_has_one(
    serve: ServeFixture, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("ember.protocol.server.overload.RESERVE", 1)
    path = tmp_path / "log"
    server = serve(make(path, RequestIDMiddleware(), max_connections=1))
    with server.connect() as first, server.connect() as over_limit:
        first.send(HEAD + b"\r\n")
        assert first.recv_response().status == 200
        eventually(lambda: server.server.connections == 2)
        with server.connect() as refused_client:
            refused = refused_client.recv_response()
        over_limit.send(HEAD + b"\r\n")
        shed = over_limit.recv_response()
    assert (refused.status, shed.status) == (503, 503)
    eventually(lambda: len(lines(path)) == 3)
    found = {(line["id"], line["route"], line["status"]) for line in lines(path)[1:]}
    assert found == {(identity(refused), None, 503), (identity(shed), "/", 503)}


def test_too_many_requests_have_one(serve: ServeFixture, tmp_path: Path) -> None:
    path = tmp_path / "log"
    app = make(path, RequestIDMiddleware(), max_concurrent_requests=1)

    @app.get("/wait")
    async def wait() -> None:
        await asyncio.Event().wait()

    server = serve(app)
    with server.connect() as first:
        first.send(HEAD.replace(b"/", b"/wait", 1) + b"\r\n")
        eventually(lambda: server.server.overload.running == 1)
        shed = server.exchange(HEAD + b"\r\n")
    assert shed.status == 503
    eventually(lambda: len(lines(path)) == 2)
    assert identity(shed) in {line["id"] for line in lines(path) if line["route"] == "/"}


def test_health_has_one(serve: ServeFixture, tmp_path: Path) -> None:
    path = tmp_path / "log"
    app = make(path, RequestIDMiddleware(trust_incoming=True))
    server = serve(app)
    ready = [server.get(p, {"X-Request-ID": "mine"}) for p in ("/healthz", "/readyz")]
    assert [(a.status, a.header("X-Request-ID")) for a in ready] == [(200, "mine")] * 2
    app.add_readiness_check(lambda: False, "never")
    answer = server.get("/readyz")
    assert answer.status == 503
    known = identity(answer)
    eventually(lambda: len(lines(path)) == 3)
    assert [line["id"] for line in lines(path)] == ["mine", "mine", known]
    assert [line["route"] for line in lines(path)] == ["/healthz", "/readyz", "/readyz"]


def test_no_other_middleware_is_around_health(serve: ServeFixture) -> None:
    app = Ember()

    @app.add_middleware
    async def forbid(request: Request) -> tuple[str, int]:
        return "no", 403

    app.add_middleware(RequestIDMiddleware())
    server: Running = serve(app)
    answer = server.get("/healthz")
    assert answer.status == 200
    assert answer.header("X-Request-ID")
    assert server.get("/").status == 403

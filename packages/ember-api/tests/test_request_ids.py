"""Request ids: on the answer, in the log, from a proxy that is trusted."""

from __future__ import annotations

import asyncio
import json
import logging
import re
from collections.abc import AsyncIterator
from pathlib import Path
from typing import Any

import pytest
from ember import (
    Ember,
    FileResponse,
    HTTPError,
    Request,
    RequestIDFilter,
    RequestIDMiddleware,
    Response,
    RouteLimits,
)
from ember.cache import TTLCache
from ember.middleware.request_ids import MAX_LENGTH, current_request_id

from tests.support.server import Answer, ServeFixture

HEX = re.compile(r"[0-9a-f]{16}")


def make(tmp_path: Path | None = None, **options: Any) -> Ember:
    app = Ember()
    app.add_middleware(RequestIDMiddleware(**options))

    @app.get("/")
    async def index(request: Request) -> str:
        return request.id

    @app.get("/sync")
    def in_a_thread() -> str:
        return current_request_id.get() or "none"

    @app.get("/stream")
    async def stream() -> AsyncIterator[str]:
        yield "a"
        yield current_request_id.get() or "none"

    @app.get("/missing")
    async def missing() -> None:
        raise HTTPError(404, "not here")

    @app.get("/broken")
    async def broken() -> None:
        raise ValueError("broken")

    @app.get("/slow", limits=RouteLimits(timeout=0.01))
    async def slow() -> None:
        await asyncio.Event().wait()

    @app.get("/cached", cache=TTLCache(ttl=60))
    async def cached() -> str:
        return "cached"

    @app.get("/number")
    async def number(n: int) -> int:
        return n

    if tmp_path is not None:
        (tmp_path / "f.txt").write_text("0123456789")
        app.static("/static", tmp_path)

        @app.get("/file")
        async def file() -> Response:
            return FileResponse(tmp_path / "f.txt")

    return app


def identity(answer: Answer) -> str:
    """The id on the answer, which there is once."""
    value = answer.header("X-Request-ID")
    assert value is not None
    assert HEX.fullmatch(value)
    return value


def test_every_answer_has_the_id_of_its_request(serve: ServeFixture) -> None:
    server = serve(make())
    first, second = server.get("/"), server.get("/")
    assert identity(first) == first.body.decode()
    assert identity(first) != identity(second)
    in_a_thread = server.get("/sync")
    assert in_a_thread.body.decode() == identity(in_a_thread)
    streamed = server.get("/stream")
    assert streamed.body.decode() == "a" + identity(streamed)


@pytest.mark.parametrize(
    ("path", "status"),
    [("/missing", 404), ("/no", 404), ("/broken", 500), ("/slow", 503), ("/number?n=x", 422)],
)
def test_errors_have_it_in_the_header_and_in_the_body(
    serve: ServeFixture, path: str, status: int
) -> None:
    answer = serve(make()).get(path)
    assert answer.status == status
    assert json.loads(answer.body)["request_id"] == identity(answer)


def test_an_answer_past_an_async_error_handler_has_it(serve: ServeFixture) -> None:
    app = make()

    @app.handle(503)
    async def unavailable(request: Request, error: Exception) -> Response:
        return Response("later", 503)

    answer = serve(app).get("/slow")
    assert (answer.status, answer.body) == (503, b"later")
    identity(answer)


def test_a_wrong_method_has_it(serve: ServeFixture) -> None:
    answer = serve(make()).request("POST", "/")
    assert answer.status == 405
    assert json.loads(answer.body)["request_id"] == identity(answer)


def test_files_and_stored_responses_have_the_id_of_this_request(
    serve: ServeFixture, tmp_path: Path
) -> None:
    server = serve(make(tmp_path))
    for path, headers, status in (
        ("/file", {}, 200),
        ("/file", {"Range": "bytes=2-3"}, 206),
        ("/static/f.txt", {}, 200),
        ("/static/f.txt", {"Range": "bytes=2-3"}, 206),
        ("/cached", {}, 200),
    ):
        answers = [server.get(path, headers) for _ in range(3)]
        assert {answer.status for answer in answers} == {status}
        assert len({identity(answer) for answer in answers}) == 3, path
    etag = server.get("/static/f.txt").header("ETag")
    assert etag is not None
    for path in ("/file", "/static/f.txt"):
        answer = server.get(path, {"If-None-Match": etag})
        assert answer.status in (200, 304)
        identity(answer)


def test_without_the_middleware_problems_have_an_id_and_answers_none(serve: ServeFixture) -> None:
    app = Ember()

    @app.get("/missing")
    async def missing() -> None:
        raise HTTPError(404, "not here")

    server = serve(app)
    for path, detail in (("/missing", "not here"), ("/no", "nothing is at /no")):
        answer = server.get(path)
        assert answer.header("X-Request-ID") is None
        problem = json.loads(answer.body)
        assert HEX.fullmatch(problem.pop("request_id"))
        assert problem == {
            "type": "about:blank",
            "title": "Not Found",
            "status": 404,
            "detail": detail,
        }


def test_an_incoming_id_is_not_believed_unless_trusted(serve: ServeFixture) -> None:
    answer = serve(make()).get("/", {"X-Request-ID": "0123456789abcdef"})
    assert identity(answer) == answer.body.decode() != "0123456789abcdef"


@pytest.mark.parametrize(
    "sent",
    ["a", "x" * MAX_LENGTH, "2f1c7a0e-6c0b-4c55-8a3e-0d5d6c1b7f10", "!#$%&'*+-.^_`|~09azAZ"],
)
def test_a_sane_id_of_a_trusted_proxy_is_taken(serve: ServeFixture, sent: str) -> None:
    server = serve(make(trust_incoming=True))
    answer = server.get("/", {"X-Request-ID": sent})
    assert answer.body.decode() == answer.header("X-Request-ID") == sent
    assert json.loads(server.get("/no", {"x-request-id": sent}).body)["request_id"] == sent


@pytest.mark.parametrize(
    "sent", ["", "x" * (MAX_LENGTH + 1), "a b", 'a"', "a,b", "caf\xe9", "a\tb"]
)
def test_any_other_id_is_replaced_by_a_new_one(serve: ServeFixture, sent: str) -> None:
    answer = serve(make(trust_incoming=True)).get("/", {"X-Request-ID": sent})
    assert answer.status == 200
    assert identity(answer) == answer.body.decode()


def test_two_incoming_ids_are_none(serve: ServeFixture) -> None:
    server = serve(make(trust_incoming=True))
    two = "GET / HTTP/1.1\r\nHost: x\r\nX-Request-ID: a\r\nX-Request-ID: b\r\n\r\n"
    identity(server.exchange(two))


def test_header_and_generator_may_be_chosen(serve: ServeFixture) -> None:
    server = serve(make(header="X-Correlation-ID", generate=lambda: "mine-1", trust_incoming=True))
    answer = server.get("/")
    assert answer.body.decode() == answer.header("X-Correlation-ID") == "mine-1"
    assert answer.header("X-Request-ID") is None
    assert server.get("/", {"X-Correlation-ID": "theirs"}).body == b"theirs"


@pytest.mark.parametrize("made", ["", "a\r\nSet-Cookie: b", "x" * (MAX_LENGTH + 1), 7])
def test_a_generator_that_gives_no_id_is_a_failure_of_ours(
    serve: ServeFixture, caplog: pytest.LogCaptureFixture, made: Any
) -> None:
    answer = serve(make(generate=lambda: made)).get("/")
    assert answer.status == 500
    identity(answer)
    assert "generate returned" in caplog.text


def test_log_records_carry_it(serve: ServeFixture, caplog: pytest.LogCaptureFixture) -> None:
    app = make()
    both = asyncio.Barrier(2)

    @app.get("/log/{name}")
    async def log(name: str) -> None:
        await both.wait()
        logging.getLogger("mine").warning("%s", name)

    caplog.handler.addFilter(named := RequestIDFilter())
    server = serve(app)
    with server.connect() as one, server.connect() as two:
        one.send("GET /log/one HTTP/1.1\r\nHost: x\r\n\r\n")
        two.send("GET /log/two HTTP/1.1\r\nHost: x\r\n\r\n")
        ids = {"one": identity(one.recv_response()), "two": identity(two.recv_response())}
    assert ids["one"] != ids["two"]
    failed = identity(server.get("/broken"))
    logging.getLogger("mine").warning("outside")
    caplog.handler.removeFilter(named)
    found = {r.getMessage(): vars(r)["request_id"] for r in caplog.records if r.name == "mine"}
    assert found == ids | {"outside": "-"}
    errors = [vars(r)["request_id"] for r in caplog.records if r.name == "ember.error"]
    assert errors == [failed]


@pytest.mark.parametrize("header", ["", "X Request", "a:b", "a\r\nb", None])
def test_an_invalid_header_is_refused(header: Any) -> None:
    with pytest.raises(ValueError, match="expected the name of a header field"):
        RequestIDMiddleware(header)


def test_a_generator_that_cannot_be_called_is_refused() -> None:
    with pytest.raises(TypeError, match="expected a function without arguments"):
        RequestIDMiddleware(generate="uuid")  # type: ignore[arg-type]

"""The test client: every kind of request, the lifespan, errors, leaving early (P8)."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Awaitable, Callable
from pathlib import Path
from typing import Annotated, Any

import msgspec
import pytest
from ember import (
    Cookie,
    Ember,
    Events,
    HTTPError,
    RedirectResponse,
    Request,
    Response,
    RouteLimits,
    StreamingResponse,
)
from ember.testing import Disconnected, IncompleteResponse, TestClient

from tests.support.waiting import DEADLINE


def with_client(
    app: Ember, scenario: Callable[[TestClient], Awaitable[None]], **options: Any
) -> None:
    async def main() -> None:
        async with asyncio.timeout(DEADLINE), app.test_client(**options) as client:
            await scenario(client)

    asyncio.run(main())


class Task(msgspec.Struct):
    title: str
    done: bool = False


def echo_app() -> Ember:
    app = Ember()

    async def echo(request: Request) -> dict[str, object]:
        return {
            "method": request.method,
            "path": request.path,
            "query": request.query_string,
            "headers": dict(request.headers.items()),
            "body": (await request.body()).decode("latin-1"),
            "client": request.client,
            "scheme": request.scheme,
            "host": request.host,
        }

    app.add_route("/echo", echo, ["GET", "POST", "PUT", "PATCH", "DELETE"])
    return app


def test_every_method_reaches_its_handler() -> None:
    async def scenario(c: TestClient) -> None:
        for call in (c.get, c.post, c.put, c.patch, c.delete):
            response = await call("/echo?a=1", params={"b": [2, 3], "c": True, "d": None})
            assert response.status_code == 200
            assert response.json()["method"] == call.__name__.upper()
            assert response.json()["query"] == "a=1&b=2&b=3&c=true"
        head = await c.head("/echo")
        assert (head.status_code, head.content) == (200, b"")
        assert int(head.headers["content-length"]) > 0
        assert "GET" in (await c.options("/echo")).headers["allow"]

    with_client(echo_app(), scenario)


@pytest.mark.parametrize(
    ("options", "content_type", "body"),
    [
        ({"json": {"a": "é"}}, "application/json", '{"a":"é"}'),
        ({"json": None}, "application/json", "null"),
        ({"json": Task("x")}, "application/json", '{"title":"x","done":false}'),
        ({"data": {"a": ["1", "2"], "b": "c d"}}, "application/x-www-form-urlencoded", None),
        ({"content": "text"}, "text/plain; charset=utf-8", "text"),
        ({"content": b"raw"}, None, "raw"),
    ],
)
def test_a_body_says_what_it_is(
    options: dict[str, Any], content_type: str | None, body: str | None
) -> None:
    async def scenario(c: TestClient) -> None:
        seen = (await c.post("/echo", **options)).json()
        assert seen["headers"].get("content-type") == content_type
        expected = "a=1&a=2&b=c+d" if body is None else body
        assert seen["body"].encode("latin-1").decode() == expected

    with_client(echo_app(), scenario)


def test_files_are_sent_as_a_multipart_form() -> None:
    async def scenario(c: TestClient) -> None:
        seen = (
            await c.post("/echo", data={"title": "x"}, files={"f": ("a.txt", b"AAA", "text/plain")})
        ).json()
        assert seen["headers"]["content-type"].startswith("multipart/form-data; boundary=")
        assert 'name="title"\r\n\r\nx\r\n' in seen["body"]
        assert 'name="f"; filename="a.txt"\r\nContent-Type: text/plain\r\n\r\nAAA' in seen["body"]

    with_client(echo_app(), scenario)


def test_two_kinds_of_body_are_refused() -> None:
    async def scenario(c: TestClient) -> None:
        with pytest.raises(TypeError, match="give one of json=, content="):
            await c.post("/echo", json=1, content=b"1")

    with_client(echo_app(), scenario)


def test_the_application_sees_host_scheme_and_address() -> None:
    async def scenario(c: TestClient) -> None:
        seen = (await c.get("/echo", headers={"X-One": "1"})).json()
        assert (seen["scheme"], seen["host"]) == ("https", "example.org")
        assert seen["client"] == ["10.0.0.1", 9]
        assert (seen["headers"]["x-one"], seen["headers"]["x-all"]) == ("1", "a")

    with_client(
        echo_app(),
        scenario,
        base_url="https://example.org",
        client=("10.0.0.1", 9),
        headers={"X-All": "a"},
    )


def test_a_line_break_in_a_header_is_refused() -> None:
    async def scenario(c: TestClient) -> None:
        with pytest.raises(ValueError, match="X-Bad"):
            await c.get("/echo", headers={"X-Bad": "a\r\nX-Evil: 1"})

    with_client(echo_app(), scenario)


def cookie_app() -> Ember:
    app = Ember()

    @app.get("/login")
    async def login() -> Response:
        response = Response(b"in")
        response.set_cookie("session", "abc")
        response.set_cookie("scoped", "1", path="/deep")
        return response

    @app.get("/logout")
    async def logout() -> Response:
        response = Response(b"out")
        response.delete_cookie("session")
        return response

    async def show(request: Request) -> dict[str, str]:
        return dict(request.cookies)

    app.add_route("/show", show)
    app.add_route("/deep/show", show)

    @app.get("/typed")
    async def typed(session: Annotated[str, Cookie()]) -> str:
        return session

    return app


def test_cookies_are_kept_sent_where_they_belong_and_forgotten() -> None:
    async def scenario(c: TestClient) -> None:
        assert (await c.get("/show")).json() == {}
        assert (await c.get("/login")).cookies == {"session": "abc", "scoped": "1"}
        assert (await c.get("/show")).json() == {"session": "abc"}
        assert (await c.get("/deep/show")).json() == {"session": "abc", "scoped": "1"}
        assert (await c.get("/typed")).text == "abc"
        once = await c.get("/show", cookies={"session": "other"})
        assert once.json() == {"session": "other"}
        await c.get("/logout")
        assert "session" not in c.cookies
        assert (await c.get("/show")).json() == {}
        c.cookies["mine"] = "1"
        assert (await c.get("/show")).json() == {"mine": "1"}

    with_client(cookie_app(), scenario)


def test_redirects_are_followed_and_a_post_becomes_a_get_where_browsers_do_that() -> None:
    app = echo_app()

    @app.post("/see")
    async def see() -> Response:
        return RedirectResponse("/echo?from=see", 303)

    @app.post("/keep")
    async def keep() -> Response:
        return RedirectResponse("/echo", 307)

    @app.get("/loop")
    async def loop() -> Response:
        return RedirectResponse("/loop")

    async def scenario(c: TestClient) -> None:
        seen = await c.post("/see", json=[1])
        assert (seen.json()["method"], seen.json()["body"]) == ("GET", "")
        assert [r.status_code for r in seen.history] == [303]
        kept = await c.post("/keep", json=[1])
        assert (kept.json()["method"], kept.json()["body"]) == ("POST", "[1]")
        assert (await c.post("/see", follow_redirects=False)).status_code == 303
        with pytest.raises(RuntimeError, match="more than 20 redirects"):
            await c.get("/loop")

    with_client(app, scenario)


def failing_app() -> Ember:
    app = Ember()

    @app.get("/gone")
    async def gone() -> str:
        raise HTTPError(410, "it is gone")

    @app.get("/expected")
    async def expected() -> str:
        raise LookupError("foreseen")

    @app.handle(LookupError)
    async def answer(request: Request, error: LookupError) -> tuple[str, int]:
        return "foreseen", 409

    return app


def test_what_a_handler_raises_is_raised_in_the_test() -> None:
    app = Ember()

    @app.get("/broken")
    async def broken() -> str:
        raise ZeroDivisionError("oops")

    async def raised(c: TestClient) -> None:
        with pytest.raises(ZeroDivisionError, match="oops"):
            await c.get("/broken")

    async def answered(c: TestClient) -> None:
        response = await c.get("/broken")
        assert response.status_code == 500
        with pytest.raises(AssertionError, match="GET http://testserver/broken: 500"):
            response.raise_for_status()

    with_client(app, raised)
    with_client(app, answered, raise_exceptions=False)


def test_errors_that_the_application_foresaw_are_answers() -> None:
    async def scenario(c: TestClient) -> None:
        assert (await c.get("/gone")).json()["detail"] == "it is gone"
        expected = await c.get("/expected")
        assert (expected.status_code, expected.text) == (409, "foreseen")
        assert (await c.get("/nowhere")).status_code == 404

    with_client(failing_app(), scenario)


def test_hooks_and_lifespan_run_around_the_block() -> None:
    app = Ember()
    log: list[str] = []
    for event in Events:
        if event.value.endswith(("start", "stop")):

            def note(event: Events = event) -> None:
                log.append(event.value)

            app.hook(event)(note)

    @app.lifespan
    async def resource() -> AsyncIterator[None]:
        log.append("enter")
        yield
        log.append("leave")

    @app.get("/")
    async def index() -> str:
        log.append("request")
        return "x"

    async def scenario(c: TestClient) -> None:
        assert log == ["before_server_start", "enter", "after_server_start"]
        await c.get("/")

    with_client(app, scenario)
    assert log[3:] == ["request", "before_server_stop", "leave", "after_server_stop"]


def test_a_client_that_was_not_entered_says_how() -> None:
    with pytest.raises(RuntimeError, match="as `async with app"):
        asyncio.run(Ember().test_client().get("/"))


class Ticker:
    """An endless stream that knows what became of it."""

    def __init__(self) -> None:
        self.sent = 0
        self.closed = False

    async def __call__(self) -> AsyncIterator[bytes]:
        try:
            while True:
                self.sent += 1
                yield b"0123456789" * 10
        finally:
            self.closed = True


def streaming_app(ticker: Ticker) -> Ember:
    app = Ember()

    @app.get("/endless")
    async def endless() -> Response:
        return StreamingResponse(ticker())

    @app.get("/breaks")
    async def breaks() -> Response:
        async def chunks() -> AsyncIterator[bytes]:
            yield b"a"
            raise ValueError("in the middle")

        return StreamingResponse(chunks())

    @app.post("/upload")
    async def upload(request: Request) -> int:
        size = 0
        try:
            async for chunk in request.stream:
                size += len(chunk)
        finally:
            ticker.sent, ticker.closed = size, True
        return size

    return app


def test_the_client_leaves_at_a_byte_of_the_answer_and_the_stream_is_closed() -> None:
    ticker = Ticker()

    async def scenario(c: TestClient) -> None:
        response = await c.get("/endless", receive_at_most=123)
        assert len(response.content) == 123
        assert ticker.closed

    with_client(streaming_app(ticker), scenario)


def test_a_stream_is_read_as_it_comes_and_a_slow_reader_slows_it() -> None:
    ticker = Ticker()

    async def scenario(c: TestClient) -> None:
        async with c.stream("GET", "/endless") as response:
            assert await response.read(7) == b"0123456"
            for _ in range(100):
                await asyncio.sleep(0)
            # 64 KiB wait for the reader on each side of the pipe, and no more are made.
            assert ticker.sent < 3000
            assert not ticker.closed
            with pytest.raises(RuntimeError, match="was not read"):
                response.content  # noqa: B018
        assert ticker.closed

    with_client(streaming_app(ticker), scenario)


def test_a_stream_that_breaks_is_seen_to_break() -> None:
    async def scenario(c: TestClient) -> None:
        with pytest.raises(IncompleteResponse):
            await c.get("/breaks")

    with_client(streaming_app(Ticker()), scenario)


def test_the_client_leaves_at_a_byte_of_its_upload() -> None:
    ticker = Ticker()

    async def scenario(c: TestClient) -> None:
        with pytest.raises(Disconnected, match="after 70000 bytes"):
            await c.post("/upload", content=b"x" * 100_000, send_at_most=70_000)
        assert ticker.closed
        ticker.closed = False
        with pytest.raises(Disconnected):
            await c.post("/upload", content=blocks(), send_at_most=5)
        assert ticker.closed

    with_client(streaming_app(ticker), scenario)


async def blocks() -> AsyncIterator[bytes]:
    for _ in range(30):
        yield b"x" * 1000


def test_an_upload_is_streamed_chunk_by_chunk() -> None:
    async def scenario(c: TestClient) -> None:
        assert (await c.post("/upload", content=blocks())).json() == 30_000
        assert (await c.post("/upload", content=b"y" * 300_000)).json() == 300_000

    with_client(streaming_app(Ticker()), scenario)


def test_an_upload_over_the_limit_is_answered_and_not_read() -> None:
    app = Ember()

    @app.post("/small", limits=RouteLimits(max_body_size=10))
    async def small(request: Request) -> int:
        return len(await request.body())

    async def scenario(c: TestClient) -> None:
        assert (await c.post("/small", content=b"x" * 10)).json() == 10
        assert (await c.post("/small", content=b"x" * 11)).status_code == 413
        assert (await c.post("/small", content=blocks())).status_code == 413

    with_client(app, scenario)


def test_concurrent_requests_do_not_wait_for_each_other() -> None:
    app = Ember()
    go = asyncio.Event()

    @app.get("/wait")
    async def wait() -> str:
        await go.wait()
        return "waited"

    @app.get("/go")
    async def release() -> str:
        go.set()
        return "released"

    async def scenario(c: TestClient) -> None:
        first, second = await asyncio.gather(c.get("/wait"), c.get("/go"))
        assert (first.text, second.text) == ("waited", "released")

    with_client(app, scenario)


def test_a_handler_that_never_answers_is_a_time_out() -> None:
    app = Ember()
    cancelled = False

    @app.get("/never")
    async def never() -> None:
        nonlocal cancelled
        try:
            await asyncio.Event().wait()
        finally:
            cancelled = True

    async def scenario(c: TestClient) -> None:
        with pytest.raises(TimeoutError):
            await c.get("/never", timeout=0.01)
        assert cancelled

    with_client(app, scenario)


@pytest.mark.once
def test_new_projects_run_async_tests_with_the_plugin(tmp_path: Path) -> None:
    import subprocess
    import sys

    (tmp_path / "test_it.py").write_text(
        "import asyncio\n"
        "async def test_passes(tmp_path):\n    await asyncio.sleep(0)\n    assert tmp_path\n"
        "async def test_fails():\n    await asyncio.sleep(0)\n    assert False\n"
        "def test_plain():\n    pass\n"
    )
    done = subprocess.run(
        [sys.executable, "-m", "pytest", "-q", "-p", "ember.testing.plugin", "."],
        cwd=tmp_path,
        capture_output=True,
        text=True,
        timeout=120,
        check=False,
    )
    assert "1 failed, 2 passed" in done.stdout, done.stdout

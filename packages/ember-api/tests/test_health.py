"""`/healthz` and `/readyz`: what they answer while the server starts, serves, fails and stops."""

from __future__ import annotations

import asyncio
import logging
import threading
from collections.abc import Callable, Iterator
from typing import Any

import pytest
from ember import Ember, Events, HTTPError, Request
from ember._json import loads
from ember.protocol import MemoryConnection

from tests.support.answers import Answer, read_answers
from tests.support.server import ServeFixture

Started = Callable[[Ember], None]


@pytest.fixture
def run() -> Iterator[Started]:
    """Serve applications as `app.run` does, in threads, until the test ends."""
    apps: list[Ember] = []

    def start(app: Ember) -> None:
        app.run(port=0, block=False, startup_message=False)
        apps.append(app)

    yield start
    for app in apps:
        app.stop()


def fetch(app: Ember, path: str) -> Answer:
    import http.client

    assert app.server is not None
    host, port = app.server.addresses[0]
    connection = http.client.HTTPConnection(str(host), int(port), timeout=120)
    try:
        connection.request("GET", path)
        response = connection.getresponse()
        return Answer(response.status, response.reason, response.getheaders(), response.read())
    finally:
        connection.close()


def ask(app: Ember, path: str, host: str = "x") -> Answer:
    """The answer from memory: for what does not wait."""
    connection = MemoryConnection(app)
    connection.feed(f"GET {path} HTTP/1.1\r\nHost: {host}\r\n\r\n".encode())
    (answer,) = read_answers(connection.take())
    return answer


def test_both_answer_without_being_asked_for(serve: ServeFixture) -> None:
    server = serve(Ember())
    health, ready = server.get("/healthz"), server.get("/readyz")
    assert (health.status, health.body) == (200, b'{"status":"ok"}')
    assert (ready.status, ready.body) == (200, b'{"status":"ready","checks":{}}')
    assert health.header("cache-control") == ready.header("cache-control") == "no-store"
    assert server.request("HEAD", "/healthz").status == 200


def test_they_can_be_moved_and_left_out(serve: ServeFixture) -> None:
    server = serve(Ember(healthz_url="/live", readyz_url=None))
    assert [server.get(p).status for p in ("/live", "/healthz", "/readyz")] == [200, 404, 404]


@pytest.mark.parametrize("url", ["healthz", "", 3])
def test_a_url_that_is_no_path_is_refused(url: Any) -> None:
    with pytest.raises(TypeError, match="expected a path such as /healthz, or None"):
        Ember(healthz_url=url)


def test_a_route_of_the_application_on_that_path_wins() -> None:
    app = Ember()

    @app.get("/healthz")
    async def mine() -> str:
        return "mine"

    assert ask(app, "/healthz").body == b"mine"
    assert ask(app, "/readyz").status == 200


def test_they_are_not_in_the_description() -> None:
    assert loads(ask(Ember(), "/openapi.json").body)["paths"] == {}


def test_no_middleware_and_no_hook_is_around_them(serve: ServeFixture) -> None:
    app = Ember()

    @app.hook(Events.BEFORE_ENDPOINT)
    def nobody(request: Request) -> None:
        raise HTTPError(401)

    @app.get("/")
    async def index() -> str:
        return "x"

    server = serve(app)
    assert [server.get(p).status for p in ("/", "/healthz", "/readyz")] == [401, 200, 200]


def test_every_kind_of_check_is_asked(serve: ServeFixture) -> None:
    app = Ember()
    threads: list[str] = []

    @app.add_readiness_check
    async def database() -> bool:
        return True

    def disk() -> None:
        threads.append(threading.current_thread().name)

    app.add_readiness_check(disk)
    app.add_readiness_check(lambda: asyncio.sleep(0, True), "queue")
    server = serve(app)
    answer = server.get("/readyz")
    assert answer.status == 200
    assert loads(answer.body)["checks"] == {"database": "ok", "disk": "ok", "queue": "ok"}
    assert threads[0].startswith("ember-worker")


def test_a_check_that_fails_is_503_and_says_why_in_the_log_only(
    serve: ServeFixture, caplog: pytest.LogCaptureFixture
) -> None:
    app = Ember()

    @app.add_readiness_check
    async def fine() -> None:
        pass

    @app.add_readiness_check
    async def database() -> None:
        raise ConnectionError("password=secret is wrong")

    @app.add_readiness_check
    async def false() -> bool:
        return False

    @app.add_readiness_check
    async def own_timeout() -> None:
        raise TimeoutError

    server = serve(app)
    with caplog.at_level(logging.WARNING, "ember.health"):
        answer = server.get("/readyz")
    assert answer.status == 503
    assert answer.header("content-type") == "application/problem+json"
    problem = loads(answer.body)
    assert problem["checks"] == {
        "fine": "ok",
        "database": "failed: ConnectionError",
        "false": "failed: returned bool",
        "own_timeout": "failed: TimeoutError",
    }
    assert problem["detail"] == "not ready: database, false, own_timeout"
    assert b"secret" not in answer.body
    assert "password=secret is wrong" in caplog.text
    assert server.get("/healthz").status == 200


@pytest.mark.parametrize("kind", [SystemExit, KeyboardInterrupt, asyncio.CancelledError])
def test_no_kind_of_failure_ends_the_server(
    serve: ServeFixture, kind: type[BaseException], caplog: pytest.LogCaptureFixture
) -> None:
    app = Ember()

    @app.add_readiness_check
    async def waits() -> None:
        raise kind

    @app.add_readiness_check
    def blocks() -> None:
        raise kind

    @app.add_readiness_check
    async def fine() -> None: ...

    server = serve(app)
    for _ in range(2):
        answer = server.get("/readyz")
        assert answer.status == 503
        failed = f"failed: {kind.__name__}"
        assert loads(answer.body)["checks"] == {"waits": failed, "blocks": failed, "fine": "ok"}
    assert "readiness check waits failed" in caplog.text
    assert server.get("/healthz").status == 200


def test_a_check_beyond_its_time_has_failed_and_is_cancelled(serve: ServeFixture) -> None:
    app = Ember()
    ended: list[str] = []

    async def slow() -> None:
        try:
            await asyncio.Event().wait()
        finally:
            ended.append("cancelled")

    app.add_readiness_check(slow, timeout=0.05)
    answer = serve(app).get("/readyz")
    assert answer.status == 503
    assert loads(answer.body)["checks"] == {"slow": "failed: no result within 0.05 s"}
    assert ended == ["cancelled"]


def test_a_function_that_blocks_is_not_called_again_before_it_has_come_back(
    serve: ServeFixture,
) -> None:
    app = Ember()
    calls: list[int] = []
    gate, back = threading.Event(), threading.Event()

    def stuck() -> None:
        calls.append(1)
        gate.wait(10)
        back.set()

    app.add_readiness_check(stuck, timeout=0.05)
    server = serve(app)
    first, second = server.get("/readyz"), server.get("/readyz")
    assert loads(first.body)["checks"] == {"stuck": "failed: no result within 0.05 s"}
    assert loads(second.body)["checks"] == {
        "stuck": "failed: has not come back from an earlier call"
    }
    assert len(calls) == 1
    gate.set()
    assert back.wait(10)


def test_not_ready_before_the_start_hooks_have_finished(run: Started) -> None:
    app = Ember()
    during: list[Answer] = []

    @app.hook(Events.AFTER_SERVER_START)
    async def warm_up() -> None:
        loop = asyncio.get_running_loop()
        during.append(await loop.run_in_executor(None, fetch, app, "/readyz"))
        during.append(await loop.run_in_executor(None, fetch, app, "/healthz"))

    run(app)
    assert [answer.status for answer in during] == [503, 200]
    assert b"the server is starting" in during[0].body
    assert fetch(app, "/readyz").status == 200


def test_not_ready_while_the_server_drains(run: Started) -> None:
    app = Ember()
    run(app)
    assert fetch(app, "/readyz").status == 200
    app.server.draining = True  # type: ignore[union-attr]
    answer = fetch(app, "/readyz")
    assert (answer.status, fetch(app, "/healthz").status) == (503, 200)
    assert b"the server is stopping" in answer.body


def with_a_parameter(database: object) -> None: ...


@pytest.mark.parametrize(
    ("check", "options", "error", "message"),
    [
        (3, {}, TypeError, "expected a function"),
        (with_a_parameter, {}, TypeError, "expected a function without parameters"),
        (bool, {"timeout": 0}, ValueError, "expected seconds, more than 0"),
        (bool, {"name": "taken"}, ValueError, "the name is taken; choose another with name="),
    ],
)
def test_what_cannot_be_asked_is_refused(
    check: Any, options: dict[str, Any], error: type[Exception], message: str
) -> None:
    app = Ember()
    app.add_readiness_check(bool, "taken")
    with pytest.raises(error, match=message):
        app.add_readiness_check(check, **options)

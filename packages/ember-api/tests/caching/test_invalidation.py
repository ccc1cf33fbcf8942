"""`cache=` on a route over real sockets: what makes it forget, and when."""

from __future__ import annotations

from collections.abc import Awaitable, Callable
from typing import Any

from ember import (
    Ember,
    Request,
    Response,
)
from ember.cache import TTLCache

from tests.support.cached import Clock, counting, state
from tests.support.server import ServeFixture
from tests.support.waiting import eventually

Next = Callable[[Request], Awaitable[Response]]


def test_invalidation_by_key_pattern_and_tag_is_seen_by_the_next_request(
    serve: ServeFixture,
) -> None:
    app = Ember()
    cache = TTLCache(ttl=60, tags=lambda request: [f"page:{request.args.get('p')}"])
    counting(app, "/x", cache)
    server = serve(app)
    with server.connect() as client:

        def get(path: str) -> bytes:
            client.send(f"GET {path} HTTP/1.1\r\nHost: a\r\n\r\n")
            return client.recv_response().body

        assert [get("/x?p=1") for _ in range(3)] == [b"answer 1"] * 3
        server.call(cache.invalidate(key="GET http://a/x?p=1"))
        assert [get("/x?p=1") for _ in range(3)] == [b"answer 2"] * 3
        server.call(cache.invalidate(pattern="GET *://*/x*"))
        assert [get("/x?p=1") for _ in range(3)] == [b"answer 3"] * 3
        server.call(cache.invalidate(tag="page:2"))
        assert get("/x?p=1") == b"answer 3"
        server.call(cache.invalidate(tag="page:1"))
        assert [get("/x?p=1") for _ in range(3)] == [b"answer 4"] * 3

        async def clear() -> None:
            cache.clear()

        server.call(clear())
        assert get("/x?p=1") == b"answer 5"


def test_an_unsafe_method_that_succeeds_forgets_what_is_kept_for_its_path(
    serve: ServeFixture,
) -> None:
    app = Ember()
    tasks = ["first"]
    refuse = [False]

    @app.get("/tasks", cache=TTLCache(ttl=60))
    async def listing() -> list[str]:
        return tasks

    @app.post("/tasks")
    async def add(request: Request) -> Any:
        if refuse[0]:
            return "no", 400
        tasks.append((await request.body()).decode())
        return None

    counting(app, "/other", TTLCache(ttl=60))
    server = serve(app)
    for _ in range(3):
        assert server.get("/tasks?limit=5").body == b'["first"]'
        assert server.get("/other").body == b"answer 1"
    server.request("POST", "/tasks", b"second")
    assert state(server.get("/tasks?limit=5")) == ("MISS", b'["first","second"]')
    assert state(server.get("/other")) == ("HIT", b"answer 1")
    refuse[0] = True
    server.request("POST", "/tasks", b"third")
    assert state(server.get("/tasks?limit=5"))[0] == "HIT"


def test_a_ttl_of_a_second_asks_the_handler_once_a_second_at_any_rate(serve: ServeFixture) -> None:
    clock = Clock()
    app = Ember()
    calls = counting(app, "/x", TTLCache(ttl=1.0, clock=clock))
    server = serve(app)
    with server.connect() as client:
        for _ in range(2000):  # two seconds, 1,000 requests in each
            client.send("GET /x HTTP/1.1\r\nHost: a\r\n\r\n")
            assert client.recv_response().status == 200
            clock.now += 0.001
    assert len(calls) in (2, 3)  # floating point decides about the last one


def test_an_answer_that_the_connection_gives_expires_by_itself(serve: ServeFixture) -> None:
    app = Ember()
    calls = counting(app, "/x", TTLCache(ttl=0.05))
    server = serve(app)
    with server.connect() as client:

        def get() -> tuple[str | None, bytes]:
            client.send("GET /x HTTP/1.1\r\nHost: a\r\n\r\n")
            return state(client.recv_response())

        eventually(lambda: get() == ("MISS", b"answer 4"))
    assert len(calls) == 4

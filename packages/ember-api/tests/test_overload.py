"""A full server: what it still answers is health, and what is kept."""

from __future__ import annotations

import asyncio
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager
from typing import Any

import pytest
from ember import Ember, Request, RequestIDMiddleware, ServerLimits
from ember.cache import StaticCache, TTLCache

from tests.support.server import Client, Running, ServeFixture
from tests.support.waiting import eventually


def get(client: Client, path: str, *fields: str, method: str = "GET") -> tuple[int, str | None]:
    """Status, and what the cache says."""
    client.send("\r\n".join([f"{method} {path} HTTP/1.1", "Host: x", *fields, "", ""]))
    answer = client.recv_response(method)
    return answer.status, answer.header("x-cache")


def make(**limits: Any) -> Ember:
    app = Ember(metrics=True, server_limits=ServerLimits(**limits))

    @app.get("/wait")
    async def wait() -> None:
        await asyncio.Event().wait()

    @app.get("/kept", cache=TTLCache(ttl=60))
    async def kept() -> str:
        return "kept"

    @app.get("/static", cache=StaticCache())
    async def static() -> str:
        return "static"

    @app.add_readiness_check
    async def database() -> bool:
        await asyncio.sleep(0)
        return True

    return app


@contextmanager
def full(running: Running, requests: int, waiting: int) -> Iterator[None]:
    """So many requests under way, and so many in the queue."""
    overload = running.server.overload
    with ExitStack() as stack:
        for _ in range(requests + waiting):
            client = stack.enter_context(running.connect())
            client.send("GET /wait HTTP/1.1\r\nHost: x\r\n\r\n")
        eventually(lambda: (overload.running, overload.queued) == (requests, waiting))
        yield


@pytest.mark.parametrize("around", [False, True])
def test_hits_are_given_while_every_turn_is_taken(serve: ServeFixture, around: bool) -> None:
    app = make(max_concurrent_requests=2, max_queued_requests=1)
    if around:  # not from the connection, but from the application
        app.add_middleware(RequestIDMiddleware())
    running = serve(app)
    with running.connect() as client:
        for path in ("/kept", "/static"):
            assert get(client, path) == (200, "MISS")
        with full(running, 2, 1):
            for path in ("/kept", "/static"):
                for _ in range(3):
                    assert get(client, path) == (200, "HIT")
                assert get(client, path, method="HEAD") == (200, "HIT")
            assert get(client, "/kept?other") == (503, None), "a miss takes a turn"


def test_a_hit_that_has_to_be_looked_at_takes_a_turn(serve: ServeFixture) -> None:
    running = serve(make(max_concurrent_requests=1))
    with running.connect() as client:
        assert get(client, "/kept") == (200, "MISS")
        with full(running, 1, 0):
            assert get(client, "/kept", "If-None-Match: x") == (503, None)


def test_on_a_connection_above_the_maximum_a_hit_is_503_as_well(serve: ServeFixture) -> None:
    running = serve(make(max_connections=1))
    with running.connect() as client:
        assert get(client, "/kept") == (200, "MISS")
        assert get(client, "/kept") == (200, "HIT")
        with running.connect() as over_limit:
            assert get(over_limit, "/kept") == (503, None)
        assert get(client, "/kept") == (200, "HIT")


def test_health_is_answered_with_everything_full(serve: ServeFixture) -> None:
    app = make(max_connections=4, max_concurrent_requests=2, max_queued_requests=1)
    asked: list[str] = []

    @app.add_middleware
    async def slow(request: Request) -> None:
        asked.append(request.path)

    running = serve(app)
    with running.connect() as kept_alive:
        assert get(kept_alive, "/healthz") == (200, None)
        with full(running, 2, 1):
            assert running.server.connections == 4
            for _ in range(3):
                for path in ("/healthz", "/readyz"):
                    assert get(kept_alive, path) == (200, None)
                    with running.connect() as fresh:
                        assert get(fresh, path) == (200, None)
                        assert fresh.recv_until_close() == b""
            with running.connect() as fresh:
                assert get(fresh, "/wait") == (503, None)
            assert get(kept_alive, "/wait") == (503, None)
    assert "/healthz" not in asked

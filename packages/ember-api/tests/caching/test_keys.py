"""`cache=` on a route over real sockets: what makes two requests the same."""

from __future__ import annotations

from collections.abc import Awaitable, Callable
from typing import Annotated

import pytest
from ember import (
    Cookie,
    Ember,
    Header,
    Request,
    Response,
)
from ember.cache import TTLCache

from tests.support.cached import counting, state
from tests.support.server import ServeFixture

Next = Callable[[Request], Awaitable[Response]]


def test_vary_headers_are_part_of_the_key_and_are_told(serve: ServeFixture) -> None:
    app = Ember()

    @app.get("/x", cache=TTLCache(ttl=60, vary_headers=["Accept-Language"]))
    async def greeting(request: Request) -> str:
        return request.headers.get("accept-language", "none")

    server = serve(app)
    for language in ("de", "en"):
        for expected in ("MISS", "HIT", "HIT"):
            answer = server.get("/x", {"Accept-Language": language})
            assert state(answer) == (expected, language.encode())
            assert answer.header("vary") == "accept-language"


def test_key_fn_makes_the_whole_key(serve: ServeFixture) -> None:
    app = Ember()
    cache = TTLCache(ttl=60, key_fn=lambda request: f"item:{request.args.get('id')}")
    counting(app, "/x", cache)
    server = serve(app)
    assert state(server.get("/x?id=1&utm=a")) == ("MISS", b"answer 1")
    assert state(server.get("/x?utm=b&id=1")) == ("HIT", b"answer 1")
    assert state(server.get("/x?id=2")) == ("MISS", b"answer 2")
    server.call(cache.invalidate(key="item:1"))
    assert state(server.get("/x?id=1")) == ("MISS", b"answer 3")


def test_a_key_of_two_routes_in_one_cache_never_mixes_them_up(
    serve: ServeFixture, caplog: pytest.LogCaptureFixture
) -> None:
    app = Ember()
    cache = TTLCache(ttl=60, key_fn=lambda request: "same")

    @app.get("/a", cache=cache)
    async def a() -> str:
        return "a"

    @app.get("/b", cache=cache)
    async def b() -> str:
        return "b"

    server = serve(app)
    for _ in range(3):
        assert server.get("/a").body == b"a"
        assert server.get("/b").body == b"b"
    assert caplog.text.count("'same' is the key of an answer of another route") == 1


def test_a_key_fn_that_gives_no_str_is_an_error_that_says_so(
    serve: ServeFixture, caplog: pytest.LogCaptureFixture
) -> None:
    app = Ember()
    counting(app, "/x", TTLCache(ttl=60, key_fn=lambda request: 7))  # type: ignore[arg-type,return-value]
    assert serve(app).get("/x").status == 500
    assert "key_fn gave int, expected str" in caplog.text


def test_headers_and_cookies_that_a_handler_asks_for_are_part_of_the_key(
    serve: ServeFixture,
) -> None:
    app = Ember()

    @app.get("/header", cache=TTLCache(ttl=60))
    async def header(x_tenant: Annotated[str, Header()] = "none") -> str:
        return x_tenant

    @app.get("/cookie", cache=TTLCache(ttl=60))
    async def cookie(theme: Annotated[str, Cookie()] = "none") -> str:
        return theme

    server = serve(app)
    for value in ("a", "b"):
        for expected in ("MISS", "HIT", "HIT"):
            answer = server.get("/header", {"X-Tenant": value})
            assert state(answer) == (expected, value.encode())
            answer = server.get("/cookie", {"Cookie": f"theme={value}"})
            assert state(answer) == (expected, value.encode())


def test_what_an_answer_varies_on_becomes_part_of_the_key(serve: ServeFixture) -> None:
    app = Ember()
    calls: list[str] = []

    @app.get("/x", cache=TTLCache(ttl=60))
    async def greeting(request: Request) -> Response:
        language = request.headers.get("accept-language", "none")
        calls.append(language)
        return Response(language, headers={"Vary": "Accept-Language"})

    server = serve(app)
    assert server.get("/x", {"Accept-Language": "fr"}).header("x-cache") == "MISS"  # learns it
    for language in ("de", "en"):
        for expected in ("MISS", "HIT", "HIT"):
            answer = server.get("/x", {"Accept-Language": language})
            assert state(answer) == (expected, language.encode())
            assert answer.header("vary") == "Accept-Language"
    assert calls == ["fr", "de", "en"]


def test_an_answer_that_varies_on_ever_new_fields_is_not_kept(
    serve: ServeFixture, caplog: pytest.LogCaptureFixture
) -> None:
    app = Ember()
    calls: list[int] = []

    @app.get("/x", cache=TTLCache(ttl=60))
    async def made_up() -> Response:
        calls.append(1)
        return Response("x", headers={"Vary": f"X-{len(calls)}"})

    server = serve(app)
    for _ in range(20):
        assert server.get("/x").header("x-cache") == "MISS"
    assert caplog.text.count("vary on more than 16 fields") == 1
    assert len(calls) == 20

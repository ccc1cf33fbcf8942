"""`cache=` on a route over real sockets: what makes two requests the same."""

from __future__ import annotations

from collections.abc import Awaitable, Callable
from pathlib import Path
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
from ember.protocol.server.tls import ServerTLS

from tests.support.cached import counting, state
from tests.support.server import ServeFixture
from tests.support.tls import Authority

Next = Callable[[Request], Awaitable[Response]]


@pytest.mark.parametrize("method", ["GET", "HEAD"])
def test_no_host_is_given_what_was_made_for_another(serve: ServeFixture, method: str) -> None:
    """An answer with absolute URLs names the host that it was asked by: one made-up Host, kept,
    would send everybody there."""
    app = Ember()
    calls: list[str] = []

    @app.get("/x", cache=TTLCache(ttl=60))
    async def links(request: Request) -> Response:
        calls.append(request.host)
        return Response(b"", headers={"Link": f"<{request.url}>; rel=canonical"})

    server = serve(app)
    hosts = ["evil.test", "a.test", "a.test:81", "[::1]:80", "", "A.test"]
    links_ = {}
    for _ in range(3):
        for host in hosts:
            answer = server.request(method, "/x", headers={"Host": host})
            links_[host] = answer.header("link")
    # A host is the same in any case (RFC 3986 section 3.2.2), so A.test shares with a.test.
    made_for = {host: host for host in hosts} | ({"A.test": "a.test"} if method == "GET" else {})
    assert links_ == {h: f"<http://{made_for[h]}/x>; rel=canonical" for h in hosts}
    if method == "GET":
        assert sorted(calls) == sorted(hosts[:-1])


def test_the_authority_of_an_absolute_target_counts_for_its_host(serve: ServeFixture) -> None:
    app = Ember()
    calls = counting(app, "/x", TTLCache(ttl=60))
    server = serve(app)

    def ask(target: str, host: str) -> tuple[str | None, bytes]:
        with server.connect() as client:
            client.send(f"GET {target} HTTP/1.1\r\nHost: {host}\r\n\r\n")
            return state(client.recv_response())

    assert ask("http://a/x", "b") == ("MISS", b"answer 1")  # RFC 9112 section 3.2.2
    assert ask("/x", "b") == ("MISS", b"answer 2")
    for _ in range(2):
        assert ask("/x", "a") == ("HIT", b"answer 1")
        assert ask("/x", "b") == ("HIT", b"answer 2")
        assert ask("http://a/x", "b") == ("HIT", b"answer 1")
    assert len(calls) == 2


def test_what_was_asked_by_http_is_not_given_by_https(serve: ServeFixture, tmp_path: Path) -> None:
    authority = Authority(tmp_path)
    app = Ember()

    @app.get("/x", cache=TTLCache(ttl=60))
    async def url(request: Request) -> str:
        return request.url

    name = {"Host": "localhost"}
    plain = serve(app)
    secure = serve(app, ssl=ServerTLS(*authority.pair("localhost")))
    trust = authority.client()
    for expected in ("MISS", "HIT", "HIT"):
        assert state(plain.get("/x", name)) == (expected, b"http://localhost/x")
        answer = secure.request("GET", "/x", headers=name, context=trust)
        assert state(answer) == (expected, b"https://localhost/x")


def test_with_vary_headers_host_and_scheme_are_in_the_key_too(serve: ServeFixture) -> None:
    app = Ember()

    @app.get("/x", cache=TTLCache(ttl=60, vary_headers=["X-Kind"]))
    async def url(request: Request) -> str:
        return f"{request.url} {request.headers.get('x-kind')}"

    server = serve(app)
    for expected in ("MISS", "HIT", "HIT"):
        for host in ("a", "b"):
            for kind in ("1", "2"):
                answer = server.get("/x?q", {"Host": host, "X-Kind": kind})
                assert state(answer) == (expected, f"http://{host}/x?q {kind}".encode())


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
    assert caplog.text.count("'same' is also the key of another route") == 1


def test_a_key_fn_that_gives_no_str_is_an_error_that_says_so(
    serve: ServeFixture, caplog: pytest.LogCaptureFixture
) -> None:
    app = Ember()
    counting(app, "/x", TTLCache(ttl=60, key_fn=lambda request: 7))  # type: ignore[arg-type,return-value]
    assert serve(app).get("/x").status == 500
    assert "key_fn returned int, expected str" in caplog.text


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

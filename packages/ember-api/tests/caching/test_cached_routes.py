"""`cache=` on a route over real sockets: hits, what stands before and after them, counts."""

from __future__ import annotations

import gzip
from collections.abc import Awaitable, Callable
from typing import Annotated, Any

import pytest
from ember import (
    Blueprint,
    Depends,
    Ember,
    Events,
    HTMLResponse,
    JSONResponse,
    Request,
    Response,
    StreamingResponse,
    Unauthorized,
)
from ember._build import PURE
from ember.cache import StaticCache, TTLCache
from ember.middleware import compression

from tests.support.cached import Clock, counting, state
from tests.support.server import ServeFixture

Next = Callable[[Request], Awaitable[Response]]


# -- hits -------------------------------------------------------------------------------------


def test_the_second_request_is_a_hit_and_looks_like_the_first(serve: ServeFixture) -> None:
    app = Ember()
    calls = counting(app, "/x", TTLCache(ttl=60))
    server = serve(app)
    first, *rest = (server.get("/x") for _ in range(4))
    assert state(first) == ("MISS", b"answer 1")
    assert first.header("age") is None
    for answer in rest:
        assert state(answer) == ("HIT", b"answer 1")
        assert answer.header("age") == "0"
        assert answer.header("etag") == first.header("etag")
        assert answer.header("content-type") == first.header("content-type")
    assert len(calls) == 1


def test_hits_on_one_connection_and_in_one_segment_come_in_order(serve: ServeFixture) -> None:
    app = Ember()
    counting(app, "/x", TTLCache(ttl=60))
    counting(app, "/y", TTLCache(ttl=60))
    server = serve(app)
    for path in ("/x", "/y", "/x", "/y"):
        server.get(path, {"Host": "a"})
    with server.connect() as client:
        one = "GET {} HTTP/1.1\r\nHost: a\r\n\r\n".format
        client.send(one("/x") + one("/y") + one("/x?q") + one("/x"))
        states = [state(client.recv_response()) for _ in range(4)]
    assert states == [
        ("HIT", b"answer 1"),
        ("HIT", b"answer 1"),
        ("MISS", b"answer 2"),
        ("HIT", b"answer 1"),
    ]


def test_the_clock_makes_it_expire(serve: ServeFixture) -> None:
    clock = Clock()
    app = Ember()
    calls = counting(app, "/x", TTLCache(ttl=10, clock=clock))
    server = serve(app)
    assert state(server.get("/x"))[0] == "MISS"
    clock.now += 9.5
    hit = server.get("/x")
    assert (hit.header("x-cache"), hit.header("age")) == ("HIT", "9")
    clock.now += 0.5
    assert state(server.get("/x")) == ("MISS", b"answer 2")
    assert len(calls) == 2


def test_each_query_and_path_has_its_own_entry(serve: ServeFixture) -> None:
    app = Ember()
    calls: list[str] = []

    @app.get("/items/{name}", cache=TTLCache(ttl=60))
    async def item(name: str, page: int = 1) -> str:
        calls.append(name)
        return f"{name} {page}"

    server = serve(app)
    for path, body in (
        ("/items/a", b"a 1"),
        ("/items/b", b"b 1"),
        ("/items/a?page=2", b"a 2"),
        ("/items/a?page=3", b"a 3"),
        ("/items/%61", b"a 1"),
    ):
        for expected in ("MISS", "HIT", "HIT"):
            assert state(server.get(path)) == (expected, body)
    assert len(calls) == 5


def test_head_is_answered_from_what_get_has_left(serve: ServeFixture) -> None:
    app = Ember()
    calls = counting(app, "/x", TTLCache(ttl=60))
    server = serve(app)
    before = server.request("HEAD", "/x")
    assert (before.header("x-cache"), before.body) == ("MISS", b"")
    assert state(server.get("/x")) == ("MISS", b"answer 2")  # HEAD's own was not kept
    for _ in range(3):
        head = server.request("HEAD", "/x")
        assert (head.header("x-cache"), head.header("content-length")) == ("HIT", "8")
        assert head.body == b""
        assert state(server.get("/x")) == ("HIT", b"answer 2")
    assert len(calls) == 2


def test_http_1_0_and_close_end_the_connection_after_a_hit(serve: ServeFixture) -> None:
    app = Ember()
    counting(app, "/x", TTLCache(ttl=60))
    server = serve(app)
    server.get("/x", {"Host": "a"})
    server.get("/x", {"Host": "a"})
    for request in (
        "GET /x HTTP/1.0\r\nHost: a\r\n\r\n",
        "GET /x HTTP/1.1\r\nHost: a\r\nConnection: close\r\n\r\n",
    ):
        with server.connect() as client:
            client.send(request)
            answer = client.recv_response()
            assert state(answer) == ("HIT", b"answer 1")
            assert answer.header("connection") == "close"
            assert client.recv_until_close() == b""
    with server.connect() as client:
        client.send("GET /x HTTP/1.0\r\nHost: a\r\nConnection: keep-alive\r\n\r\n" * 2)
        for _ in range(2):
            assert client.recv_response().header("connection") == "keep-alive"


def test_a_large_body_is_given_whole(serve: ServeFixture) -> None:
    app = Ember()
    page = bytes(range(256)) * 1024

    @app.get("/x", cache=TTLCache(ttl=60))
    async def large() -> bytes:
        return page

    server = serve(app)
    for expected in ("MISS", "HIT", "HIT"):
        assert state(server.get("/x")) == (expected, page)


def test_two_routes_of_one_static_cache_keep_their_own_bodies(serve: ServeFixture) -> None:
    cache = StaticCache()
    app = Ember()
    one, other = counting(app, "/one", cache), counting(app, "/other", cache)

    @app.get("/created", cache=cache)
    async def created() -> Any:
        return "made", 201

    server = serve(app)
    for _ in range(3):
        assert server.get("/one").body == b"answer 1"
        assert server.get("/other").body == b"answer 1"
        assert server.get("/created").header("x-cache") == "MISS"  # 200 only
    assert (len(one), len(other)) == (1, 1)


def test_every_way_to_declare_a_route_takes_a_cache(serve: ServeFixture) -> None:
    app = Ember()
    cache = TTLCache(ttl=60)

    async def hello() -> str:
        return "hello"

    class Pages:
        async def get_about(self) -> str:
            return "about"

    app.get("/get", cache=cache)(hello)
    app.route("/route", ["GET", "POST"], cache=cache)(hello)
    app.add_route("/add", hello, ["GET"], cache=cache)
    blueprint = Blueprint("/v1")
    blueprint.get("/blueprint", cache=cache)(hello)
    group = blueprint.group("/group")
    group.get("/in", cache=cache)(hello)
    app.add_blueprint(blueprint)
    app.get("/sync", cache=cache)(lambda: "hello")
    server = serve(app)
    for path in ("/get", "/route", "/add", "/v1/blueprint", "/v1/group/in", "/sync"):
        states = [server.get(path).header("x-cache") for _ in range(3)]
        assert states == ["MISS", "HIT", "HIT"], path
    assert server.request("POST", "/route").header("x-cache") is None


def test_a_route_bound_to_hosts_keeps_them_apart(serve: ServeFixture) -> None:
    app = Ember()
    part = Blueprint(hosts=["a.test", "b.test"])

    @part.get("/x", cache=TTLCache(ttl=60))
    async def host(request: Request) -> str:
        return request.host

    app.add_blueprint(part)
    server = serve(app)
    for name in ("a.test", "b.test", "A.test:80"):
        for _ in range(3):
            body = server.get("/x", {"Host": name}).body.decode().lower()
            assert body.split(":")[0] == name.lower().split(":")[0]


# -- before and after a hit -------------------------------------------------------------------


def test_hooks_and_middlewares_decide_before_a_hit(serve: ServeFixture) -> None:
    app = Ember()
    ran: list[str] = []

    async def guard(request: Request, call_next: Next) -> Response:
        ran.append("guard")
        if request.headers.get("x-key") != "secret":
            raise Unauthorized("no key")
        return await call_next(request)

    @app.hook(Events.BEFORE_ENDPOINT)
    async def limit(request: Request) -> Response | None:
        ran.append("limit")
        return Response("slow down", 429) if "burst" in request.args else None

    calls = counting(app, "/x", TTLCache(ttl=60), middlewares=[guard])
    server = serve(app)
    key = {"X-Key": "secret"}
    for _ in range(3):
        assert server.get("/x", key).body == b"answer 1"
        assert server.get("/x").status == 401
        assert server.get("/x?burst", key).status == 429
    assert len(calls) == 1
    assert len(ran) == 3 * 3 + 3 * 2
    assert len(app.kept_answers) == 0


def test_a_hook_that_is_added_later_is_asked_from_then_on(serve: ServeFixture) -> None:
    app = Ember()
    counting(app, "/x", TTLCache(ttl=60))
    server = serve(app)
    for _ in range(3):
        assert server.get("/x").status == 200

    async def refuse(request: Request) -> Response:
        return Response("no", 403)

    async def add() -> None:
        app.add_middleware(refuse)

    server.call(add())
    assert server.get("/x").status == 403


def test_after_hooks_see_each_hit_and_their_changes_stay_with_one_request(
    serve: ServeFixture,
) -> None:
    app = Ember()
    counting(app, "/x", TTLCache(ttl=60))
    seen: list[str | None] = []

    @app.hook(Events.AFTER_ENDPOINT)
    async def number(request: Request, response: Response) -> None:
        seen.append(response.headers.get("x-number"))
        response.headers["X-Number"] = str(len(seen))

    server = serve(app)
    numbers = [server.get("/x").header("x-number") for _ in range(3)]
    assert (numbers, seen) == (["1", "2", "3"], [None, None, None])


def test_a_compressed_variant_is_made_once(
    serve: ServeFixture, monkeypatch: pytest.MonkeyPatch
) -> None:
    made: list[str] = []
    whole = compression._whole

    def count(coding: str, body: bytes) -> bytes:
        made.append(coding)
        return whole(coding, body)

    monkeypatch.setattr(compression, "_whole", count)
    app = Ember(compression=True)
    text = "<p>again and again</p>" * 100

    @app.get("/x", cache=TTLCache(ttl=60))
    async def page() -> Response:
        return HTMLResponse(text)

    server = serve(app)
    for expected in ("MISS", "HIT", "HIT", "HIT"):
        answer = server.get("/x", {"Accept-Encoding": "gzip"})
        assert answer.header("x-cache") == expected
        assert answer.header("content-encoding") == "gzip"
        assert "accept-encoding" in (answer.header("vary") or "").lower()
        assert gzip.decompress(answer.body).decode() == text
    assert server.get("/x").body.decode() == text
    assert made == ["gzip"]  # the answer of the miss is kept too


def test_nothing_is_given_by_the_connection_alone_where_something_stands_between(
    serve: ServeFixture,
) -> None:
    def app_with(**options: Any) -> Ember:
        app = Ember()
        counting(app, "/x", TTLCache(ttl=60, **options))
        return app

    async def nothing(request: Request) -> None:
        pass

    plain, varied, keyed = app_with(), app_with(vary_headers=["x"]), app_with(key_fn=lambda r: "k")
    hooked, compressed, hosted = app_with(), Ember(compression=True), app_with()
    hooked.hook(Events.BEFORE_ENDPOINT)(nothing)
    counting(compressed, "/x", TTLCache(ttl=60))
    hosted.add_blueprint(part := Blueprint(hosts=["a.test"]))
    part.get("/y")(lambda: "y")
    kept = []
    for app in (plain, varied, keyed, hooked, compressed, hosted):
        server = serve(app)
        for expected in ("MISS", "HIT", "HIT"):
            assert server.get("/x").header("x-cache") == expected
        kept.append(len(app.kept_answers))
    assert kept == [0 if PURE else 1, 0, 0, 0, 0, 0]


# -- bounds and statistics --------------------------------------------------------------------


def test_entries_are_bounded_and_what_was_asked_for_again_stays(serve: ServeFixture) -> None:
    app = Ember()
    cache = TTLCache(ttl=60, max_entries=8)
    counting(app, "/x", cache)
    server = serve(app)
    with server.connect() as client:

        def get(number: int) -> str | None:
            client.send(f"GET /x?{number} HTTP/1.1\r\nHost: a\r\n\r\n")
            return client.recv_response().header("x-cache")

        for number in range(8):
            get(number)
        assert [get(0) for _ in range(3)] == ["HIT"] * 3  # the oldest, and used
        assert get(8) == "MISS"
        assert get(0) == "HIT"  # it survived the eviction
        assert get(1) == "MISS"  # the oldest that nobody had asked for again went
        for number in range(100, 200):
            get(number)
    stats = cache.stats()
    assert stats.entries == 8
    assert stats.evicted == stats.stored - 8
    assert len(app.kept_answers) <= 8


def test_the_route_counts_what_its_cache_does(serve: ServeFixture) -> None:
    app = Ember()
    cache = TTLCache(ttl=60)
    counting(app, "/x", cache)

    @app.get("/fails", cache=cache)
    async def fails() -> None:
        raise Unauthorized("no")

    @app.get("/private", cache=cache)
    async def private() -> Response:
        return Response("mine", headers={"Cache-Control": "private"})

    @app.get("/none")
    async def none() -> str:
        return ""

    server = serve(app)
    for _ in range(5):
        server.get("/x")
    server.get("/x", {"Cookie": "a=b"})
    server.get("/fails")
    server.get("/private")
    routes = {route.path: route for route in app.routes}
    stats = routes["/x"].cache_stats
    assert stats is not None
    assert (stats.hits, stats.misses, stats.stored, stats.passed) == (4, 1, 1, 1)
    failed, refused = routes["/fails"].cache_stats, routes["/private"].cache_stats
    assert failed is not None
    assert refused is not None
    assert (failed.misses, failed.errors, failed.stored) == (1, 1, 0)
    assert (refused.misses, refused.refused) == (1, 1)
    assert routes["/none"].cache_stats is None
    assert cache.stats().hits == 4


# -- what a handler gives ---------------------------------------------------------------------


def test_answers_are_kept_whole_whatever_the_handler_returns(serve: ServeFixture) -> None:
    app = Ember()
    cache = TTLCache(ttl=60)

    @app.get("/json", cache=cache)
    async def json() -> dict[str, int]:
        return {"a": 1}

    @app.get("/fields", cache=cache)
    async def fields() -> Response:
        return JSONResponse([1], headers={"X-One": "1", "ETag": '"mine"', "X-Cache": "theirs"})

    @app.get("/empty", cache=cache)
    async def empty() -> None:
        return None

    @app.get("/stream", cache=cache)
    async def stream() -> Response:
        return StreamingResponse([b"a", b"b"])

    server = serve(app)
    for expected in ("MISS", "HIT", "HIT"):
        assert state(server.get("/json")) == (expected, b'{"a":1}')
        answer = server.get("/fields")
        assert state(answer) == (expected, b"[1]")
        assert (answer.header("x-one"), answer.header("etag")) == ("1", '"mine"')
        answer = server.get("/empty")
        assert (answer.status, answer.header("x-cache")) == (204, expected)
        assert state(server.get("/stream")) == ("MISS", b"ab")


def test_what_follows_an_answer_runs_once_and_nobody_waits_for_it(serve: ServeFixture) -> None:
    app = Ember()
    order: list[str] = []

    async def session() -> Any:
        order.append("open")
        yield "session"
        order.append("close")

    @app.get("/x", cache=TTLCache(ttl=60))
    async def handler(db: Annotated[str, Depends(session)]) -> str:
        order.append(db)
        return "x"

    server = serve(app)
    for expected in ("MISS", "HIT", "HIT"):
        assert server.get("/x").header("x-cache") == expected
    assert order == ["open", "session", "close"]

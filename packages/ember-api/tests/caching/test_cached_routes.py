"""`cache=` on a route over real sockets: keys, hits, hooks before them, counts, registration."""

from __future__ import annotations

import gzip
from collections.abc import Awaitable, Callable
from typing import Annotated, Any

import pytest
from ember import (
    Blueprint,
    Cookie,
    Depends,
    Ember,
    Events,
    Header,
    HTMLResponse,
    JSONResponse,
    Request,
    Response,
    RouteError,
    StreamingResponse,
    Unauthorized,
)
from ember._build import PURE
from ember.cache import Cache, JSONSerializer, RedisCache, StaticCache, TTLCache

from tests.support.server import Answer, ServeFixture
from tests.support.waiting import eventually

Next = Callable[[Request], Awaitable[Response]]


class Clock:
    """Seconds that pass when the test says so."""

    def __init__(self) -> None:
        self.now = 1000.0

    def __call__(self) -> float:
        return self.now


def counting(app: Ember, path: str, cache: Cache, **options: Any) -> list[str]:
    """A cached route that answers with how often it was called; the list has what for."""
    calls: list[str] = []

    @app.get(path, cache=cache, **options)
    async def counted(request: Request) -> str:
        calls.append(f"{request.method} {request.url}")
        return f"answer {len(calls)}"

    return calls


async def user(request: Request) -> str:
    return request.headers["x-user"]


def state(answer: Answer) -> tuple[str | None, bytes]:
    return answer.header("x-cache"), answer.body


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
        server.get(path)
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
    server.get("/x")
    server.get("/x")
    for request in (
        "GET /x HTTP/1.0\r\n\r\n",
        "GET /x HTTP/1.1\r\nHost: a\r\nConnection: close\r\n\r\n",
    ):
        with server.connect() as client:
            client.send(request)
            answer = client.recv_response()
            assert state(answer) == ("HIT", b"answer 1")
            assert answer.header("connection") == "close"
            assert client.recv_until_close() == b""
    with server.connect() as client:
        client.send("GET /x HTTP/1.0\r\nConnection: keep-alive\r\n\r\n" * 2)
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
    import ember.compression

    made: list[str] = []
    whole = ember.compression._whole

    def count(coding: str, body: bytes) -> bytes:
        made.append(coding)
        return whole(coding, body)

    monkeypatch.setattr(ember.compression, "_whole", count)
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


# -- the key ----------------------------------------------------------------------------------


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


# -- invalidation -----------------------------------------------------------------------------


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
        server.call(cache.invalidate(key="GET /x?p=1"))
        assert [get("/x?p=1") for _ in range(3)] == [b"answer 2"] * 3
        server.call(cache.invalidate(pattern="GET /x*"))
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


# -- registration -----------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("cache", "message"),
    [
        (5, r'route "GET /x" .*cache=5; expected one of StaticCache\(\), TTLCache\(ttl=1.0\)'),
        (TTLCache, r"is a class \(write TTLCache\(\)\)"),
        (RedisCache(serializer=type("No", (), {"name": "no"})()), "writes neither bytes nor str"),
    ],
)
def test_what_is_no_cache_is_refused_when_it_is_registered(cache: Any, message: str) -> None:
    with pytest.raises(RouteError, match=message):
        Ember().get("/x", cache=cache)(lambda: "x")


def test_a_cache_on_a_route_without_get_is_refused() -> None:
    with pytest.raises(RouteError, match="cache= keeps answers to GET"):
        Ember().post("/x", cache=TTLCache())(lambda: "x")


def test_an_async_key_fn_is_refused() -> None:
    async def key(request: Request) -> str:
        return "x"

    with pytest.raises(RouteError, match="key_fn of its cache is `async def`"):
        Ember().get("/x", cache=TTLCache(key_fn=key))(lambda: "x")  # type: ignore[arg-type]


def test_a_dependency_that_sees_the_request_is_refused_unless_the_key_is_made_by_hand() -> None:
    def app_with(cache: Cache) -> Ember:
        app = Ember()

        @app.get("/x", cache=cache)
        async def handler(who: Annotated[str, Depends(user)]) -> str:
            return who

        return app

    with pytest.raises(RouteError, match=r"without calling .*user\(request\)"):
        app_with(TTLCache()).freeze()
    app_with(TTLCache(key_fn=lambda request: request.headers["x-user"])).freeze()


def test_a_json_serializer_keeps_whole_answers_too() -> None:
    Ember().get("/x", cache=RedisCache(serializer=JSONSerializer()))(lambda: "x")


def test_caches_are_opened_and_closed_once_with_the_application() -> None:
    import asyncio

    class Watched(TTLCache):
        opened = closed = 0

        async def connect(self) -> None:
            self.opened += 1

        async def close(self) -> None:
            self.closed += 1

    cache = Watched(ttl=1)
    app = Ember()
    counting(app, "/a", cache)
    counting(app, "/b", cache)

    async def live() -> None:
        await app.startup()
        assert cache.opened == cache.closed + 1
        await app.shutdown()

    for times in (1, 2):
        asyncio.run(live())
        assert (cache.opened, cache.closed) == (times, times)

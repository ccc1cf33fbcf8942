"""`cache=` on a route: what is refused when it is registered; opening and closing."""

from __future__ import annotations

from collections.abc import Awaitable, Callable
from typing import Annotated, Any

import pytest
from ember import (
    Depends,
    Ember,
    Header,
    Request,
    Response,
    RouteError,
)
from ember.cache import Cache, JSONSerializer, RedisCache, TTLCache

from tests.support.cached import counting, user

Next = Callable[[Request], Awaitable[Response]]


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
    with pytest.raises(RouteError, match="cache= stores responses to GET"):
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

    with pytest.raises(RouteError, match=r"does not call .*user\(request\)"):
        app_with(TTLCache()).freeze()
    app_with(TTLCache(key_fn=lambda request: request.headers["x-user"])).freeze()


class Session:
    """A component of one request."""

    def __init__(self, request: Request) -> None:
        self.who = request.headers["x-user"]


class Callable_:
    def __call__(self, r: Request) -> str:
        return r.client_ip or ""


def optional(r: Request | None = None) -> str:
    return ""


def annotated(r: Annotated[Request, "whole"]) -> str:
    return r.host


def below(session: Session) -> str:
    return session.who


def harmless(x_user: Annotated[str, Header()] = "") -> str:
    return x_user


@pytest.mark.parametrize(
    ("dependency", "refused"),
    [
        *((d, True) for d in (Callable_(), optional, annotated, below, Session)),
        (harmless, False),
    ],
)
def test_however_a_dependency_asks_for_the_request_it_is_seen(
    dependency: Any, refused: bool
) -> None:
    app = Ember()
    app.add_component(Session, per_request=True)

    async def handler(what: Annotated[Any, Depends(dependency)]) -> str:
        return "x"

    app.get("/x", cache=TTLCache())(handler)
    if refused:
        with pytest.raises(RouteError, match="a hit does not call"):
            app.freeze()
    else:
        app.freeze()


def test_a_component_that_sees_the_request_is_refused() -> None:
    app = Ember()
    app.add_component(Session, per_request=True)

    @app.get("/x", cache=TTLCache())
    async def handler(session: Session) -> str:
        return session.who

    with pytest.raises(RouteError, match=r"does not call Session\(request\)"):
        app.freeze()


def test_a_json_serializer_stores_whole_responses_too() -> None:
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

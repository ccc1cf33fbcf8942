"""Of many requests for one answer one calls the handler: what becomes of the others."""

from __future__ import annotations

import asyncio
import logging
from typing import Any

import pytest
from ember import Conflict, Ember, Request, Response, RouteLimits, ServerLimits
from ember.cache import TTLCache
from ember.testing import Clock, run_with_clock

from tests.support.server import Client, Running, ServeFixture
from tests.support.waiting import eventually

GET = "GET /x HTTP/1.1\r\nHost: a\r\n\r\n"
HOST = {"Host": "a"}


class Held:
    """A cached route whose handler waits until the test says how it ends."""

    def __init__(
        self, serve: ServeFixture | None, cache: TTLCache | None = None, **options: Any
    ) -> None:
        self.cache = TTLCache(ttl=60) if cache is None else cache
        self.app = Ember(server_limits=options.pop("server_limits", None))
        self.calls: list[asyncio.Future[Any]] = []
        self.cancelled = 0
        held = self

        @self.app.get("/x", cache=self.cache, **options)
        async def handler(request: Request) -> Any:
            future = asyncio.get_running_loop().create_future()
            held.calls.append(future)
            try:
                return await future
            except asyncio.CancelledError:
                held.cancelled += 1
                raise

        self.server: Running
        if serve is not None:
            self.server = serve(self.app)

    def ask(self, count: int, request: str = GET) -> list[Client]:
        """`count` requests that wait, each on a connection of its own."""
        before = self.waiting
        clients = [self.server.connect() for _ in range(count)]
        for client in clients:
            client.send(request)
        eventually(lambda: self.waiting == before + count)
        return clients

    @property
    def waiting(self) -> int:
        return sum(flight.waiters for flight in self.cache.flights._flights.values())

    def end(self, call: int, result: object) -> None:
        """Let a call of the handler return `result`, or raise it."""

        async def end() -> None:
            if isinstance(result, BaseException):
                self.calls[call].set_exception(result)
            else:
                self.calls[call].set_result(result)

        self.server.call(end())


def test_of_many_concurrent_misses_one_calls_the_handler(serve: ServeFixture) -> None:
    held = Held(serve)
    clients = held.ask(200)
    held.end(0, "answer")
    answers = [client.recv_response() for client in clients]
    assert {(a.header("x-cache"), a.body) for a in answers} == {("MISS", b"answer")}
    assert len(held.calls) == 1
    stats = held.app.routes[0].cache_stats
    assert stats is not None
    assert (stats.misses, stats.waits, stats.stored) == (200, 199, 1)


def test_when_the_handler_fails_all_who_wait_get_its_error_and_the_next_tries_again(
    serve: ServeFixture, caplog: pytest.LogCaptureFixture
) -> None:
    held = Held(serve)
    clients = held.ask(5)
    with caplog.at_level(logging.ERROR):
        held.end(0, RuntimeError("broken"))
        assert [client.recv_response().status for client in clients] == [500] * 5
    depths = [
        len(list(walk(r.exc_info[2]))) for r in caplog.records if r.exc_info and r.exc_info[2]
    ]
    assert max(depths) - min(depths) <= 2  # the frames of one are not in the log of another
    clients = held.ask(1)
    held.end(1, "answer")
    assert clients[0].recv_response().header("x-cache") == "MISS"


def walk(traceback: Any) -> Any:
    while traceback is not None:
        yield traceback
        traceback = traceback.tb_next


def test_an_http_error_reaches_all_who_wait(serve: ServeFixture) -> None:
    held = Held(serve)
    clients = held.ask(3)
    held.end(0, Conflict("not now"))
    assert [client.recv_response().status for client in clients] == [409] * 3


def test_when_the_first_client_leaves_the_work_goes_on_for_the_others(serve: ServeFixture) -> None:
    held = Held(serve)
    leader = held.ask(1)[0]
    others = held.ask(3)
    leader.close()
    eventually(lambda: held.waiting == 3)
    held.end(0, "answer")
    assert [client.recv_response().body for client in others] == [b"answer"] * 3
    assert (len(held.calls), held.cancelled) == (1, 0)
    assert held.server.get("/x", HOST).header("x-cache") == "HIT"


def test_when_all_clients_leave_the_work_is_cancelled_and_the_next_begins_again(
    serve: ServeFixture,
) -> None:
    held = Held(serve)
    for client in held.ask(3):
        client.close()
    eventually(lambda: held.cancelled == 1)
    clients = held.ask(1)
    held.end(1, "answer")
    assert clients[0].recv_response().body == b"answer"


TIME_LIMITS: dict[str, dict[str, Any]] = {
    "route": {"limits": RouteLimits(timeout=0.3)},
    "server": {"server_limits": ServerLimits(request_timeout=0.3)},
}


@pytest.mark.parametrize("limit", TIME_LIMITS)
def test_the_time_limit_ends_the_work_for_all_and_the_next_begins_again(
    serve: ServeFixture, limit: str
) -> None:
    held = Held(serve, **TIME_LIMITS[limit])
    clients = [held.server.connect() for _ in range(4)]
    for client in clients:
        client.send(GET)
    assert [client.recv_response().status for client in clients] == [503] * 4
    eventually(lambda: held.waiting == 0 and len(held.calls) == held.cancelled)
    begun = len(held.calls)
    last = held.server.connect()
    last.send(GET)
    assert last.recv_response().status == 503
    eventually(lambda: len(held.calls) == held.cancelled == begun + 1)


@pytest.mark.parametrize("limit", TIME_LIMITS)
def test_the_time_limit_counts_from_when_the_work_began(limit: str) -> None:
    async def scenario(clock: Clock) -> None:
        held = Held(None, **TIME_LIMITS[limit])
        async with held.app.test_client(timeout=None) as client:
            asked = [asyncio.create_task(client.get("/x")) for _ in range(3)]
            await clock.advance(0.25)
            asked.append(asyncio.create_task(client.get("/x")))
            await clock.advance(0.04)
            assert (held.waiting, len(held.calls), held.cancelled) == (4, 1, 0)
            await clock.advance(0.02)
            assert [(await one).status_code for one in asked] == [503] * 4
            assert (held.waiting, len(held.calls), held.cancelled) == (0, 1, 1)
            again = asyncio.create_task(client.get("/x"))
            await clock.advance(0.29)
            held.calls[1].set_result("answer")
            answer = await again
            assert (answer.status_code, answer.headers["x-cache"]) == (200, "MISS")

    run_with_clock(scenario)


def test_the_ttl_counts_from_when_the_answer_is_there(serve: ServeFixture) -> None:
    now = [1000.0]
    held = Held(serve, TTLCache(ttl=10, clock=lambda: now[0]))
    clients = held.ask(2)
    now[0] += 100  # longer than the ttl
    held.end(0, "answer")
    assert [client.recv_response().body for client in clients] == [b"answer"] * 2
    now[0] += 9
    hit = held.server.get("/x", HOST)
    assert (hit.header("x-cache"), hit.header("age")) == ("HIT", "9")


def test_what_is_invalidated_in_flight_is_given_to_those_who_wait_and_not_kept(
    serve: ServeFixture,
) -> None:
    held = Held(serve)
    before = held.ask(2)
    held.server.call(held.cache.invalidate(key="GET http://a/x"))
    after = [held.server.connect() for _ in range(2)]
    for client in after:
        client.send(GET)
    eventually(lambda: len(held.calls) == 2)
    held.end(0, "old")
    assert [client.recv_response().body for client in before] == [b"old"] * 2
    held.end(1, "new")
    assert [client.recv_response().body for client in after] == [b"new"] * 2
    assert held.server.get("/x", HOST).body == b"new"


def test_a_private_response_is_not_shared(serve: ServeFixture) -> None:
    held = Held(serve)
    clients = held.ask(3)
    held.end(0, Response("for one", headers={"Cache-Control": "private"}))
    eventually(lambda: len(held.calls) == 3)
    for call in (1, 2):
        held.end(call, Response(f"for {call}", headers={"Set-Cookie": "a=b"}))
    assert {client.recv_response().body for client in clients} == {b"for one", b"for 1", b"for 2"}


def test_those_who_waited_for_an_answer_that_varies_share_by_what_it_varies_on(
    serve: ServeFixture,
) -> None:
    held = Held(serve)
    languages = ["de", "de", "en", "en"]
    clients = []
    for language in languages:
        request = f"GET /x HTTP/1.1\r\nHost: a\r\nAccept-Language: {language}\r\n\r\n"
        clients += held.ask(1, request)
    vary = {"Vary": "Accept-Language"}
    held.end(0, Response("de", headers=vary))
    assert clients[0].recv_response().body == b"de"
    eventually(lambda: len(held.calls) == 3)  # one for each language
    for call in (1, 2):
        held.end(call, Response(str(call), headers=vary))
    bodies = [client.recv_response().body for client in clients[1:]]
    assert bodies[1] == bodies[2] != bodies[0]
    assert len(held.calls) == 3


def test_an_anonymous_answer_is_not_given_to_somebody_with_credentials(
    serve: ServeFixture,
) -> None:
    held = Held(serve)
    anonymous = held.ask(1)[0]
    known = held.server.connect()
    known.send("GET /x HTTP/1.1\r\nHost: a\r\nCookie: session=1\r\n\r\n")
    eventually(lambda: len(held.calls) == 2)
    held.end(0, "please log in")
    held.end(1, "hello")
    assert anonymous.recv_response().body == b"please log in"
    assert known.recv_response().body == b"hello"
    again = held.server.connect()
    again.send("GET /x HTTP/1.1\r\nHost: a\r\nCookie: session=1\r\n\r\n")
    eventually(lambda: len(held.calls) == 3)
    held.end(2, "hello again")
    assert again.recv_response().body == b"hello again"


def test_a_stale_answer_is_given_at_once_and_renewed_behind_it(serve: ServeFixture) -> None:
    now = [1000.0]
    cache = TTLCache(ttl=10, stale_while_revalidate=20, clock=lambda: now[0])
    held = Held(serve, cache)
    first = held.ask(1)[0]
    held.end(0, "old")
    first.recv_response()
    now[0] += 15
    for _ in range(3):
        stale = held.server.get("/x", HOST)
        assert (stale.header("x-cache"), stale.header("age"), stale.body) == ("STALE", "15", b"old")
    eventually(lambda: len(held.calls) == 2)
    held.end(1, "new")
    eventually(lambda: held.server.get("/x", HOST).body == b"new")
    assert len(held.calls) == 2
    now[0] += 31  # past the window: nothing may be given
    last = held.ask(1)[0]
    held.end(2, "newest")
    assert last.recv_response().header("x-cache") == "MISS"


def test_must_revalidate_forbids_a_stale_answer(serve: ServeFixture) -> None:
    now = [1000.0]
    cache = TTLCache(ttl=10, stale_while_revalidate=20, stale_if_error=20, clock=lambda: now[0])
    held = Held(serve, cache)
    first = held.ask(1)[0]
    held.end(0, Response("old", headers={"Cache-Control": "must-revalidate"}))
    first.recv_response()
    now[0] += 15
    second = held.ask(1)[0]
    held.end(1, RuntimeError("broken"))
    assert second.recv_response().status == 500


def test_when_renewing_fails_the_stale_answer_is_given(
    serve: ServeFixture, caplog: pytest.LogCaptureFixture
) -> None:
    now = [1000.0]
    held = Held(serve, TTLCache(ttl=10, stale_if_error=20, clock=lambda: now[0]))
    first = held.ask(1)[0]
    held.end(0, "old")
    first.recv_response()
    now[0] += 15
    second = held.ask(1)[0]
    held.end(1, RuntimeError("broken"))
    answer = second.recv_response()
    assert (answer.status, answer.header("x-cache"), answer.body) == (200, "STALE", b"old")
    assert "returning its stale value" in caplog.text


def test_what_follows_the_answer_holds_nobody_up_and_runs_when_the_first_has_left(
    serve: ServeFixture,
) -> None:
    app = Ember()
    done: list[str] = []
    gate: list[asyncio.Event] = []

    @app.get("/x", cache=TTLCache(ttl=60))
    async def handler(request: Request) -> str:
        gate.append(asyncio.Event())

        async def after() -> None:
            await gate[0].wait()
            done.append("after")

        request.after_response(after)
        return "answer"

    server = serve(app)
    assert server.get("/x").body == b"answer"  # though `after` waits
    assert server.get("/x").header("x-cache") == "HIT"
    assert done == []

    async def release() -> None:
        gate[0].set()

    server.call(release())
    eventually(lambda: done == ["after"])


def test_closing_the_cache_ends_what_is_under_way_with_503(serve: ServeFixture) -> None:
    held = Held(serve)
    clients = held.ask(3)
    held.server.call(held.cache.close())
    assert [client.recv_response().status for client in clients] == [503] * 3


class _Broken(BaseException):
    """What `except Exception` does not see."""


@pytest.mark.parametrize("kind", [SystemExit, KeyboardInterrupt, GeneratorExit, _Broken])
def test_what_would_end_the_process_fails_its_call_alone(
    serve: ServeFixture, kind: type[BaseException], caplog: pytest.LogCaptureFixture
) -> None:
    app, seen = Ember(), []

    @app.get("/fails", cache=TTLCache(ttl=60))
    async def fails() -> str:
        raise kind

    @app.get("/follows", cache=TTLCache(ttl=60))
    async def follows(request: Request) -> str:
        async def fails() -> None:
            raise kind

        async def next_one() -> None:
            seen.append("next")

        request.after_response(fails)
        request.after_response(next_one)
        return "kept"

    server = serve(app)
    for _ in range(2):
        assert server.get("/fails").status == 500
    assert server.get("/follows").body == b"kept"
    eventually(lambda: seen == ["next"])
    assert server.get("/follows").body == b"kept"
    assert any("a callback after the response" in r.getMessage() for r in caplog.records)

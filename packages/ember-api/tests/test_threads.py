"""`def` handlers in the thread pool (E6), and the limits of a route."""

from __future__ import annotations

import asyncio
import contextvars
import http.client
import json
import logging
import threading
import time
from typing import Any

import pytest
from ember import Ember, Request, RouteLimits, ServerLimits
from ember.concurrency.threads import ThreadPool

from tests.support.server import DEADLINE, ServeFixture
from tests.support.waiting import tries


def test_twenty_sleeping_handlers_take_as_long_as_one_and_block_nobody(serve: ServeFixture) -> None:
    app = Ember()
    entered = threading.Semaphore(0)

    @app.get("/sleep")
    def sleep() -> str:
        entered.release()
        time.sleep(1)
        return threading.current_thread().name

    @app.get("/ping")
    async def ping() -> str:
        return "pong"

    server = serve(app)
    for bound in tries():
        clients = [server.connect() for _ in range(20)]
        start = time.monotonic()
        for client in clients:
            client.send("GET /sleep HTTP/1.1\r\nHost: a\r\n\r\n")
        for _ in clients:
            assert entered.acquire(timeout=DEADLINE)
        pings = []
        connection = http.client.HTTPConnection("127.0.0.1", server.port, timeout=DEADLINE)
        for _ in range(200):
            begin = time.perf_counter()
            connection.request("GET", "/ping")
            assert connection.getresponse().read() == b"pong"
            pings.append(time.perf_counter() - begin)
        connection.close()
        names = {client.recv_response().body for client in clients}
        took = time.monotonic() - start
        assert took >= 1
        assert len(names) == 20
        bound(took, 2, "all twenty")
        bound(sorted(pings)[-3], 0.02, "a ping beside them (p99)")


variable: contextvars.ContextVar[str] = contextvars.ContextVar("variable", default="unset")


def test_context_variables_are_seen_in_the_thread(serve: ServeFixture) -> None:
    app = Ember()

    @app.get("/x")
    def x() -> str:
        return variable.get()

    class Outer:
        limits = app.limits
        into_response = staticmethod(app.into_response)
        on_error = staticmethod(app.on_error)

        @staticmethod
        def dispatch(request: Request) -> object:
            variable.set("from outside")
            return app.dispatch(request)

    assert serve(Outer()).get("/x").body == b"from outside"


def test_a_def_around_an_async_def_is_awaited_on_the_loop(serve: ServeFixture) -> None:
    app = Ember()

    async def inner() -> str:
        return threading.current_thread().name

    @app.get("/x")
    def x() -> Any:
        return inner()

    assert not serve(app).get("/x").body.startswith(b"ember-worker")


def test_what_a_thread_raises_after_its_client_left_is_logged(
    serve: ServeFixture, caplog: pytest.LogCaptureFixture
) -> None:
    app = Ember()
    entered, leave = threading.Event(), threading.Event()

    @app.get("/x")
    def x() -> None:
        entered.set()
        leave.wait(DEADLINE)
        raise ValueError("late")

    @app.get("/ping")
    def ping() -> str:
        return "pong"

    server = serve(app)
    client = server.connect()
    client.send("GET /x HTTP/1.1\r\nHost: a\r\n\r\n")
    assert entered.wait(DEADLINE)
    client.reset()
    deadline = time.monotonic() + DEADLINE
    while server.server.connections:
        assert server.get("/ping").body == b"pong"
        assert time.monotonic() < deadline
    leave.set()
    while not [r for r in caplog.records if r.name == "ember.threads"]:
        assert server.get("/ping").body == b"pong"
        assert time.monotonic() < deadline
    (record,) = [r for r in caplog.records if r.name == "ember.threads"]
    assert "failed after its request had been given up" in record.getMessage()


def test_work_that_waits_for_a_thread_is_dropped_when_it_is_cancelled() -> None:
    async def main() -> list[str]:
        pool = ThreadPool(1)
        ran: list[str] = []
        begun, leave = threading.Event(), threading.Event()

        def first() -> None:
            begun.set()
            leave.wait(DEADLINE)
            ran.append("first")

        one = asyncio.create_task(pool.run(first))
        two = asyncio.create_task(pool.run(ran.append, "two"))
        await asyncio.to_thread(begun.wait, DEADLINE)
        two.cancel()
        await asyncio.wait([two])
        leave.set()
        await one
        await pool.run(ran.append, "three")
        pool.close()
        with pytest.raises(RuntimeError, match="the server has stopped"):
            await pool.run(print)
        return ran

    assert asyncio.run(main()) == ["first", "three"]


def test_a_stop_iteration_of_a_handler_is_an_error_and_not_its_end() -> None:
    async def main() -> None:
        pool = ThreadPool(1)
        try:
            with pytest.raises(RuntimeError, match="raised StopIteration"):
                await pool.run(next, iter(()))
        finally:
            pool.close()

    asyncio.run(main())


@pytest.mark.parametrize("workers", [0, -1, 1.5, True])
def test_the_number_of_threads_is_a_whole_number(workers: Any) -> None:
    with pytest.raises(ValueError, match="expected a whole number, 1 or more"):
        ThreadPool(workers)


@pytest.mark.parametrize("declared", ["route", "server"])
def test_a_handler_over_its_time_is_cancelled_and_answered_503(
    serve: ServeFixture, declared: str, caplog: pytest.LogCaptureFixture
) -> None:
    app = Ember(server_limits=ServerLimits(request_timeout=0.2 if declared == "server" else None))
    limits = RouteLimits(timeout=0.2) if declared == "route" else None
    cancelled = threading.Event()

    @app.get("/slow/{n}", limits=limits)
    async def slow(n: str) -> None:
        try:
            await asyncio.sleep(5)
        except asyncio.CancelledError:
            cancelled.set()
            raise

    @app.get("/quick", limits=limits, status_code=201)
    async def quick() -> str:
        return "quick"

    server = serve(app)
    for bound in tries():
        cancelled.clear()
        start = time.monotonic()
        answer = server.get("/slow/1")
        took = time.monotonic() - start
        assert (answer.status, json.loads(answer.body)["title"]) == (503, "Service Unavailable")
        assert cancelled.wait(DEADLINE)
        assert took > 0.15
        bound(took, 0.25)
    assert server.get("/quick").status == 201
    assert not [r for r in caplog.records if r.levelno >= logging.ERROR]


def test_a_body_over_the_limit_of_its_route_is_413(serve: ServeFixture) -> None:
    app = Ember()

    @app.post("/small", limits=RouteLimits(max_body_size=10))
    async def small(request: Request) -> int:
        return len(await request.body())

    server = serve(app)
    assert server.request("POST", "/small", b"x" * 10).body == b"10"
    assert server.request("POST", "/small", b"x" * 11).status == 413

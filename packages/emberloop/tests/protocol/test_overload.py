"""Too many connections, too many requests, too few descriptors (E9, E18)."""

from __future__ import annotations

import asyncio
import logging
import os
import resource
import socket
from typing import Any

import pytest
from ember._build import PURE
from ember.eventloop import choose
from ember.limits import RouteLimits, ServerLimits
from ember.protocol.server.overload import RESERVE
from ember.request import Request

from tests.support.app import App
from tests.support.server import Client, Running, ServeFixture
from tests.support.waiting import eventually

GET = "GET {} HTTP/1.1\r\nHost: x\r\n\r\n"

NATIVE = not PURE and choose().name in ("io_uring", "epoll")


async def hello(request: Request) -> str:
    return "hello"


class Gate:
    """A handler that waits until it is opened, and counts who is inside."""

    def __init__(self) -> None:
        self.inside = 0
        self.opened = asyncio.Event()

    async def __call__(self, request: Request) -> str:
        self.inside += 1
        try:
            await self.opened.wait()
        finally:
            self.inside -= 1
        return "done"


def gated(serve: ServeFixture, **limits: Any) -> tuple[Running, Gate]:
    gate = Gate()
    app = App(
        {"/": gate, "/health": hello, "/at-once": lambda request: "at once"},
        limits=ServerLimits(**limits),
        route_limits={"/health": RouteLimits(shed=False)},
    )
    return serve(app), gate


def ask(running: Running, path: str = "/") -> Client:
    client = running.connect()
    client.send(GET.format(path))
    return client


def open_the(gate: Gate, running: Running) -> None:
    running.loop.call_soon_threadsafe(gate.opened.set)


# ---- connections --------------------------------------------------------------------------------


def test_a_connection_above_the_maximum_is_answered_503(serve: ServeFixture) -> None:
    running, _ = gated(serve, max_connections=2)
    clients = [ask(running, "/health") for _ in range(2)]
    for client in clients:
        assert client.recv_response().status == 200
    with ask(running, "/at-once") as third:
        answer = third.recv_response()
        assert (answer.status, answer.header("connection")) == (503, "close")
        assert answer.header("retry-after") == "1"
        assert third.recv_until_close() == b""
    assert running.server.overload.shed == 1
    clients[0].send(GET.format("/at-once"))
    assert clients[0].recv_response().status == 200, "those before are served as always"
    clients[0].close()
    eventually(lambda: running.server.connections == 1)
    with ask(running, "/at-once") as fourth:
        assert fourth.recv_response().status == 200


def test_what_is_never_shed_is_answered_on_a_connection_above_the_maximum(
    serve: ServeFixture,
) -> None:
    running, _ = gated(serve, max_connections=1)
    with ask(running, "/at-once") as first:
        assert first.recv_response().status == 200
        # More of them than the reserve has places: each is given back with the answer.
        for _ in range(RESERVE + 8):
            second = ask(running, "/health")
            answer = second.recv_response()
            assert (answer.body, answer.header("connection")) == (b"hello", "close")
            assert second.recv_until_close() == b"", "one that stayed would be above it for ever"
            second.close()


def test_who_says_nothing_above_the_maximum_does_not_hold_the_reserve(
    serve: ServeFixture, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("ember.protocol.server.overload.RESERVE", 2)
    monkeypatch.setattr("ember.protocol.server.overload.OVER_LIMIT_TIMEOUT", 0.1)
    running, _ = gated(serve, max_connections=1)
    with ask(running, "/at-once") as first, running.connect() as silent, running.connect() as slow:
        slow.send("GET /hea")
        assert first.recv_response().status == 200
        eventually(lambda: running.server.connections == 3)
        assert running.connect().recv_response().status == 503
        assert silent.recv_until_close() == b""
        assert slow.recv_response().status == 408
        slow.close()
        eventually(lambda: running.server.connections == 1)
        with ask(running, "/health") as second:
            assert second.recv_response().status == 200


def test_far_above_the_maximum_the_503_is_sent_before_the_request_is_read(
    serve: ServeFixture, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("ember.protocol.server.overload.RESERVE", 1)
    running, _ = gated(serve, max_connections=1)
    with ask(running, "/at-once") as first, running.connect() as second:
        assert first.recv_response().status == 200
        eventually(lambda: running.server.connections == 2)
        with running.connect() as third:
            answer = third.recv_response()
            assert (answer.status, answer.header("connection")) == (503, "close")
            assert answer.header("retry-after") == "1"
            assert third.recv_until_close() == b""
        second.send(GET.format("/health"))
        assert second.recv_response().status == 200
    assert running.server.overload.refused == 1


def test_an_overload_is_one_line_in_the_log(
    serve: ServeFixture, caplog: pytest.LogCaptureFixture
) -> None:
    running, _ = gated(serve, max_connections=1)
    with caplog.at_level(logging.WARNING), ask(running, "/at-once") as first:
        assert first.recv_response().status == 200
        for _ in range(5):
            with ask(running, "/at-once") as more:
                assert more.recv_response().status == 503
    assert [r.getMessage() for r in caplog.records if "maximum" in r.getMessage()] == [
        "the server has 1 connections, its maximum; answering 503"
    ]


# ---- requests -----------------------------------------------------------------------------------


def test_a_request_above_the_maximum_is_503_at_once(serve: ServeFixture) -> None:
    running, gate = gated(serve, max_concurrent_requests=2)
    overload = running.server.overload
    clients = [ask(running) for _ in range(2)]
    eventually(lambda: gate.inside == 2)
    assert (overload.running, overload.queued, overload.shed) == (2, 0, 0)
    answer = ask(running).recv_response()
    assert (answer.status, answer.header("retry-after")) == (503, "1")
    assert answer.header("connection") == "close"
    assert overload.shed == 1
    open_the(gate, running)
    assert [c.recv_response().body for c in clients] == [b"done"] * 2
    eventually(lambda: overload.running == 0)
    assert ask(running).recv_response().status == 200


def test_health_is_never_shed(serve: ServeFixture) -> None:
    running, gate = gated(serve, max_concurrent_requests=1)
    with ask(running) as client:
        eventually(lambda: gate.inside == 1)
        assert ask(running).recv_response().status == 503
        for _ in range(3):
            assert ask(running, "/health").recv_response().body == b"hello"
        assert ask(running, "/at-once").recv_response().status == 200, "it takes no turn"
        open_the(gate, running)
        assert client.recv_response().status == 200


def test_requests_wait_in_the_queue_and_one_more_is_503(serve: ServeFixture) -> None:
    running, gate = gated(serve, max_concurrent_requests=1, max_queued_requests=2)
    overload = running.server.overload
    first = ask(running)
    eventually(lambda: gate.inside == 1)
    second, third = ask(running), ask(running)
    eventually(lambda: overload.queued == 2)
    assert ask(running).recv_response().status == 503
    assert gate.inside == 1, "one at a time"
    open_the(gate, running)
    assert [c.recv_response().body for c in (first, second, third)] == [b"done"] * 3
    eventually(lambda: (overload.running, overload.queued) == (0, 0))


def test_who_leaves_the_queue_takes_no_turn(serve: ServeFixture) -> None:
    running, gate = gated(serve, max_concurrent_requests=1, max_queued_requests=2)
    overload = running.server.overload
    first = ask(running)
    eventually(lambda: gate.inside == 1)
    second, third = ask(running), ask(running)
    eventually(lambda: overload.queued == 2)
    second.reset()
    eventually(lambda: overload.queued == 1)
    first.reset()  # its turn goes to the third
    eventually(lambda: overload.queued == 0)
    eventually(lambda: gate.inside == 1)
    assert overload.running == 1
    open_the(gate, running)
    assert third.recv_response().body == b"done"
    eventually(lambda: overload.running == 0)


def test_who_waits_too_long_in_the_queue_is_503(serve: ServeFixture) -> None:
    running, gate = gated(
        serve, max_concurrent_requests=1, max_queued_requests=1, request_timeout=0.3
    )
    overload = running.server.overload
    clients = [ask(running)]
    eventually(lambda: gate.inside == 1)
    clients.append(ask(running))
    assert [c.recv_response().status for c in clients] == [503, 503]
    eventually(lambda: (overload.running, overload.queued) == (0, 0))


def test_a_handler_that_fails_gives_its_turn_back(serve: ServeFixture) -> None:
    async def fail(request: Request) -> str:
        raise RuntimeError

    running = serve(App({"/": fail}, limits=ServerLimits(max_concurrent_requests=1)))
    with running.connect() as client:
        for _ in range(3):
            client.send(GET.format("/"))
            assert client.recv_response().status == 500
    assert running.server.overload.running == 0


def test_a_body_over_its_limit_gives_the_turn_back(serve: ServeFixture) -> None:
    app = App(
        {"/": hello},
        limits=ServerLimits(max_concurrent_requests=1),
        route_limits={"/": RouteLimits(max_body_size=1)},
    )
    running = serve(app)
    for _ in range(3):
        head = "POST / HTTP/1.1\r\nHost: x\r\nContent-Length: 2\r\n\r\n"
        assert running.exchange(head).status == 413
    assert running.server.overload.running == 0
    assert running.exchange(GET.format("/")).status == 200


# ---- descriptors --------------------------------------------------------------------------------


@pytest.mark.skipif(not NATIVE, reason="asyncio's accept has lines of its own")
def test_without_descriptors_accepting_pauses_with_one_line_and_heals(
    serve: ServeFixture, caplog: pytest.LogCaptureFixture
) -> None:
    before = resource.getrlimit(resource.RLIMIT_NOFILE)
    clients = [socket.socket() for _ in range(2)]
    taken = []
    # Before the server starts: a ring asks for the limit when it begins to accept.
    resource.setrlimit(resource.RLIMIT_NOFILE, (1024, before[1]))
    try:
        running = serve(App({"/": hello}))
        assert running.get("/").status == 200
        eventually(lambda: running.server.connections == 0)
        while True:
            try:
                taken.append(os.dup(0))
            except OSError:
                break
        with caplog.at_level(logging.WARNING):
            for client in clients:
                client.settimeout(10)
                client.connect(("127.0.0.1", running.port))
                client.sendall(GET.format("/").encode())
            eventually(lambda: "descriptors" in caplog.text)
            for fd in taken:
                os.close(fd)
            taken.clear()
            for client in clients:
                assert client.recv(65536).startswith(b"HTTP/1.1 200")
    finally:
        resource.setrlimit(resource.RLIMIT_NOFILE, before)
        for fd in taken:
            os.close(fd)
        for client in clients:
            client.close()
    lines = [r.getMessage() for r in caplog.records]
    assert lines == ["no connections are accepted for now: Too many open files (descriptors)"]

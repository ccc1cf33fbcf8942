"""Deadlines and limits of connections, each crossed by a little (E5, E9)."""

from __future__ import annotations

import asyncio
import contextlib
import logging
import socket
import threading
import time
from collections.abc import Callable

import pytest
from ember.exceptions import ServiceUnavailable
from ember.limits import RouteLimits, ServerLimits
from ember.protocol import MemoryConnection
from ember.request import Request
from ember.response import StreamingResponse

from tests.support.app import App
from tests.support.server import Client, ServeFixture
from tests.support.waiting import eventually, tries

GET = "GET / HTTP/1.1\r\nHost: x\r\n\r\n"


async def hello(request: Request) -> str:
    return "hello"


def test_a_streaming_connection_outlives_the_idle_timeout(serve: ServeFixture) -> None:
    async def slow(request: Request) -> StreamingResponse:
        async def pieces():  # type: ignore[no-untyped-def]
            for number in range(5):
                await asyncio.sleep(0.2)
                yield str(number)

        return StreamingResponse(pieces())

    limits = ServerLimits(keep_alive_timeout=0.1, header_timeout=0.1, body_timeout=0.1)
    assert serve(App({"/": slow}, limits=limits)).exchange(GET).body == b"01234"


def test_a_slow_head_is_408(serve: ServeFixture) -> None:
    running = serve(App(limits=ServerLimits(header_timeout=0.3)))
    for bound in tries():
        with running.connect() as client:
            start = time.monotonic()
            client.send("GET / HTTP/1.1\r\nHost")
            answer = client.recv_response()
            took = time.monotonic() - start
            assert (answer.status, answer.header("connection")) == (408, "close")
            assert took > 0.2
            bound(took, 1.3)


def test_a_head_that_trickles_is_408_all_the_same(serve: ServeFixture) -> None:
    """The deadline is for the whole head: a byte now and then does not extend it."""
    running = serve(App(limits=ServerLimits(header_timeout=0.4)))

    def trickle(client: Client, stop: threading.Event) -> None:
        client.send("GET / HTTP/1.1\r\nX: ")
        while not stop.wait(0.05):
            try:
                client.send("a")
            except OSError:
                return

    for bound in tries():
        stop = threading.Event()
        with running.connect() as client:
            thread = threading.Thread(target=trickle, args=(client, stop), daemon=True)
            start = time.monotonic()
            thread.start()
            assert client.recv_response().status == 408
            bound(time.monotonic() - start, 2.0)
            stop.set()
            thread.join(5)


def test_a_connection_that_says_nothing_is_closed(serve: ServeFixture) -> None:
    with serve(App(limits=ServerLimits(header_timeout=0.3))).connect() as client:
        assert client.recv_until_close() == b""


def test_a_slow_second_head_is_408(serve: ServeFixture) -> None:
    with serve(App({"/": hello}, limits=ServerLimits(header_timeout=0.3))).connect() as client:
        client.send(GET + "GET /")
        assert client.recv_response().status == 200
        assert client.recv_response().status == 408


def test_a_peer_that_takes_nothing_is_reset(
    serve: ServeFixture, caplog: pytest.LogCaptureFixture
) -> None:
    body = b"x" * (16 << 20)
    running = serve(App({"/": lambda r: body}, limits=ServerLimits(write_timeout=0.4)))
    with running.connect(receive_buffer=4096) as client, caplog.at_level(logging.WARNING):
        client.send(GET)
        eventually(lambda: running.server.connections == 1)
        eventually(lambda: running.server.connections == 0)
    assert "read nothing" in caplog.text


def test_a_peer_that_takes_a_little_is_served_to_the_end(serve: ServeFixture) -> None:
    body = b"x" * (8 << 20)
    pause = threading.Event()
    running = serve(App({"/": lambda r: body}, limits=ServerLimits(write_timeout=0.5)))
    with running.connect(receive_buffer=4096) as client:
        client.send(GET)
        start = time.monotonic()
        client.recv_head()
        # Slowly for longer than the timeout, then the rest.
        while time.monotonic() - start < 1.2:
            client.recv_exactly(50_000)
            pause.wait(0.05)
        assert set(client.recv_exactly(1_000_000)) == set(b"x")


def test_a_handler_over_its_time_is_503_and_cancelled(serve: ServeFixture) -> None:
    cancelled: list[bool] = []

    async def slow(request: Request) -> str:
        try:
            await asyncio.sleep(5)
        except asyncio.CancelledError:
            cancelled.append(True)
            raise
        return "late"

    app = App({"/": slow, "/quick": hello}, route_limits={"/": RouteLimits(timeout=0.2)})
    running = serve(app)
    for bound in tries():
        cancelled.clear()
        app.errors.clear()
        with running.connect() as client:
            start = time.monotonic()
            client.send(GET + GET.replace("/ ", "/quick ", 1))
            assert client.recv_response().status == 503
            took = time.monotonic() - start
            assert client.recv_response().body == b"hello", "the connection goes on"
        assert cancelled == [True]
        assert isinstance(app.errors[0], ServiceUnavailable)
        assert took > 0.19
        bound(took, 0.25)


def test_the_request_timeout_of_the_server_holds_for_every_route(serve: ServeFixture) -> None:
    async def slow(request: Request) -> str:
        await asyncio.sleep(5)
        return "late"

    app = App({"/": slow}, limits=ServerLimits(request_timeout=0.2))
    assert serve(app).exchange(GET).status == 503


def test_a_stream_that_has_begun_is_not_under_the_timeout(serve: ServeFixture) -> None:
    async def slow(request: Request) -> StreamingResponse:
        async def pieces():  # type: ignore[no-untyped-def]
            for number in range(4):
                await asyncio.sleep(0.15)
                yield str(number)

        return StreamingResponse(pieces())

    app = App({"/": slow}, limits=ServerLimits(request_timeout=0.2))
    assert serve(app).exchange(GET).body == b"0123"


HEAD = "GET {} HTTP/1.1\r\nHost: x\r\n{}\r\n"


@pytest.mark.parametrize(
    ("limits", "at", "above", "status"),
    [
        (
            {"max_target_size": 10},
            HEAD.format("/23456789a", ""),
            HEAD.format("/23456789ab", ""),
            414,
        ),
        ({"max_headers": 2}, HEAD.format("/", "A: b\r\n"), HEAD.format("/", "A: b\r\n" * 2), 431),
        (
            {"max_header_size": 64},
            HEAD.format("/", f"A: {'b' * 32}\r\n"),
            HEAD.format("/", f"A: {'b' * 33}\r\n"),
            431,
        ),
    ],
)
def test_limits_of_the_head_are_kept_to_the_byte(
    serve: ServeFixture, limits: dict[str, int], at: str, above: str, status: int
) -> None:
    running = serve(App({"*": hello}, limits=ServerLimits(**limits)))
    assert running.exchange(at).status == 200
    assert running.exchange(above).status == status


@pytest.mark.skipif(not hasattr(socket, "TCP_NOTSENT_LOWAT"), reason="not of this system")
def test_the_kernel_keeps_little_for_a_slow_reader(serve: ServeFixture) -> None:
    running = serve(App({"/": hello}))
    option = (socket.IPPROTO_TCP, socket.TCP_NOTSENT_LOWAT)
    (listening,) = running.server.sockets
    assert listening.getsockopt(*option) == 262144
    # What is accepted has it from the listener.
    with socket.create_server(("127.0.0.1", 0)) as other:
        other.setsockopt(*option, 262144)
        with socket.create_connection(other.getsockname()):
            accepted, _ = other.accept()
            with accepted:
                assert accepted.getsockopt(*option) == 262144


def test_a_megabyte_of_headers_is_431(serve: ServeFixture) -> None:
    running = serve(App({"*": hello}))
    with running.connect() as client:
        with contextlib.suppress(ConnectionError):  # it may hear the answer before it has said all
            client.send("GET / HTTP/1.1\r\nHost: x\r\n" + f"A: {'b' * 1018}\r\n" * 1024)
        answer = client.recv_response()
    assert (answer.status, answer.header("connection")) == (431, "close")


def test_what_is_kept_of_pipelined_requests_is_bounded_to_the_byte(
    memory: Callable[..., MemoryConnection],
) -> None:
    async def main() -> None:
        release = asyncio.Event()

        async def wait(request: Request) -> str:
            await release.wait()
            return "done"

        connection = memory(App({"/": wait}), limits=ServerLimits(max_pipelined=100))
        connection.feed(GET.encode())
        connection.feed(b"G" * 99)
        assert connection.reading
        connection.feed(b"E")
        assert not connection.reading
        connection.lost()
        release.set()
        await asyncio.sleep(0)

    asyncio.run(main())


def test_a_client_that_leaves_cancels_its_handler(serve: ServeFixture) -> None:
    began: list[str] = []
    ended: list[str] = []

    async def wait(request: Request) -> str:
        began.append("began")
        try:
            await asyncio.sleep(5)
        except asyncio.CancelledError:
            ended.append("cancelled")
            raise
        return "late"

    app = App({"/": wait})
    running = serve(app)
    for leave in ("close", "reset"):
        client = running.connect()
        client.send(GET)
        eventually(lambda: len(began) > len(ended))
        getattr(client, leave)()
        eventually(lambda: len(began) == len(ended))
        eventually(lambda: running.server.connections == 0)
    assert ended == ["cancelled"] * 2
    assert not app.errors, "nobody waits for an answer"


def test_a_route_may_finish_for_a_client_that_left(serve: ServeFixture) -> None:
    finished = asyncio.Event()
    done: list[bool] = []

    async def stubborn(request: Request) -> str:
        await finished.wait()
        done.append(await request.is_disconnected())
        return "done"

    app = App({"/": stubborn}, route_limits={"/": RouteLimits(cancel_on_disconnect=False)})
    running = serve(app)
    with running.connect() as client:
        client.send(GET)
        eventually(lambda: running.server.requests == 1)
        client.reset()
    eventually(lambda: running.server.connections == 0)
    running.loop.call_soon_threadsafe(finished.set)
    eventually(lambda: done)
    assert done == [True]


def test_requests_before_a_half_close_are_still_answered(serve: ServeFixture) -> None:
    async def yielding(request: Request) -> str:
        return "hello"

    with serve(App({"/": yielding})).connect() as client:
        client.send(GET * 5)
        client.finish()
        data = client.recv_until_close()
    assert data.count(b"HTTP/1.1 200 OK") == 5


def test_a_half_close_in_the_middle_of_a_head_closes(serve: ServeFixture) -> None:
    with serve(App()).connect() as client:
        client.send("GET / HT")
        client.finish()
        assert client.recv_until_close() == b""


def test_connections_broken_off_anywhere_leave_nothing_behind(serve: ServeFixture) -> None:
    async def echo(request: Request) -> bytes:
        body = await request.body()
        await asyncio.sleep(0)
        return body

    running = serve(App({"*": echo}))
    head = b"POST / HTTP/1.1\r\nHost: x\r\nTransfer-Encoding: chunked\r\n\r\n"
    data = (head + b"5\r\nhello\r\n0\r\n\r\n") * 2
    for end in range(len(data)):
        with socket.create_connection(("127.0.0.1", running.port)) as sock:
            sock.sendall(data[:end])
    eventually(lambda: running.server.connections == 0)

"""One connection that has much to do does not keep the others waiting."""

from __future__ import annotations

import asyncio
import select
import threading
import time
from collections.abc import Callable
from pathlib import Path

import pytest
from ember.protocol import MemoryConnection
from ember.protocol.server.tls import ServerTLS
from ember.request import Request
from ember.response import Response

from tests.support.app import App
from tests.support.server import ServeFixture, new_event_loop
from tests.support.tls import Authority, connect
from tests.support.waiting import DEADLINE, tries

GET = b"GET / HTTP/1.1\r\nHost: x\r\n\r\n"
CHUNKS = b"POST /body HTTP/1.1\r\nHost: x\r\nTransfer-Encoding: chunked\r\n\r\n"
#: What one client sends at once, and a mark that is in its last answer alone.
FLOODS: dict[str, bytes] = {
    "handlers": GET * 20_000,
    "answers without a handler": GET.replace(b"/ ", b"/kept ", 1) * 20_000,
    "not found": GET.replace(b"/ ", b"/none ", 1) * 20_000,
    "bodies": b"POST /body HTTP/1.1\r\nHost: x\r\nContent-Length: 3\r\n\r\nabc" * 10_000,
    "tiny chunks": CHUNKS + b"1\r\nx\r\n" * 60_000 + b"0\r\n\r\n",
}


def application() -> App:
    kept = Response(b"kept")

    async def hello(request: Request) -> str:
        return "hello"

    async def body(request: Request) -> str:
        return str(len(await request.body()))

    return App({"/": hello, "/kept": lambda request: kept, "/body": body})


@pytest.mark.parametrize("flood", list(FLOODS))
def test_others_have_their_turn_while_one_connection_floods(flood: str) -> None:
    """What arrives later is answered long before the flood is, and no turn is long."""

    async def main() -> tuple[int, int, float]:
        app = application()
        flooding, other = MemoryConnection(app), MemoryConnection(app)
        last = b"Connection: close\r\n"
        data = FLOODS[flood] + b"GET / HTTP/1.1\r\nHost: x\r\n" + last + b"\r\n"
        turns = answered = 0
        longest = 0.0
        flooding.feed(data)
        while not flooding.closed:
            start = time.perf_counter()
            await asyncio.sleep(0)
            longest = max(longest, time.perf_counter() - start)
            flooding.take()
            turns += 1
            other.feed(GET)
            answered += other.take().count(b"200 OK")
        return turns, answered, longest

    for bound in tries():
        loop = new_event_loop()
        try:
            turns, answered, longest = loop.run_until_complete(main())
        finally:
            loop.close()
        assert turns > 10
        # A genuine task answers one turn later.
        assert turns - 2 <= answered <= turns
        bound(longest, 0.1, "a turn")


def test_every_request_of_a_flood_is_answered_in_order(serve: ServeFixture) -> None:
    async def echo(request: Request) -> bytes:
        return request.raw_path

    running = serve(App({"*": echo}))
    with running.connect() as client:
        requests = [GET.replace(b"/ ", b"/%d " % n, 1) for n in range(5000)]
        sender = threading.Thread(target=client.send, args=(b"".join(requests),), daemon=True)
        sender.start()
        assert [client.recv_response().body for _ in requests] == [b"/%d" % n for n in range(5000)]
        sender.join(5)


def flooded(serve: ServeFixture, ask: Callable[[float], None]) -> None:
    running = serve(application())
    stop = threading.Event()
    flooding, other = running.connect(), running.connect()

    def send() -> None:
        try:
            while not stop.is_set():
                flooding.sock.sendall(GET * 2000)
        except OSError:
            return

    def drain() -> None:
        try:
            while flooding.sock.recv(1 << 20):
                pass
        except OSError:
            return

    threads = [threading.Thread(target=what, daemon=True) for what in (send, drain)]
    for thread in threads:
        thread.start()
    try:
        for _ in range(30):
            start = time.monotonic()
            other.send(GET)
            assert other.recv_response().body == b"hello"
            ask(time.monotonic() - start)
    finally:
        stop.set()
        flooding.reset()
        for thread in threads:
            thread.join(5)


def test_a_client_beside_a_flood_is_answered_soon(serve: ServeFixture) -> None:
    """The flood shares the machine, and here the interpreter, with the client and the server: a
    wait of several turns of these, and not of the second that its 2 MiB take."""
    for bound in tries():
        took: list[float] = []
        flooded(serve, took.append)
        took.sort()
        bound(took[len(took) // 2], 0.15, "half of the answers")


@pytest.mark.parametrize("secure", [False, True], ids=["plain", "tls"])
def test_an_answer_leaves_before_the_flood_goes_on(
    serve: ServeFixture, tmp_path: Path, secure: bool
) -> None:
    """Not with the end of the turn, which the flood makes long."""
    authority = Authority(tmp_path)
    asked, looked = threading.Event(), threading.Event()
    left: list[bool] = []

    async def warm(request: Request) -> str:
        time.sleep(0.001)  # more than the budget of a turn
        return "warm"

    async def slow(request: Request) -> str:
        time.sleep(0.001)
        if asked.is_set() and not looked.is_set():
            left.append(bool(select.select([other.sock], [], [], 5)[0]))
            looked.set()
        return "slow"

    async def hello(request: Request) -> str:
        asked.set()
        return "hello"

    options = {"ssl": ServerTLS(*authority.pair("localhost"))} if secure else {}
    running = serve(App({"/warm": warm, "/slow": slow, "/": hello}), **options)
    context = authority.client()
    with (
        connect(running, context) if secure else running.connect() as flooding,
        connect(running, context) if secure else running.connect() as other,
    ):
        # What follows a handshake is not to be taken for an answer.
        other.send(GET.replace(b"/ ", b"/none ", 1))
        assert other.recv_response().status == 404
        stop = threading.Event()

        # The first two run where they arrive, the others in turns of their own.
        flood_of = [GET.replace(b"/ ", b"/%b " % name, 1) for name in (b"warm", b"slow")]
        batch = flood_of[0] * 2 + flood_of[1] * 20

        def flood() -> None:
            while not stop.is_set():
                flooding.send(batch)
                for _ in range(22):
                    flooding.recv_response()

        thread = threading.Thread(target=flood, daemon=True)
        thread.start()
        other.send(GET)
        assert looked.wait(DEADLINE)
        assert other.recv_response().body == b"hello"
        stop.set()
        thread.join(DEADLINE)
    assert left == [True]

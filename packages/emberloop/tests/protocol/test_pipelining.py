"""Pipelined requests: in order, whole, bounded (E20)."""

from __future__ import annotations

import asyncio
import threading

from ember.limits import ServerLimits
from ember.request import Request
from ember.response import StreamingResponse

from tests.support.app import App
from tests.support.server import ServeFixture
from tests.support.waiting import settled


def get(path: str, *fields: str) -> bytes:
    return "\r\n".join([f"GET {path} HTTP/1.1", "Host: x", *fields, "", ""]).encode()


async def name(request: Request) -> str:
    return request.path


async def slow(request: Request) -> str:
    await asyncio.sleep(0.02)
    return request.path


async def stream(request: Request) -> StreamingResponse:
    async def pieces():  # type: ignore[no-untyped-def]
        for _ in range(3):
            await asyncio.sleep(0)
            yield request.path.encode()

    return StreamingResponse(pieces())


def kinds() -> App:
    return App({"/slow": slow, "/stream": stream, "/now": lambda r: "/now", "*": name})


def test_many_requests_in_one_segment_are_answered_in_order(serve: ServeFixture) -> None:
    with serve(kinds()).connect() as client:
        client.send(b"".join(get(f"/{number}") for number in range(200)))
        bodies = [client.recv_response().body.decode() for _ in range(200)]
    assert bodies == [f"/{number}" for number in range(200)]


def test_fast_answers_wait_for_slow_ones(serve: ServeFixture) -> None:
    paths = ["/slow", "/a", "/stream", "/now", "/b", "/slow", "/now", "/stream", "/c"]
    with serve(kinds()).connect() as client:
        client.send(b"".join(map(get, paths)))
        bodies = [client.recv_response().body.decode() for _ in paths]
    assert bodies == [path * 3 if path == "/stream" else path for path in paths]


def test_the_same_requests_split_at_every_offset(serve: ServeFixture) -> None:
    body = b"POST /body HTTP/1.1\r\nHost: x\r\nContent-Length: 5\r\n\r\nhello"
    data = get("/a") + body + get("/now") + get("/stream")

    async def read(request: Request) -> bytes:
        return await request.body()

    app = kinds()
    app.routes["/body"] = read
    running = serve(app)
    with running.connect() as client:
        for cut in range(1, len(data)):
            client.send(data[:cut])
            client.send(data[cut:])
            got = [client.recv_response().body for _ in range(4)]
            assert got == [b"/a", b"hello", b"/now", b"/stream" * 3], cut


def test_requests_behind_a_busy_handler_wait_in_the_kernel(serve: ServeFixture) -> None:
    """The bytes that are kept are bounded: a client that pipelines without end has to wait."""
    release = asyncio.Event()
    seen = 0

    async def wait(request: Request) -> str:
        await release.wait()
        return "done"

    async def count(request: Request) -> str:
        nonlocal seen
        seen += 1
        return "x"

    app = App({"/wait": wait, "/count": count}, limits=ServerLimits(max_pipelined=10_000))
    running = serve(app)
    sent = 0
    total = 10_000
    with running.connect() as client:
        # Padded, so that all of them are far more than the kernel keeps.
        request = get("/count", "X-Padding: " + "x" * 4000)

        def push() -> None:
            nonlocal sent
            client.send(get("/wait"))
            for _ in range(total // 100):
                client.send(request * 100)
                sent += 100 * len(request)

        pusher = threading.Thread(target=push, daemon=True)
        pusher.start()
        stuck = settled(lambda: sent)
        assert stuck < total * len(request), "the kernel took everything: make the test larger"
        assert seen == 0
        running.loop.call_soon_threadsafe(release.set)
        assert client.recv_response().body == b"done"
        for _ in range(total):
            assert client.recv_response().body == b"x"
        pusher.join(10)
    assert seen == total


def test_a_peer_that_does_not_read_is_not_served_further(serve: ServeFixture) -> None:
    served = 0

    async def large(request: Request) -> bytes:
        nonlocal served
        served += 1
        return b"x" * 1_000_000

    running = serve(App({"/": large}))
    with running.connect(receive_buffer=4096) as client:
        client.send(get("/") * 100)
        most = settled(lambda: served)
        assert most < 50
        for _ in range(100):
            assert len(client.recv_response().body) == 1_000_000
    assert served == 100

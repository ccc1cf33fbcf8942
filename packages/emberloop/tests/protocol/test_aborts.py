"""Connections that end at random points leave nothing behind."""

from __future__ import annotations

import asyncio
import gc
import random
import tracemalloc
from collections.abc import AsyncIterator

import pytest
from ember._build import PURE
from ember.limits import RouteLimits
from ember.protocol import MemoryConnection
from ember.request import Request
from ember.response import Response, StreamingResponse

from tests.support.app import App
from tests.support.server import new_event_loop

BODY = b"POST /body HTTP/1.1\r\nHost: x\r\nContent-Length: 40\r\n\r\n" + b"b" * 40
CHUNKS = (
    b"POST /stream HTTP/1.1\r\nHost: x\r\nTransfer-Encoding: chunked\r\n\r\n"
    b"5;x=y\r\nhello\r\n10\r\n0123456789abcdef\r\n0\r\nTrailer: t\r\n\r\n"
)
EXPECT = b"PUT /body HTTP/1.1\r\nHost: x\r\nExpect: 100-continue\r\nContent-Length: 3\r\n\r\nabc"
REQUESTS = [
    b"GET / HTTP/1.1\r\nHost: x\r\n\r\n",
    b"GET /wait HTTP/1.1\r\nHost: x\r\n\r\n",
    b"GET /pieces HTTP/1.1\r\nHost: x\r\n\r\n",
    b"GET /fails HTTP/1.1\r\nHost: x\r\n\r\n",
    b"GET /turns HTTP/1.1\r\nHost: x\r\nConnection: close\r\n\r\n",
    b"HEAD / HTTP/1.0\r\n\r\n",
    b"GET / HTTP/1.1\r\nno colon\r\n\r\n",
    BODY,
    CHUNKS,
    EXPECT,
]


def application() -> App:
    async def hello(request: Request) -> str:
        return "hello"

    async def wait(request: Request) -> str:
        await asyncio.get_running_loop().create_future()
        return "never"

    async def turns(request: Request) -> Response:
        await asyncio.sleep(0)
        request.headers.get("host")
        return Response(b"turns", headers={"X-Turn": "1"})

    async def fails(request: Request) -> str:
        await asyncio.sleep(0)
        raise ValueError("fails")

    async def body(request: Request) -> bytes:
        return await request.body()

    async def stream(request: Request) -> str:
        total = 0
        async for chunk in request.stream:
            total += len(chunk)
        return str(total)

    async def pieces(request: Request) -> StreamingResponse:
        async def give() -> AsyncIterator[bytes]:
            for n in range(4):
                yield b"x" * n
                await asyncio.sleep(0)

        return StreamingResponse(give())

    app = App(
        {
            "/": hello,
            "/wait": wait,
            "/turns": turns,
            "/fails": fails,
            "/body": body,
            "/stream": stream,
            "/pieces": pieces,
        },
        route_limits={"/stream": RouteLimits(max_body_size=20)},
    )
    app.errors = Forgetful()
    return app


class Forgetful(list[BaseException]):
    """Errors hold frames, which hold everything; here they would be the leak."""

    def append(self, error: BaseException) -> None:
        pass


async def abort_some(source: random.Random, app: App, count: int, strict: bool) -> None:
    for _ in range(count):
        connection = MemoryConnection(app, strict_tasks=strict)
        data = b"".join(source.choices(REQUESTS, k=source.randint(1, 3)))
        data = data[: source.randint(0, len(data))]
        while data and not connection.closed:
            size = source.randint(1, len(data))
            connection.feed(data[:size])
            data = data[size:]
            if source.random() < 0.3:
                await asyncio.sleep(0)
            if source.random() < 0.1:
                connection.writable = not connection.writable
        if source.random() < 0.5:
            connection.eof()
            for _ in range(source.randint(0, 3)):
                await asyncio.sleep(0)
        connection.take()
        connection.lost()
        await asyncio.sleep(0)
    for _ in range(10):
        await asyncio.sleep(0)
    assert asyncio.all_tasks() == {asyncio.current_task()}


@pytest.mark.parametrize("strict", [False, True], ids=["light", "genuine"])
@pytest.mark.filterwarnings("error")
def test_connections_aborted_at_random_points_leave_nothing(
    strict: bool, caplog: pytest.LogCaptureFixture
) -> None:
    source = random.Random("aborts")
    app = application()
    loop = new_event_loop()
    caplog.set_level("CRITICAL", "ember.protocol")

    def used(count: int) -> tuple[int, int]:
        loop.run_until_complete(abort_some(source, app, count, strict))
        gc.collect()
        return tracemalloc.get_traced_memory()[0], len(gc.get_objects())

    tracemalloc.start()
    try:
        used(300)  # whatever is loaded or cached at first use
        memory, objects = used(300)
        later_memory, later_objects = used(300 if PURE else 1500)
        assert later_objects - objects < 50
        assert later_memory - memory < 30_000
    finally:
        tracemalloc.stop()
        loop.run_until_complete(loop.shutdown_asyncgens())
        loop.close()

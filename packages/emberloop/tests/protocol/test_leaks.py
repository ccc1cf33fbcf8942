"""What served goes away by itself: without the garbage collector, however an exchange ended."""

from __future__ import annotations

import asyncio
import contextlib
import gc
import logging
import types
from collections import Counter
from collections.abc import AsyncIterator, Callable
from pathlib import Path
from typing import Any

import pytest
from ember.limits import RouteLimits, ServerLimits
from ember.protocol.server.tls import ServerTLS
from ember.request import Request
from ember.response import StreamingResponse

from tests.support.app import App
from tests.support.server import Client, Running, ServeFixture
from tests.support.tls import Authority, connect
from tests.support.waiting import eventually

#: What a request is made of; and what holds everything that a function knew.
OURS = {
    "Exchange",
    "Request",
    "Connection",
    "HttpStream",
    "TlsStream",
    "RequestBodyReader",
    "Body",
    "HTTPProtocol",
    "TLSLayer",
    "StreamTLS",
    "Context",
}
FRAMES = (types.CoroutineType, types.AsyncGeneratorType, types.TracebackType, BaseException)


class Forgetful(App):
    """The errors that it saw would hold frames, which hold all that is looked for."""

    def __init__(self, *args: Any, **options: Any) -> None:
        super().__init__(*args, **options)
        self.count = 0

    def on_error(self, request: Request, error: BaseException) -> Any:
        response = super().on_error(request, error)
        self.errors.clear()
        return response


async def later(request: Request) -> str:
    await asyncio.sleep(0)
    return "x"


async def fails(request: Request) -> str:
    await asyncio.sleep(0)
    raise ValueError("fails")


async def fails_at_once(request: Request) -> str:
    raise ValueError("fails")


async def waits(request: Request) -> str:
    await asyncio.get_running_loop().create_future()
    return "never"


async def swallows(request: Request) -> str:
    with contextlib.suppress(asyncio.CancelledError):
        await asyncio.get_running_loop().create_future()
    return "never"


async def reads(request: Request) -> str:
    return str(len(await request.body()))


async def reads_in_pieces(request: Request) -> str:
    return str(sum([len(piece) async for piece in request.stream]))


async def streams(request: Request) -> StreamingResponse:
    async def pieces() -> AsyncIterator[bytes]:
        while True:
            yield b"x" * 100
            await asyncio.sleep(0.001)

    return StreamingResponse(pieces())


async def breaks(request: Request) -> StreamingResponse:
    async def pieces() -> AsyncIterator[bytes]:
        yield b"x" * 100
        await asyncio.sleep(0)
        raise ValueError("breaks")

    return StreamingResponse(pieces())


async def follows(request: Request) -> str:
    async def after() -> None:
        await asyncio.sleep(0)
        raise ValueError("follows")

    request.after_response(after)
    return "x"


def application() -> App:
    return Forgetful(
        {
            "/": lambda request: "x",
            "/later": later,
            "/fails": fails,
            "/fails-at-once": fails_at_once,
            "/surrogate": lambda request: "\ud800",
            "/waits": waits,
            "/swallows": swallows,
            "/slow": waits,
            "/reads": reads,
            "/reads-in-pieces": reads_in_pieces,
            "/small": reads,
            "/small-at-once": reads,
            "/unread": lambda request: "x",
            "/streams": streams,
            "/breaks": breaks,
            "/follows": follows,
        },
        limits=ServerLimits(shutdown_timeout=2),
        route_limits={
            "/slow": RouteLimits(timeout=0.02),
            "/small": RouteLimits(max_body_size=3),
        },
    )


def get(path: str) -> bytes:
    return f"GET {path} HTTP/1.1\r\nHost: x\r\n\r\n".encode()


def post(path: str, rest: bytes, field: str = "Content-Length: 10") -> bytes:
    return f"POST {path} HTTP/1.1\r\nHost: x\r\n{field}\r\n\r\n".encode() + rest


CHUNKED = "Transfer-Encoding: chunked"
#: What is sent, and what the client does then.
ENDS: dict[str, tuple[bytes, str]] = {
    "answered": (get("/later"), "reads"),
    "answered at once": (get("/"), "reads"),
    "error": (get("/fails"), "reads"),
    "error at once": (get("/fails-at-once"), "reads"),
    "no bytes": (get("/surrogate"), "reads"),
    "not found": (get("/nothing"), "reads"),
    "follows": (get("/follows"), "reads"),
    "timeout": (get("/slow"), "reads"),
    "left": (get("/waits"), "leaves"),
    "reset": (get("/waits"), "resets"),
    "left, swallowed": (get("/swallows"), "leaves"),
    "half-close": (get("/later"), "finishes"),
    "half-close, timeout": (get("/slow"), "finishes"),
    "bad request": (b"GET / HTTP/1.1\r\n\r\n", "reads"),
    "half a head": (b"GET / HT", "leaves"),
    "body": (post("/reads", b"0123456789"), "reads"),
    "body in chunks": (post("/reads", b"3\r\nabc\r\n0\r\n\r\n", CHUNKED), "reads"),
    "body in pieces": (post("/reads-in-pieces", b"3\r\nabc\r\n0\r\n\r\n", CHUNKED), "reads"),
    "body left": (post("/reads", b"0"), "leaves"),
    "body reset": (post("/reads-in-pieces", b"0"), "resets"),
    "body unread": (post("/unread", b"0"), "reads"),
    "body unread, large": (post("/unread", b"0", "Content-Length: 1000000"), "reads"),
    "body too large": (post("/small", b"a\r\n0123456789\r\n", CHUNKED), "reads"),
    "body too long": (post("/small", b"0123456789"), "reads"),
    "bad chunk": (post("/reads", b"zz\r\n", CHUNKED), "reads"),
    "stream left": (get("/streams"), "leaves"),
    "stream reset": (get("/streams"), "resets"),
    "stream breaks": (get("/breaks"), "reads"),
    "pipelined": (get("/later") * 3, "reads"),
    "pipelined, left": (get("/waits") * 3, "resets"),
}


def census() -> Counter[str]:
    """How many of ours there are, and frames of this file; the collector does not run."""
    found: Counter[str] = Counter()
    for thing in gc.get_objects():
        kind = type(thing)
        if kind.__name__ in OURS or isinstance(thing, FRAMES):
            found[kind.__name__] += 1
    return found


def act(client: Client, data: bytes, how: str, sent: Callable[[], bool]) -> None:
    try:
        client.send(data)
        if how == "reads":
            client.sock.recv(100)
        else:
            eventually(sent)
            if how == "finishes":
                client.finish()
                client.recv_until_close()
            elif how == "resets":
                client.reset()
                return
    except ConnectionError:
        pass
    client.close()


def leaks(
    running: Running, data: bytes, how: str, count: int, connect: Callable[[Running], Client]
) -> Counter[str]:
    """What there is more of after `count` exchanges, and grows with their number: the last callback
    that the loop ran may still be held by it."""

    def some(number: int) -> None:
        for _ in range(number):
            act(connect(running), data, how, lambda: running.server.connections > 0)
        eventually(lambda: running.server.connections == 0)

    async def wait_idle() -> None:
        for _ in range(20):
            await asyncio.sleep(0)

    some(3)
    running.call(wait_idle())
    gc.collect()
    before = census()
    some(count)
    running.call(wait_idle())
    with contextlib.suppress(AssertionError):
        eventually(lambda: not census() - before, 2)
    return Counter({kind: more for kind, more in (census() - before).items() if more > count / 4})


OTHERS = [pytest.param(name, marks=pytest.mark.once_per_build) for name in ("uvloop", "asyncio")]


@pytest.fixture(params=["", *OTHERS])
def loop(request: pytest.FixtureRequest, monkeypatch: pytest.MonkeyPatch) -> None:
    """The loop that this run is about, and those of others."""
    if request.param == "uvloop":
        pytest.importorskip("uvloop")
    if request.param:
        monkeypatch.setenv("EMBER_LOOP", request.param)


@pytest.mark.parametrize("end", ENDS)
def test_nothing_of_an_exchange_waits_for_the_garbage_collector(
    loop: None, serve: ServeFixture, end: str
) -> None:
    logging.disable(logging.CRITICAL)
    running = serve(application())
    gc.disable()
    try:
        assert not leaks(running, *ENDS[end], count=8, connect=Running.connect)
    finally:
        gc.enable()
        logging.disable(logging.NOTSET)


@pytest.mark.parametrize(
    "end",
    ["answered", "error", "left", "reset", "body", "body reset", "bad request", "stream left"],
)
def test_nothing_of_a_secured_one_waits_for_it_either(
    loop: None, serve: ServeFixture, end: str, tmp_path: Path
) -> None:
    authority = Authority(tmp_path)
    context = authority.client()
    running = serve(application(), ssl=ServerTLS(*authority.pair("localhost")))
    logging.disable(logging.CRITICAL)
    gc.disable()
    try:
        left = leaks(
            running, *ENDS[end], count=8, connect=lambda r: connect(r, context, ragged=True)
        )
        assert not left
    finally:
        gc.enable()
        logging.disable(logging.NOTSET)

"""Streamed answers over sockets: each piece at its time, backpressure, broken ends (E50-E52,
E55)."""

from __future__ import annotations

import asyncio
import contextlib
import hashlib
import logging
import subprocess
import threading
import time
from collections.abc import AsyncIterator, Callable, Iterator
from typing import Any

import pytest
from ember.limits import RouteLimits
from ember.request import Request
from ember.response import StreamingResponse

from tests.support.app import App
from tests.support.server import Incomplete, ServeFixture
from tests.support.waiting import eventually, settled, tries

GET = "GET {} HTTP/1.1\r\nHost: x\r\n\r\n"


def test_each_piece_is_on_the_wire_when_it_is_made(serve: ServeFixture) -> None:
    steps: asyncio.Queue[bytes] = asyncio.Queue()

    async def stepwise(request: Request) -> StreamingResponse:
        async def pieces() -> AsyncIterator[bytes]:
            yield b""  # the head goes out with the first piece, also an empty one
            while piece := await steps.get():
                yield piece

        return StreamingResponse(pieces(), content_type="text/plain")

    running = serve(App({"/": stepwise}))
    with running.connect() as client:
        client.send(GET.format("/"))
        head = client.recv_head()
        assert head.header("transfer-encoding") == "chunked"
        assert head.header("content-length") is None
        for number in range(5):
            piece = b"piece %d" % number
            running.loop.call_soon_threadsafe(steps.put_nowait, piece)
            assert client.recv_chunk() == piece
        running.loop.call_soon_threadsafe(steps.put_nowait, b"")
        assert client.recv_chunk() == b""
        client.send(GET.format("/none"))
        assert client.recv_response().status == 404


@pytest.mark.parametrize("waits", [False, True])
@pytest.mark.parametrize("kind", ["raises", "type", "sync", "text"])
def test_what_fails_before_its_first_piece_is_answered_as_an_error(
    kind: str, waits: bool, serve: ServeFixture
) -> None:
    closed: list[str] = []

    async def fails() -> AsyncIterator[Any]:
        try:
            if waits:
                await asyncio.sleep(0)
            if kind == "raises":
                raise LookupError("no such table")
            yield {"n": 1}
        finally:
            closed.append("closed")

    def fails_in_a_thread() -> Iterator[bytes]:
        try:
            raise LookupError("no such table")
            yield b""
        finally:
            closed.append("closed")

    def handler(request: Request) -> StreamingResponse:
        if kind == "text":  # half a character is no failure
            closed.append("closed")
            return StreamingResponse(["a\ud83d"])
        return StreamingResponse(fails_in_a_thread() if kind == "sync" else fails())

    running = serve(App({"/": handler}))
    with running.connect() as client:
        for _ in range(2):
            client.send(GET.format("/"))
            answer = client.recv_response()
            assert answer.status == (200 if kind == "text" else 500)
            if kind == "text":
                assert answer.body == "a\ufffd".encode()
    assert closed == ["closed", "closed"]


def test_a_stream_without_a_piece_is_an_empty_answer(serve: ServeFixture) -> None:
    async def none() -> AsyncIterator[bytes]:
        pieces: tuple[bytes, ...] = ()
        for piece in pieces:
            yield piece

    running = serve(App({"/": lambda r: StreamingResponse(none())}))
    with running.connect() as client:
        for _ in range(2):
            client.send(GET.format("/"))
            assert client.recv_response().body == b""


def test_an_empty_piece_does_not_end_the_answer(serve: ServeFixture) -> None:
    async def gaps(request: Request) -> StreamingResponse:
        async def pieces() -> AsyncIterator[bytes | str]:
            for piece in (b"", "a", "", b"b", b""):
                yield piece

        return StreamingResponse(pieces())

    assert serve(App({"/": gaps})).exchange(GET.format("/")).body == b"ab"


@pytest.mark.parametrize("kind", ["list", "tuple", "generator", "iterator"])
def test_sync_iterables_are_streamed(serve: ServeFixture, kind: str) -> None:
    threads: list[str] = []

    def generator() -> Iterator[bytes]:
        threads.append(threading.current_thread().name)
        yield b"a"
        yield b"b"

    def handler(request: Request) -> StreamingResponse:
        pieces = {
            "list": [b"a", b"b"],
            "tuple": (b"a", b"b"),
            "generator": generator(),
            "iterator": iter([b"a", b"b"]),
        }
        return StreamingResponse(pieces[kind])

    running = serve(App({"/": handler}))
    assert running.exchange(GET.format("/")).body == b"ab"
    if kind == "generator":
        loop_thread = running.call(_thread_name())
        assert threads != [loop_thread], "a sync generator must not run on the loop"


async def _thread_name() -> str:
    return threading.current_thread().name


def test_a_known_length_is_sent_without_chunks(serve: ServeFixture) -> None:
    async def sized(request: Request) -> StreamingResponse:
        return StreamingResponse([b"ab", b"cd"], headers={"Content-Length": "4"})

    with serve(App({"/": sized})).connect() as client:
        client.send(GET.format("/") * 2)
        for _ in range(2):
            answer = client.recv_response()
            assert answer.header("content-length") == "4"
            assert answer.header("transfer-encoding") is None
            assert answer.body == b"abcd"


@pytest.mark.parametrize("length", [3, 5])
def test_a_wrong_length_breaks_the_answer(serve: ServeFixture, length: int) -> None:
    def sized(request: Request) -> StreamingResponse:
        return StreamingResponse([b"ab", b"cd"], headers={"Content-Length": str(length)})

    with serve(App({"/": sized})).connect() as client:
        client.send(GET.format("/") + GET.format("/none"))
        with pytest.raises((Incomplete, ConnectionResetError)):
            client.recv_response()


def test_http_1_0_gets_a_stream_until_the_end_of_the_connection(serve: ServeFixture) -> None:
    def stream(request: Request) -> StreamingResponse:
        return StreamingResponse([b"ab", b"cd"])

    with serve(App({"/": stream})).connect() as client:
        client.send("GET / HTTP/1.0\r\nConnection: keep-alive\r\n\r\n")
        answer = client.recv_response()
        assert answer.header("transfer-encoding") is None
        assert answer.header("connection") == "close"
        assert answer.body == b"abcd"


def failing(request: Request) -> StreamingResponse:
    async def pieces() -> AsyncIterator[bytes]:
        yield b"good"
        raise RuntimeError("the source broke")

    return StreamingResponse(pieces())


def test_an_error_in_the_middle_is_never_a_clean_end(
    serve: ServeFixture, caplog: pytest.LogCaptureFixture
) -> None:
    app = App({"/": failing})
    with serve(app).connect() as client, caplog.at_level(logging.ERROR):
        client.send(GET.format("/"))
        client.recv_head()
        assert client.recv_chunk() == b"good"
        with pytest.raises((Incomplete, ConnectionResetError)):
            client.recv_chunk()
    assert "the source broke" in caplog.text
    assert not app.errors, "the answer has begun: nobody can answer with an error any more"


def test_an_error_in_the_middle_of_an_http_1_0_answer_is_a_reset(serve: ServeFixture) -> None:
    """Its end is the end of the connection: a clean one would be a lie."""
    with serve(App({"/": failing})).connect() as client:
        client.send("GET / HTTP/1.0\r\n\r\n")
        with pytest.raises(ConnectionResetError):
            client.recv_until_close()


def test_curl_sees_that_the_message_is_broken(serve: ServeFixture) -> None:
    running = serve(App({"/": failing}))
    curl = subprocess.run(["curl", "-s", running.url + "/"], capture_output=True, timeout=120)
    assert curl.returncode == 18
    assert curl.stdout == b"good"


def test_a_piece_of_the_wrong_type_breaks_the_answer(
    serve: ServeFixture, caplog: pytest.LogCaptureFixture
) -> None:
    def wrong(request: Request) -> StreamingResponse:
        return StreamingResponse([b"ok", 5])  # type: ignore[list-item]

    with serve(App({"/": wrong})).connect() as client, caplog.at_level(logging.ERROR):
        client.send(GET.format("/"))
        with pytest.raises((Incomplete, ConnectionResetError)):
            client.recv_response()
    assert "a stream gives bytes or str, not int" in caplog.text


@pytest.mark.parametrize("how", ["close", "reset"])
def test_the_generator_is_closed_when_the_client_leaves(serve: ServeFixture, how: str) -> None:
    closed: list[float] = []

    def endless(request: Request) -> StreamingResponse:
        async def pieces() -> AsyncIterator[bytes]:
            try:
                yield b"first"
                await asyncio.Event().wait()
            finally:
                closed.append(time.monotonic())

        return StreamingResponse(pieces())

    running = serve(App({"/": endless}))
    for bound in tries():
        closed.clear()
        client = running.connect()
        client.send(GET.format("/"))
        client.recv_head()
        assert client.recv_chunk() == b"first"
        left = time.monotonic()
        getattr(client, how)()
        eventually(lambda: closed)
        bound(closed[0] - left, 0.1)
        eventually(lambda: running.server.connections == 0)


def test_a_generator_paused_by_a_slow_reader_is_closed_when_it_leaves(serve: ServeFixture) -> None:
    closed: list[int] = []
    made = 0

    def endless(request: Request) -> StreamingResponse:
        async def pieces() -> AsyncIterator[bytes]:
            nonlocal made
            try:
                while True:
                    made += 1
                    yield b"x" * 65536
            finally:
                closed.append(made)

        return StreamingResponse(pieces())

    running = serve(App({"/": endless}))
    client = running.connect(receive_buffer=4096)
    client.send(GET.format("/"))
    settled(lambda: made)
    client.reset()
    eventually(lambda: closed)


def test_a_stream_that_is_not_cancelled_ends_when_it_next_writes(serve: ServeFixture) -> None:
    ended: list[str] = []
    go = asyncio.Event()

    def patient(request: Request) -> StreamingResponse:
        async def pieces() -> AsyncIterator[bytes]:
            try:
                yield b"first"
                await go.wait()
                yield b"second"
                ended.append("went on")
            finally:
                ended.append("closed")

        return StreamingResponse(pieces())

    app = App({"/": patient}, route_limits={"/": RouteLimits(cancel_on_disconnect=False)})
    running = serve(app)
    with running.connect() as client:
        client.send(GET.format("/"))
        client.recv_head()
        client.recv_chunk()
    running.loop.call_soon_threadsafe(go.set)
    eventually(lambda: ended)
    eventually(lambda: running.server.connections == 0)
    assert "closed" in ended


def test_a_slow_reader_pauses_the_producer(serve: ServeFixture) -> None:
    made = 0
    pieces_wanted = 1024
    piece = bytes(range(256)) * 256

    def large(request: Request) -> StreamingResponse:
        async def pieces() -> AsyncIterator[bytes]:
            nonlocal made
            for _ in range(pieces_wanted):
                made += 1
                yield piece

        return StreamingResponse(pieces())

    running = serve(App({"/": large}))
    with running.connect(receive_buffer=4096) as client:
        client.send(GET.format("/"))
        client.recv_head()
        stopped = settled(lambda: made)
        assert stopped < pieces_wanted // 2, "64 MiB are not to be held in memory"
        total = hashlib.sha256()
        while chunk := client.recv_chunk():
            total.update(chunk)
    assert total.hexdigest() == hashlib.sha256(piece * pieces_wanted).hexdigest()


def test_a_large_body_in_one_piece_arrives_whole_at_a_slow_reader(serve: ServeFixture) -> None:
    body = bytes(range(256)) * (256 << 10)
    running = serve(App({"/": lambda r: body}))
    with running.connect(receive_buffer=8192) as client:
        client.send(GET.format("/"))
        assert hashlib.sha256(client.recv_response().body).digest() == hashlib.sha256(body).digest()


def test_others_are_served_while_a_producer_never_waits(serve: ServeFixture) -> None:
    stop = threading.Event()

    def busy(request: Request) -> StreamingResponse:
        async def pieces() -> AsyncIterator[bytes]:
            while not stop.is_set():
                yield b"x" * 1000

        return StreamingResponse(pieces())

    running = serve(App({"/": busy, "/other": lambda r: "other"}))
    with running.connect() as client:
        client.send(GET.format("/"))
        reader = threading.Thread(target=lambda: _discard(client.recv_until_close), daemon=True)
        reader.start()
        for _ in range(5):
            assert running.exchange(GET.format("/other")).body == b"other"
        stop.set()


def _discard(read: Callable[[], object]) -> None:
    with contextlib.suppress(OSError):
        read()


def test_body_and_answer_stream_at_the_same_time(serve: ServeFixture) -> None:
    def upper(request: Request) -> StreamingResponse:
        async def pieces() -> AsyncIterator[bytes]:
            yield b""
            async for chunk in request.stream:
                yield chunk.upper()

        return StreamingResponse(pieces())

    with serve(App({"/": upper})).connect() as client:
        client.send("POST / HTTP/1.1\r\nHost: x\r\nTransfer-Encoding: chunked\r\n\r\n")
        client.recv_head()
        for word in ("one", "three"):
            client.send(f"{len(word):x}\r\n{word}\r\n")
            assert client.recv_chunk() == word.upper().encode()
        client.send("0\r\n\r\n")
        assert client.recv_chunk() == b""
        client.send(GET.format("/none"))
        assert client.recv_response().status == 404


@pytest.mark.parametrize("read", [False, True], ids=["unread", "read by the stream"])
def test_a_stream_says_close_only_where_the_connection_ends(
    serve: ServeFixture, read: bool
) -> None:
    """Whether it ends is decided when the first piece is there: until then the stream may have read
    the rest of the request."""

    async def answer(request: Request) -> StreamingResponse:
        async def pieces() -> AsyncIterator[bytes]:
            if read:
                yield b"%d" % len(await request.body())
            yield b"done"

        return StreamingResponse(pieces())

    running = serve(App({"/": answer}))
    with running.connect() as client:
        head = b"POST / HTTP/1.1\r\nHost: x\r\nContent-Length: 3000000\r\n\r\n"
        client.send(head + b"b" * 100_000)
        sent = threading.Thread(target=client.sock.sendall, args=(b"b" * 2_900_000,), daemon=True)
        if read:
            sent.start()
        response = client.recv_response()
        assert response.body == (b"3000000done" if read else b"done")
        assert ("connection" in response.headers) is not read
        if read:
            client.send(b"GET / HTTP/1.1\r\nHost: x\r\n\r\n")
            assert client.recv_response().body == b"0done"

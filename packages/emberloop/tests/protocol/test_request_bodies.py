"""Request bodies over sockets: limits, streaming, 100-continue, what is left unread (E26, E29,
E41)."""

from __future__ import annotations

import asyncio
import hashlib
import threading
import time

import psutil
from ember.exceptions import ClientDisconnected, PayloadTooLarge
from ember.limits import RouteLimits, ServerLimits
from ember.request import Request
from ember.response import Response

from tests.support.app import App
from tests.support.server import ServeFixture
from tests.support.waiting import eventually, settled, tries

CHUNKED = "POST {} HTTP/1.1\r\nHost: x\r\nTransfer-Encoding: chunked\r\n\r\n"
SIZED = "POST {} HTTP/1.1\r\nHost: x\r\nContent-Length: {}\r\n\r\n"
EXPECTING = "POST / HTTP/1.1\r\nHost: x\r\nExpect: 100-continue\r\nContent-Length: {}\r\n\r\n"


async def echo(request: Request) -> bytes:
    return await request.body()


async def unauthorized(request: Request) -> Response:
    return Response("no", 401)


async def digest(request: Request) -> str:
    total = hashlib.sha256()
    async for chunk in request.stream:
        total.update(chunk)
    return total.hexdigest()


def test_over_the_limit_by_length_is_413_before_the_body_is_sent(serve: ServeFixture) -> None:
    app = App({"/": echo}, route_limits={"/": RouteLimits(max_body_size=10)})
    with serve(app).connect() as client:
        client.send(SIZED.format("/", 10) + "x" * 10)
        assert client.recv_response().body == b"x" * 10
        client.send(SIZED.format("/", 11))
        answer = client.recv_response()
        assert (answer.status, answer.header("connection")) == (413, "close")
        assert client.recv_until_close() == b""
    assert not app.errors, "the application is not asked"


def test_over_the_limit_by_chunks_is_413_and_flat(serve: ServeFixture) -> None:
    app = App({"/": echo}, route_limits={"/": RouteLimits(max_body_size=10)})
    running = serve(app)
    process = psutil.Process()
    before = process.memory_info().rss
    piece = b"10000\r\n" + b"x" * 65536 + b"\r\n"
    sent = 0
    with running.connect() as client:
        client.send(CHUNKED.format("/"))

        def upload() -> None:
            nonlocal sent
            try:
                for _ in range(180 * 16):
                    client.send(piece)
                    sent += 65536
            except OSError:
                pass  # the server has heard enough

        uploader = threading.Thread(target=upload, daemon=True)
        uploader.start()
        answer = client.recv_response()
        assert (answer.status, answer.header("connection")) == (413, "close")
        uploader.join(10)
        assert not uploader.is_alive()
    assert isinstance(app.errors[0], PayloadTooLarge)
    assert process.memory_info().rss - before < 20 << 20


def test_the_default_limit_is_four_mebibytes(serve: ServeFixture) -> None:
    running = serve(App({"/": echo}))
    most = 4 << 20
    assert len(running.request("POST", "/", b"x" * most).body) == most
    assert running.exchange(SIZED.format("/", most + 1)).status == 413


def test_an_answer_that_is_there_at_once_counts_before_the_limit(serve: ServeFixture) -> None:
    """The application has decided without the body: its 401 says more than our 413."""
    app = App({"/": lambda r: Response("no", 401)}, route_limits={"/": RouteLimits(10)})
    with serve(app).connect() as client:
        client.send(SIZED.format("/", 1_000_000))
        answer = client.recv_response()
        assert (answer.status, answer.header("connection")) == (401, "close")


def test_the_first_chunk_is_seen_before_the_second_is_sent(serve: ServeFixture) -> None:
    chunks: list[bytes] = []

    async def collect(request: Request) -> str:
        async for chunk in request.stream:
            chunks.append(chunk)  # noqa: PERF401 - watched while it grows
        return "done"

    with serve(App({"/": collect})).connect() as client:
        client.send(CHUNKED.format("/") + "3\r\nabc\r\n")
        eventually(lambda: chunks == [b"abc"])
        client.send("3\r\ndef\r\n")
        eventually(lambda: chunks == [b"abc", b"def"])
        client.send("0\r\n\r\n")
        assert client.recv_response().body == b"done"


def test_a_slow_handler_stops_the_client(serve: ServeFixture) -> None:
    read = asyncio.Event()
    got = 0

    async def slow(request: Request) -> str:
        nonlocal got
        await read.wait()
        async for chunk in request.stream:
            got += len(chunk)
        return str(got)

    total = 64 << 20
    running = serve(App({"/": slow}, route_limits={"/": RouteLimits(max_body_size=total)}))
    sent = 0
    with running.connect() as client:
        piece = b"x" * 65536

        def upload() -> None:
            nonlocal sent
            client.send(SIZED.format("/", total))
            while sent < total:
                client.send(piece)
                sent += len(piece)

        uploader = threading.Thread(target=upload, daemon=True)
        uploader.start()
        assert settled(lambda: sent) < total // 2
        assert got == 0
        running.loop.call_soon_threadsafe(read.set)
        assert client.recv_response().body == str(total).encode()
        uploader.join(10)


def test_a_large_chunked_upload_arrives_whole(serve: ServeFixture) -> None:
    size = 64 << 20
    app = App({"/": digest}, route_limits={"/": RouteLimits(max_body_size=size)})
    piece = bytes(range(256)) * 1024
    expected = hashlib.sha256(piece * (size // len(piece))).hexdigest()
    with serve(app).connect() as client:

        def upload() -> None:
            client.send(CHUNKED.format("/"))
            for _ in range(size // len(piece)):
                client.send(b"%x\r\n%b\r\n" % (len(piece), piece))
            client.send("0\r\n\r\n")

        uploader = threading.Thread(target=upload, daemon=True)
        uploader.start()
        assert client.recv_response().body.decode() == expected
        uploader.join(10)


def test_continue_is_sent_only_when_the_body_is_awaited(serve: ServeFixture) -> None:
    asked = asyncio.Event()

    async def later(request: Request) -> bytes:
        await asked.wait()
        return await request.body()

    running = serve(App({"/": later}))
    with running.connect() as client:
        client.send(
            "POST / HTTP/1.1\r\nHost: x\r\nExpect: 100-continue\r\nContent-Length: 3\r\n\r\n"
        )
        client.sock.settimeout(0.1)
        try:
            early = client.sock.recv(1)
        except TimeoutError:
            early = b""
        assert early == b""
        client.sock.settimeout(10)
        running.loop.call_soon_threadsafe(asked.set)
        assert client.recv_response().status == 100
        client.send("abc")
        answer = client.recv_response()
        assert (answer.status, answer.body) == (200, b"abc")
        client.send(SIZED.format("/", 1) + "x")
        assert client.recv_response().body == b"x"


def test_a_body_that_has_come_needs_no_continue(serve: ServeFixture) -> None:
    with serve(App({"/": echo})).connect() as client:
        client.send(
            "POST / HTTP/1.1\r\nHost: x\r\nExpect: 100-continue\r\nContent-Length: 3\r\n\r\nabc"
        )
        answer = client.recv_response()
        assert (answer.status, answer.body) == (200, b"abc")


def test_a_large_upload_to_a_401_gets_its_401_without_the_body(serve: ServeFixture) -> None:
    with serve(App({"/": unauthorized})).connect() as client:
        client.send(EXPECTING.format(1_000_000))
        answer = client.recv_response()
        assert (answer.status, answer.header("connection")) == (401, "close")
        assert client.recv_until_close() == b""


def test_an_answer_to_an_unread_upload_is_not_lost_to_a_reset(serve: ServeFixture) -> None:
    """The client sends everything before it reads, as many do."""
    answer = serve(App({"/": unauthorized})).request("POST", "/", b"x" * 3_000_000)
    assert (answer.status, answer.body) == (401, b"no")


def test_an_unread_small_body_is_dropped_and_the_connection_goes_on(serve: ServeFixture) -> None:
    with serve(App({"/": unauthorized})).connect() as client:
        for size in (1, 65536):
            client.send(
                SIZED.format("/", size) + "x" * size + CHUNKED.format("/") + "1\r\nx\r\n0\r\n\r\n"
            )
            assert client.recv_response().header("connection") is None
            assert client.recv_response().header("connection") is None


def test_an_unread_chunked_body_is_dropped_up_to_a_bound(serve: ServeFixture) -> None:
    with serve(App({"/": unauthorized})).connect() as client:
        client.send(CHUNKED.format("/"))
        assert client.recv_response().status == 401
        client.send(b"10000\r\n" + b"x" * 65536 + b"\r\n")
        client.send("1\r\nx\r\n0\r\n\r\n")
        assert client.recv_until_close() == b""


def test_the_body_can_be_asked_for_again(serve: ServeFixture) -> None:
    async def twice(request: Request) -> bytes:
        first = await request.body()
        streamed = b"".join([chunk async for chunk in request.stream])
        return first + await request.body() + streamed

    answer = serve(App({"/": twice})).request("POST", "/", b"ab")
    assert answer.body == b"ababab"


def test_a_reader_learns_that_the_client_left(serve: ServeFixture) -> None:
    errors: list[BaseException] = []

    async def read(request: Request) -> bytes:
        try:
            return await request.body()
        except BaseException as error:
            errors.append(error)
            raise

    app = App({"/": read}, route_limits={"/": RouteLimits(cancel_on_disconnect=False)})
    running = serve(app)
    with running.connect() as client:
        client.send(SIZED.format("/", 10) + "abc")
        eventually(lambda: running.server.requests == 1)
    eventually(lambda: errors)
    assert isinstance(errors[0], ClientDisconnected)
    eventually(lambda: running.server.connections == 0)


def test_a_broken_chunk_in_the_middle_is_400_and_cancels_the_handler(serve: ServeFixture) -> None:
    began: list[str] = []
    ended: list[str] = []

    async def read(request: Request) -> bytes:
        began.append("began")
        try:
            return await request.body()
        finally:
            ended.append("ended")

    app = App({"/": read})
    with serve(app).connect() as client:
        client.send(CHUNKED.format("/") + "3\r\nabc\r\n")
        eventually(lambda: began)
        client.send("zz\r\n")
        answer = client.recv_response()
        assert (answer.status, answer.header("connection")) == (400, "close")
        assert client.recv_until_close() == b""
    eventually(lambda: ended)
    assert not app.errors


def test_a_slow_body_is_408(serve: ServeFixture) -> None:
    with serve(App({"/": echo}, limits=ServerLimits(body_timeout=0.2))).connect() as client:
        client.send(SIZED.format("/", 10) + "abc")
        answer = client.recv_response()
        assert (answer.status, answer.header("connection")) == (408, "close")
        assert client.recv_until_close() == b""


def test_the_body_deadline_counts_from_piece_to_piece(serve: ServeFixture) -> None:
    running = serve(App({"/": echo}, limits=ServerLimits(body_timeout=0.4)))
    gap = threading.Event()
    for bound in tries():
        with running.connect() as client:
            client.send(SIZED.format("/", 8))
            sent, longest = time.monotonic(), 0.0
            for _ in range(8):
                assert not gap.wait(0.1)
                last, sent = sent, time.monotonic()
                client.send("x")
                longest = max(longest, time.monotonic() - last)
            bound(longest, 0.4, "this client's longest pause")
            answer = client.recv_response()
            assert answer.body == b"x" * 8 or longest > 0.4


def test_a_handler_that_does_not_read_is_not_late(serve: ServeFixture) -> None:
    """The deadline is the client's; while nobody reads, the client cannot be slow."""

    async def slow(request: Request) -> str:
        await asyncio.sleep(0.5)
        return str(len(await request.body()))

    size = 300_000
    running = serve(App({"/": slow}, limits=ServerLimits(body_timeout=0.2)))
    for bound in tries():
        start = time.monotonic()
        answer = running.request("POST", "/", b"x" * size)
        took = time.monotonic() - start
        # Longer than the handler sleeps and the client may take: the client was late then.
        bound(took, 0.7)
        assert answer.body == str(size).encode() or took > 0.7

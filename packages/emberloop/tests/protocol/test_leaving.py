"""Clients that leave, and clients that have only said all: told apart whatever is paused."""

from __future__ import annotations

import asyncio
import socket
import ssl
from collections.abc import AsyncIterator, Callable
from pathlib import Path
from typing import Any

import pytest
from ember.limits import RouteLimits, ServerLimits
from ember.protocol.server.tls import ServerTLS
from ember.request import Request
from ember.response import StreamingResponse

from tests.support.app import App
from tests.support.server import Running, ServeFixture
from tests.support.tls import Authority
from tests.support.waiting import eventually, tries

GET = b"GET / HTTP/1.1\r\nHost: x\r\n\r\n"
CONTINUE = b"HTTP/1.1 100 Continue\r\n\r\n"
#: What the client has sent when it leaves: nothing more, and what keeps the server from reading on.
#: It is no more than the kernel takes: a FIN behind a closed window is not sent.
SENT = {
    "a request": GET,
    "a full buffer of pipelined requests": GET + GET + b"G" * 100_000,
    "a body that is not read": b"POST / HTTP/1.1\r\nHost: x\r\nContent-Length: 4000000\r\n\r\n"
    + b"b" * 100_000,
}


@pytest.fixture(params=["", "uvloop", "asyncio"])
def everywhere(request: pytest.FixtureRequest, monkeypatch: pytest.MonkeyPatch) -> None:
    """The loop of this run, and those of others."""
    if request.param == "uvloop":
        pytest.importorskip("uvloop")
    if request.param:
        monkeypatch.setenv("EMBER_LOOP", request.param)


@pytest.fixture(scope="module")
def authority(tmp_path_factory: pytest.TempPathFactory) -> Authority:
    return Authority(tmp_path_factory.mktemp("certificates"))


class Waiting:
    """Handlers that wait until `release` is called, or their client leaves."""

    def __init__(self, **limits: Any) -> None:
        self.waiting = 0
        self.cancelled = 0
        self.released: asyncio.Event | None = None
        self.app = App({"/": self.wait, "/at-once": self.at_once, "/stream": self.stream})
        if limits:
            self.app.route_limits["/"] = RouteLimits(**limits)
        self.told: list[bool] = []

    async def wait(self, request: Request) -> str:
        if self.released is None:
            self.released = asyncio.Event()
        self.waiting += 1
        try:
            await self.released.wait()
        except asyncio.CancelledError:
            self.cancelled += 1
            raise
        finally:
            self.waiting -= 1
            self.told.append(await request.is_disconnected())
        return "released"

    async def at_once(self, request: Request) -> str:
        return "at once"

    async def stream(self, request: Request) -> StreamingResponse:
        async def pieces() -> AsyncIterator[bytes]:
            yield b"first"
            try:
                await self.wait(request)
            finally:
                pass
            yield b"last"

        return StreamingResponse(pieces())

    def release(self, running: Running) -> None:
        def now() -> None:
            assert self.released is not None
            self.released.set()

        running.loop.call_soon_threadsafe(now)


def open_tls(running: Running, authority: Authority) -> ssl.SSLSocket:
    context = authority.client()
    sock = socket.create_connection(("127.0.0.1", running.port), 10)
    return context.wrap_socket(sock, server_hostname="localhost")


def fill(sock: socket.socket, data: bytes) -> None:
    """Send what the server takes of `data`: it may have stopped to read."""
    sock.settimeout(0.2)
    try:
        while data:
            data = data[sock.send(data) :]
    except TimeoutError:
        pass
    sock.settimeout(10)


@pytest.mark.usefixtures("everywhere")
@pytest.mark.parametrize("how", ["FIN", "RST"])
@pytest.mark.parametrize("sent", list(SENT))
def test_a_client_that_leaves_is_noticed_whatever_is_paused(
    serve: ServeFixture, sent: str, how: str
) -> None:
    waiting = Waiting()
    running = serve(waiting.app)
    clients = [running.connect() for _ in range(5)]
    for client in clients:
        fill(client.sock, SENT[sent])
    eventually(lambda: waiting.waiting == 5)
    for client in clients:
        client.reset() if how == "RST" else client.close()
    eventually(lambda: waiting.cancelled == 5)
    eventually(lambda: running.server.connections == 0)
    eventually(lambda: waiting.told == [True] * 5)


@pytest.mark.usefixtures("everywhere")
@pytest.mark.parametrize("how", ["FIN", "RST"])
@pytest.mark.parametrize("sent", list(SENT))
def test_a_client_that_leaves_is_noticed_over_tls(
    serve: ServeFixture, authority: Authority, sent: str, how: str
) -> None:
    waiting = Waiting()
    running = serve(waiting.app, ssl=ServerTLS(*authority.pair("localhost")))
    client = open_tls(running, authority)
    fill(client, SENT[sent])
    eventually(lambda: waiting.waiting == 1)
    if how == "RST":
        client.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, b"\1\0\0\0\0\0\0\0")
    client.close()
    eventually(lambda: waiting.cancelled == 1)
    eventually(lambda: running.server.connections == 0)


@pytest.mark.parametrize("sent", list(SENT))
def test_a_client_that_leaves_is_noticed_on_a_unix_socket(
    serve: ServeFixture, tmp_path: Path, sent: str
) -> None:
    waiting = Waiting()
    running = serve(waiting.app, uds=str(tmp_path / "socket"))
    client = running.connect()
    fill(client.sock, SENT[sent])
    eventually(lambda: waiting.waiting == 1)
    client.close()
    eventually(lambda: waiting.cancelled == 1)
    eventually(lambda: running.server.connections == 0)


@pytest.mark.usefixtures("everywhere")
def test_a_client_that_has_said_all_gets_its_answer(serve: ServeFixture) -> None:
    waiting = Waiting()
    running = serve(waiting.app)
    with running.connect() as client:
        client.send(GET)
        client.finish()
        assert client.recv_exactly(len(CONTINUE)) == CONTINUE  # it is asked whether it is there
        waiting.release(running)
        answer = client.recv_response()
        assert (answer.status, answer.body) == (200, b"released")
        assert client.recv_until_close() == b""
    assert waiting.told == [False]


@pytest.mark.usefixtures("everywhere")
def test_a_client_that_has_said_all_is_asked_once(serve: ServeFixture) -> None:
    waiting = Waiting()
    running = serve(waiting.app)
    with running.connect() as client:
        client.send(GET + GET)
        client.finish()
        assert client.recv_exactly(len(CONTINUE)) == CONTINUE
        waiting.release(running)
        rest = client.recv_until_close()
    assert rest.count(b"200 OK") == 2
    assert CONTINUE not in rest


def test_the_answers_before_a_half_close_all_come_and_the_stream_too(serve: ServeFixture) -> None:
    """The stream begins after the end of the client: nobody has counted it as gone."""
    waiting = Waiting()

    async def late(request: Request) -> StreamingResponse:
        await asyncio.sleep(0.02)

        async def pieces() -> AsyncIterator[bytes]:
            for _ in range(5):
                await asyncio.sleep(0.03)
                yield b"piece"

        return StreamingResponse(pieces())

    waiting.app.routes["/late"] = late
    running = serve(waiting.app)
    with running.connect() as client:
        client.send(GET.replace(b"/ ", b"/at-once ", 1) * 300 + GET.replace(b"/ ", b"/late ", 1))
        client.finish()
        data = client.recv_until_close()
    assert data.count(b"at once") == 300
    assert data.count(b"piece") == 5
    assert data.endswith(b"0\r\n\r\n")


@pytest.mark.usefixtures("everywhere")
def test_a_half_close_while_reading_is_paused_is_no_leaving(serve: ServeFixture) -> None:
    """The body lies in the kernel, whole, with the FIN behind it; the handler is slow to read."""
    body = b"b" * 120_000
    go = asyncio.Event()
    begun: list[bool] = []

    async def slow(request: Request) -> str:
        begun.append(True)
        await go.wait()
        return str(len(await request.body()))

    running = serve(App({"/": slow}))
    with running.connect() as client:
        client.send(b"POST / HTTP/1.1\r\nHost: x\r\nContent-Length: %d\r\n\r\n" % len(body) + body)
        client.finish()
        assert client.recv_exactly(len(CONTINUE)) == CONTINUE
        running.loop.call_soon_threadsafe(go.set)
        assert client.recv_response().body == b"120000"
        assert client.recv_until_close() == b""


@pytest.mark.usefixtures("everywhere")
def test_in_http_1_0_the_end_of_the_client_is_its_leaving(serve: ServeFixture) -> None:
    waiting = Waiting()
    running = serve(waiting.app)
    with running.connect() as client:
        client.send(b"GET / HTTP/1.0\r\n\r\n")
        client.finish()
        assert client.recv_until_close() == b""
    eventually(lambda: waiting.told == [True])
    assert waiting.cancelled == 1


@pytest.mark.usefixtures("everywhere")
def test_a_stream_whose_client_ends_is_left_at_once(serve: ServeFixture) -> None:
    waiting = Waiting()
    running = serve(waiting.app)
    for bound in tries():
        waiting.cancelled = 0
        with running.connect() as client:
            client.send(GET.replace(b"/ ", b"/stream ", 1))
            client.recv_until(b"first")
            client.finish()
            took = seconds(lambda: waiting.cancelled == 1)
        bound(took, 0.1, "leaving the stream")


@pytest.mark.usefixtures("everywhere")
def test_a_route_that_goes_on_is_told_and_not_cancelled(serve: ServeFixture) -> None:
    waiting = Waiting(cancel_on_disconnect=False)
    running = serve(waiting.app)
    with running.connect() as client:
        client.send(GET)
        eventually(lambda: waiting.waiting == 1)
    eventually(lambda: running.server.connections == 0)
    waiting.release(running)
    eventually(lambda: waiting.told == [True])
    assert waiting.cancelled == 0


@pytest.mark.usefixtures("everywhere")
def test_a_body_that_ends_too_early_ends_its_handler(serve: ServeFixture) -> None:
    waiting = Waiting()
    running = serve(waiting.app)
    with running.connect() as client:
        client.send(b"POST / HTTP/1.1\r\nHost: x\r\nContent-Length: 10\r\n\r\nhalf")
        eventually(lambda: waiting.waiting == 1)
        client.finish()
        eventually(lambda: waiting.cancelled == 1)
        assert client.recv_until_close() == b""


@pytest.mark.usefixtures("everywhere")
def test_a_half_closed_tls_client_gets_its_answer(
    serve: ServeFixture, authority: Authority
) -> None:
    """A close_notify is the FIN of TLS (RFC 8446 section 6.1)."""
    waiting = Waiting()
    running = serve(waiting.app, ssl=ServerTLS(*authority.pair("localhost")))
    incoming, outgoing = ssl.MemoryBIO(), ssl.MemoryBIO()
    tls = authority.client().wrap_bio(incoming, outgoing, server_hostname="localhost")
    with running.connect() as client:

        def until(step: Callable[[], Any]) -> Any:
            while True:
                try:
                    return step()
                except ssl.SSLWantReadError:
                    if outgoing.pending:
                        client.send(outgoing.read())
                    incoming.write(client.sock.recv(65536))

        until(tls.do_handshake)
        tls.write(GET)
        with pytest.raises(ssl.SSLWantReadError):
            tls.unwrap()  # says goodbye, and would wait for the other one
        client.send(outgoing.read())
        eventually(lambda: waiting.waiting == 1)
        # The standard library reads no more after its own goodbye: what comes is sealed, and long
        # enough to be the probe, the answer and the server's goodbye.
        assert len(client.sock.recv(65536)) > len(CONTINUE)
        waiting.release(running)
        assert len(client.recv_until_close()) > 100
    assert waiting.told == [False]


def test_a_limit_of_pipelined_bytes_holds_while_the_peer_is_watched(serve: ServeFixture) -> None:
    waiting = Waiting()
    waiting.app.limits = ServerLimits(max_pipelined=1000)
    running = serve(waiting.app)
    with running.connect() as client:
        client.send(GET + GET.replace(b"/ ", b"/at-once ", 1) * 200)
        eventually(lambda: waiting.waiting == 1)
        waiting.release(running)
        for _ in range(201):
            assert client.recv_response().status == 200


def seconds(predicate: Callable[[], object]) -> float:
    """How long until `predicate()` is true."""
    import time

    start = time.monotonic()
    eventually(predicate)
    return time.monotonic() - start

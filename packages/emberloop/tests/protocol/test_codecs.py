"""Another protocol on a connection: after an Upgrade, and where the handshake of TLS has chosen
it."""

from __future__ import annotations

import asyncio
import socket
import ssl
from collections.abc import Callable

import pytest
from ember.limits import ServerLimits
from ember.protocol import MemoryConnection
from ember.protocol.server.codec import Output, Upgrade
from ember.protocol.server.tls import ServerTLS
from ember.request import Request
from ember.response import Response

from tests.support.app import App
from tests.support.server import Client, Running, ServeFixture
from tests.support.tls import Authority, connect
from tests.support.waiting import eventually

UPGRADE = b"GET /echo HTTP/1.1\r\nHost: x\r\nUpgrade: echo\r\nConnection: upgrade\r\n\r\n"
SWITCHED = b"HTTP/1.1 101 Switching Protocols\r\n"


class Echo:
    """Sends back what it gets, and tells what it was told."""

    def __init__(self, output: Output) -> None:
        self.output = output
        self.told: list[str] = []
        made.append(self)

    def data_received(self, data: bytes) -> None:
        if data == b"fail":
            raise ZeroDivisionError
        self.output.write(data)

    def eof_received(self) -> None:
        self.told.append("eof")
        self.output.write(b"bye")
        self.output.close()

    def connection_lost(self) -> None:
        self.told.append("lost")

    def pause_writing(self) -> None:
        self.told.append("pause")
        self.output.pause_reading()

    def resume_writing(self) -> None:
        self.told.append("resume")
        self.output.resume_reading()

    def timed_out(self) -> None:
        self.output.write(b"late")
        self.output.close()

    def drain(self) -> None:
        self.output.write(b"going")
        self.output.close()


#: The codecs of the test that runs.
made: list[Echo] = []


@pytest.fixture(autouse=True)
def _forget() -> None:
    made.clear()


def echo(request: Request) -> Response:
    return Upgrade("echo", Echo, {"X-Chosen": "echo"})


async def echo_later(request: Request) -> Response:
    await asyncio.sleep(0.01)
    return Upgrade("echo", Echo)


def hello(request: Request) -> str:
    return "hello"


def app(limits: ServerLimits | None = None) -> App:
    return App({"/echo": echo, "/later": echo_later, "/": hello}, limits=limits)


@pytest.fixture(scope="module")
def authority(tmp_path_factory: pytest.TempPathFactory) -> Authority:
    return Authority(tmp_path_factory.mktemp("certificates"))


@pytest.fixture(params=["", "uvloop", "asyncio"])
def everywhere(request: pytest.FixtureRequest, monkeypatch: pytest.MonkeyPatch) -> None:
    if request.param == "uvloop":
        pytest.importorskip("uvloop")
    if request.param:
        monkeypatch.setenv("EMBER_LOOP", request.param)


@pytest.fixture(params=["clear", "tls"])
def open_client(
    request: pytest.FixtureRequest, serve: ServeFixture, authority: Authority, everywhere: None
) -> Callable[[App], tuple[Running, Callable[[], Client]]]:
    """Serves, in clear text or under TLS; a function that connects."""

    def opened(application: App) -> tuple[Running, Callable[[], Client]]:
        if request.param == "clear":
            running = serve(application)
            return running, running.connect
        running = serve(application, ssl=ServerTLS(*authority.pair("localhost")))
        return running, lambda: connect(running, authority.client())

    return opened


Opened = Callable[[App], tuple[Running, Callable[[], Client]]]


def test_what_follows_an_upgrade_is_for_the_codec(open_client: Opened) -> None:
    _, client = open_client(app())
    with client() as peer:
        peer.send(b"GET / HTTP/1.1\r\nHost: x\r\n\r\n" + UPGRADE + b"GET / HTTP/1.1\r\n")
        assert peer.recv_response().body == b"hello"
        head = peer.recv_until(b"\r\n\r\n")
        assert head.startswith(SWITCHED)
        fields = head.lower().split(b"\r\n")
        assert b"upgrade: echo" in fields
        assert b"connection: upgrade" in fields
        assert b"x-chosen: echo" in fields
        assert not any(field.startswith(b"content-length") for field in fields)
        assert peer.recv_exactly(16) == b"GET / HTTP/1.1\r\n"
        for size in (1, 2, 70_000):
            peer.send(b"x" * size)
            assert peer.recv_exactly(size) == b"x" * size
        assert made[0].output.client is not None
        assert made[0].output.tls is (
            None if made[0].output.scheme == "http" else made[0].output.tls
        )


def test_bytes_one_by_one(serve: ServeFixture) -> None:
    with serve(app()).connect() as peer:
        peer.sock.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
        for byte in UPGRADE + b"unread":
            peer.send(bytes([byte]))
        assert peer.recv_until(b"\r\n\r\n").startswith(SWITCHED)
        assert peer.recv_exactly(6) == b"unread"


def test_an_upgrade_after_a_wait(open_client: Opened) -> None:
    _, client = open_client(app())
    with client() as peer:
        peer.send(UPGRADE.replace(b"/echo", b"/later") + b"early")
        assert peer.recv_until(b"\r\n\r\n").startswith(SWITCHED)
        assert peer.recv_exactly(5) == b"early"
        peer.send(b"more")
        assert peer.recv_exactly(4) == b"more"


def test_the_end_of_the_peer_is_for_the_codec(serve: ServeFixture) -> None:
    with serve(app()).connect() as peer:
        peer.send(UPGRADE + b"last")
        peer.finish()
        peer.recv_until(b"\r\n\r\n")
        assert peer.recv_until_close() == b"lastbye"
        eventually(lambda: made[0].told == ["eof", "lost"])


def test_what_a_codec_raises_resets_the_connection(serve: ServeFixture) -> None:
    with serve(app()).connect() as peer:
        peer.send(UPGRADE)
        peer.recv_until(b"\r\n\r\n")
        peer.send(b"fail")
        with pytest.raises(ConnectionResetError):
            peer.recv_until_close()
        eventually(lambda: made[0].told == ["lost"])


def test_what_the_making_of_a_codec_raises_resets_the_connection(serve: ServeFixture) -> None:
    def broken(output: Output) -> Echo:
        raise ZeroDivisionError

    application = App({"/echo": lambda request: Upgrade("echo", broken)})
    with serve(application).connect() as peer:
        peer.send(UPGRADE + b"unread")
        with pytest.raises(ConnectionResetError):
            peer.recv_until_close()


def test_a_slow_reader_is_told_to_the_codec_and_cut_off(serve: ServeFixture) -> None:
    limits = ServerLimits(write_timeout=0.3)
    running = serve(app(limits))
    with running.connect(receive_buffer=4096) as peer:
        peer.send(UPGRADE)
        peer.recv_until(b"\r\n\r\n")
        peer.sock.setblocking(False)
        block = b"x" * 65536

        def full() -> bool:
            try:
                peer.sock.send(block)
            except BlockingIOError:
                return made[0].told[:1] == ["pause"]
            except OSError:
                return "pause" in made[0].told
            return False

        eventually(full)
        eventually(lambda: made[0].told[-1] == "lost")


def test_a_deadline_of_the_codec(serve: ServeFixture) -> None:
    class Impatient(Echo):
        def __init__(self, output: Output) -> None:
            super().__init__(output)
            output.expect_within(0.05)

    application = App({"/echo": lambda request: Upgrade("echo", Impatient)})
    with serve(application).connect() as peer:
        peer.send(UPGRADE)
        peer.recv_until(b"\r\n\r\n")
        assert peer.recv_until_close() == b"late"


def test_no_deadline_of_http_holds(serve: ServeFixture) -> None:
    limits = ServerLimits(keep_alive_timeout=0.05, header_timeout=0.05, body_timeout=0.05)
    with serve(app(limits)).connect() as peer:
        peer.send(UPGRADE)
        peer.recv_until(b"\r\n\r\n")
        peer.sock.settimeout(0.5)
        with pytest.raises(TimeoutError):
            peer.sock.recv(1)
        peer.sock.settimeout(10)
        peer.send(b"still here")
        assert peer.recv_exactly(10) == b"still here"


def test_the_end_of_the_server_is_told_to_the_codec(open_client: Opened) -> None:
    running, client = open_client(app())
    with client() as peer:
        peer.send(UPGRADE)
        peer.recv_until(b"\r\n\r\n")
        closing = asyncio.run_coroutine_threadsafe(running.server.close(), running.loop)
        assert peer.recv_until_close() == b"going"
        peer.close()
        closing.result(10)


@pytest.mark.parametrize(
    "broken",
    [
        UPGRADE.replace(b"HTTP/1.1", b"HTTP/1.0"),
        UPGRADE.replace(b"\r\n\r\n", b"\r\nContent-Length: 1\r\n\r\nx"),
        UPGRADE.replace(b"\r\n\r\n", b"\r\nTransfer-Encoding: chunked\r\n\r\n0\r\n\r\n"),
    ],
    ids=["HTTP/1.0", "a body", "a chunked body"],
)
def test_requests_that_cannot_be_upgraded(broken: bytes, serve: ServeFixture) -> None:
    application = app()
    with serve(application).connect() as peer:
        peer.send(broken)
        assert peer.recv_response().status == 500
        assert isinstance(application.errors[0], ValueError)
        assert not made


def test_another_response_cannot_be_101(serve: ServeFixture) -> None:
    def wrong(request: Request) -> Response:
        response = Response(b"")
        response.status_code = 101
        return response

    with pytest.raises(ValueError, match="protocol"):
        Upgrade("no token", Echo)
    with serve(App({"/echo": wrong})).connect() as peer:
        peer.send(UPGRADE)
        assert peer.recv_response().status == 500


def test_tls_chooses_the_codec(everywhere: None, serve: ServeFixture, authority: Authority) -> None:
    certificates = ServerTLS(*authority.pair("localhost"))
    running = serve(app(), ssl=certificates, codecs={"echo/1": Echo})
    for offered, chosen in ((["echo/1", "http/1.1"], "echo/1"), (["http/1.1"], "http/1.1")):
        context = authority.client()
        context.set_alpn_protocols(offered)
        with connect(running, context) as peer:
            assert isinstance(peer.sock, ssl.SSLSocket)
            assert peer.sock.selected_alpn_protocol() == chosen
            peer.send(b"GET / HTTP/1.1\r\nHost: x\r\n\r\n")
            if chosen == "echo/1":
                assert peer.recv_exactly(27) == b"GET / HTTP/1.1\r\nHost: x\r\n\r\n"
            else:
                assert peer.recv_response().body == b"hello"
    assert len(made) == 1


def test_from_memory() -> None:
    connection = MemoryConnection(app())
    connection.feed(UPGRADE + b"behind")
    assert connection.take().endswith(b"\r\n\r\nbehind")
    connection.feed(b"more")
    assert connection.take() == b"more"
    connection.writable = False
    connection.writable = True
    assert made[0].told == ["pause", "resume"]
    connection.lost()
    assert made[0].told[-1] == "lost"


async def wait_for_the_deadline(connection: MemoryConnection) -> None:
    """Let the codec expect something that does not come."""
    connection.feed(b"x")  # with a loop that runs, deadlines hold
    made[0].output.expect_within(0.01)
    while not connection.closed:
        await asyncio.sleep(0.005)


@pytest.mark.parametrize(
    "name",
    [
        "data_received",
        "eof_received",
        "pause_writing",
        "resume_writing",
        "timed_out",
        "drain",
        "connection_lost",
    ],
)
def test_what_a_codec_raises_ends_its_connection_alone(
    name: str, caplog: pytest.LogCaptureFixture
) -> None:
    def failing(self: Echo, *data: bytes) -> None:
        raise ZeroDivisionError(name)

    made_of = type("Failing", (Echo,), {name: failing})
    connection = MemoryConnection(App({"/echo": lambda request: Upgrade("echo", made_of)}))
    connection.feed(UPGRADE)
    match name:
        case "data_received":
            connection.feed(b"x")
        case "eof_received":
            connection.eof()
        case "pause_writing":
            connection.writable = False
        case "resume_writing":
            connection.writable = False
            connection.writable = True
        case "timed_out":
            asyncio.run(asyncio.wait_for(wait_for_the_deadline(connection), 10))
        case "drain":
            connection._connection.drain_and_close()
        case _:
            connection.lost()
    assert connection.closed
    assert connection.aborted is (name != "connection_lost")
    assert made[0].told[-1:] == (["lost"] if name != "connection_lost" else [])
    (record,) = [r for r in caplog.records if r.name == "ember.protocol"]
    assert "the codec failed" in record.getMessage()


def test_a_codec_that_fails_to_drain_does_not_keep_the_server(serve: ServeFixture) -> None:
    def failing(self: Echo) -> None:
        raise ZeroDivisionError

    made_of = type("Failing", (Echo,), {"drain": failing})
    running = serve(App({"/echo": lambda request: Upgrade("echo", made_of), "/": hello}))
    with running.connect() as broken, running.connect() as idle:
        broken.send(UPGRADE)
        broken.recv_until(b"\r\n\r\n")
        idle.send(b"GET / HTTP/1.1\r\nHost: x\r\n\r\n")
        idle.recv_response()
        asyncio.run_coroutine_threadsafe(running.server.close(), running.loop).result(10)
        assert idle.recv_until_close() == b""
        with pytest.raises(ConnectionResetError):
            broken.recv_until_close()


def test_a_connection_that_is_ended_while_its_codec_is_made() -> None:
    class Closes(Echo):
        def __init__(self, output: Output) -> None:
            super().__init__(output)
            output.abort()

    connection = MemoryConnection(App({"/echo": lambda request: Upgrade("echo", Closes)}))
    connection.feed(UPGRADE + b"unread")
    assert connection.closed
    assert made[0].told == ["lost"]

"""Several exchanges at once on one connection: each has its own deadline, reader and body.

The codec of these tests has frames of a kind: (stream, kind, size) and that many bytes.
"""

from __future__ import annotations

import asyncio
import gc
import ssl
import struct
from collections.abc import AsyncIterator, Callable, Iterator

import pytest
from ember.limits import RouteLimits, ServerLimits
from ember.protocol import MemoryConnection
from ember.protocol.server.codec import Output, Upgrade
from ember.protocol.server.subconnection import SubConnection
from ember.protocol.server.tls import ServerTLS
from ember.request import Request
from ember.response import StreamingResponse

from tests.support.app import App
from tests.support.server import Client, Running, ServeFixture, new_event_loop
from tests.support.tls import Authority, connect
from tests.support.waiting import eventually

FRAME = struct.Struct("!BBI")
#: Kinds: bytes of a request or response, room for so many more bytes, the end of an exchange.
DATA, ROOM, END, BROKEN = range(4)


class Stream:
    """One exchange: its request comes in frames, its response leaves as far as there is room."""

    def __init__(self, frames: Frames, number: int) -> None:
        self.frames, self.number = frames, number
        self.room = 0
        self.waiting = bytearray()
        self.paused = False
        self.inside = SubConnection(frames.output, self)

    def sent(self, data: bytes) -> None:
        self.waiting += data
        self.send()

    def unsent(self) -> int:
        return len(self.waiting)

    def send(self) -> None:
        part = bytes(self.waiting[: self.room])
        if part:
            del self.waiting[: len(part)]
            self.room -= len(part)
            self.frames.frame(self.number, DATA, part)
        if bool(self.waiting) != self.paused:
            self.paused = bool(self.waiting)
            if self.paused:
                self.inside.pause_writing()
            else:
                self.inside.resume_writing()

    def pause_reading(self) -> None:
        self.frames.held.add(self.number)

    def resume_reading(self) -> None:
        self.frames.held.discard(self.number)

    def closed(self, aborted: bool) -> None:
        if self.frames.streams.pop(self.number, None) is not None:
            self.frames.frame(self.number, BROKEN if aborted else END, b"")


class Frames:
    """The codec: frames to streams, and back."""

    def __init__(self, output: Output) -> None:
        self.output = output
        self.buffer = bytearray()
        self.streams: dict[int, Stream] = {}
        self.held: set[int] = set()
        made.append(self)

    def frame(self, number: int, kind: int, data: bytes) -> None:
        if not self.output.closing:
            self.output.write(FRAME.pack(number, kind, len(data)) + data)

    def data_received(self, data: bytes) -> None:
        self.buffer += data
        while len(self.buffer) >= FRAME.size:
            number, kind, size = FRAME.unpack_from(self.buffer)
            if len(self.buffer) < FRAME.size + size:
                return
            part = bytes(self.buffer[FRAME.size : FRAME.size + size])
            del self.buffer[: FRAME.size + size]
            stream = self.streams.get(number)
            if stream is None:
                stream = self.streams[number] = Stream(self, number)
            if kind == DATA:
                stream.inside.feed(part)
            elif kind == ROOM:
                stream.room += int.from_bytes(part)
                stream.send()
            else:
                self.streams.pop(number)
                stream.inside.lost()

    def eof_received(self) -> None:
        self.output.close()

    def connection_lost(self) -> None:
        for stream in tuple(self.streams.values()):
            stream.inside.lost()

    def pause_writing(self) -> None:
        pass

    def resume_writing(self) -> None:
        pass

    def timed_out(self) -> None:
        self.output.close()

    def drain(self) -> None:
        self.output.close()


made: list[Frames] = []


class Peer:
    """A client that speaks the same."""

    def __init__(self, client: Client, running: Running) -> None:
        self.client, self.running = client, running
        self.secure = isinstance(client.sock, ssl.SSLSocket)
        self.got: dict[int, bytearray] = {}
        self.over: dict[int, int] = {}

    def frame(self, number: int, kind: int, data: bytes) -> None:
        self.client.send(FRAME.pack(number, kind, len(data)) + data)

    def ask(self, number: int, path: str, room: int = 1 << 20, body: bytes | None = None) -> None:
        """Begin an exchange; `body` announces a chunked one."""
        self.give_room(number, room)
        framing = "" if body is None else "Transfer-Encoding: chunked\r\n"
        method = "GET" if body is None else "POST"
        self.frame(number, DATA, f"{method} {path} HTTP/1.1\r\nHost: x\r\n{framing}\r\n".encode())
        if body is not None:
            self.frame(number, DATA, body)

    def give_room(self, number: int, size: int) -> None:
        if size:
            self.frame(number, ROOM, size.to_bytes(4))

    def read(self) -> int:
        """One frame; the number of its stream."""
        number, kind, size = FRAME.unpack(self.client.recv_exactly(FRAME.size))
        self.got.setdefault(number, bytearray()).extend(self.client.recv_exactly(size))
        if kind in (END, BROKEN):
            self.over[number] = kind
        return int(number)

    def response(self, number: int) -> tuple[int, bytes]:
        """Status and body of an exchange, once it is over."""
        while number not in self.over:
            self.read()
        assert self.over[number] == END
        body = b""
        status = 0
        data = bytes(self.got[number])
        head, _, rest = data.partition(b"\r\n\r\n")
        status = int(head.split()[1])
        assert b"connection: close" in head.lower()
        if b"transfer-encoding: chunked" in head.lower():
            while rest:
                size, _, rest = rest.partition(b"\r\n")
                body += rest[: int(size, 16)]
                rest = rest[int(size, 16) + 2 :]
        else:
            body = rest
        return status, body


class World:
    """What the handlers of one test see and do."""

    def __init__(self) -> None:
        self.go_on: asyncio.Event | None = None
        self.made = self.started = 0
        self.cancelled: list[str] = []
        self.sizes: list[int] = []
        self.app = App(
            {
                "/quick": lambda request: "quick",
                "/waits": self.waits,
                "/slow": self.slow,
                "/late": self.slow,
                "/stuck": self.slow,
                "/many": self.many,
                "/upload": self.upload,
                "/frames": lambda request: Upgrade("frames", Frames),
            },
            limits=ServerLimits(write_timeout=0.4),
            route_limits={"/late": RouteLimits(timeout=0.05)},
        )

    async def waits(self, request: Request) -> str:
        self.go_on = asyncio.Event()
        await self.go_on.wait()
        return "waited"

    async def slow(self, request: Request) -> str:
        self.started += 1
        try:
            await asyncio.sleep(0.3 if request.path == "/slow" else 60)
        except asyncio.CancelledError:
            self.cancelled.append(request.path)
            raise
        return "slow"

    async def many(self, request: Request) -> StreamingResponse:
        async def pieces() -> AsyncIterator[bytes]:
            for _ in range(200):
                self.made += 1
                yield bytes(1000)

        return StreamingResponse(pieces())

    async def upload(self, request: Request) -> str:
        size = 0
        async for piece in request.stream:
            size += len(piece)
            self.sizes.append(size)
        return str(size)


@pytest.fixture(autouse=True)
def _forget() -> None:
    made.clear()


@pytest.fixture(scope="module")
def authority(tmp_path_factory: pytest.TempPathFactory) -> Authority:
    return Authority(tmp_path_factory.mktemp("certificates"))


@pytest.fixture
def world() -> World:
    return World()


@pytest.fixture(params=["clear", "tls", "tls on uvloop", "tls on asyncio"])
def peer(
    request: pytest.FixtureRequest,
    monkeypatch: pytest.MonkeyPatch,
    serve: ServeFixture,
    authority: Authority,
    world: World,
) -> Iterator[Peer]:
    """A client of a server that speaks frames: chosen in the handshake of TLS, or upgraded to."""
    secure, _, loop = request.param.partition(" on ")
    if loop == "uvloop":
        pytest.importorskip("uvloop")
    if loop:
        monkeypatch.setenv("EMBER_LOOP", loop)
    if secure == "clear":
        running = serve(world.app)
        with running.connect() as client:
            client.send(b"GET /frames HTTP/1.1\r\nHost: x\r\nUpgrade: frames\r\n\r\n")
            client.recv_until(b"\r\n\r\n")
            yield Peer(client, running)
        return
    certificates = ServerTLS(*authority.pair("localhost"))
    running = serve(world.app, ssl=certificates, codecs={"frames": Frames})
    context = authority.client()
    context.set_alpn_protocols(["frames"])
    with connect(running, context) as client:
        yield Peer(client, running)


def on_loop(peer: Peer, function: Callable[[], object]) -> None:
    peer.running.loop.call_soon_threadsafe(function)


def test_two_exchanges_at_once(peer: Peer, world: World) -> None:
    peer.ask(1, "/waits")
    peer.ask(2, "/quick")
    assert peer.response(2) == (200, b"quick")
    assert 1 not in peer.over
    eventually(lambda: world.go_on is not None)
    assert world.go_on is not None
    on_loop(peer, world.go_on.set)
    assert peer.response(1) == (200, b"waited")


def test_each_has_its_own_deadline(peer: Peer, world: World) -> None:
    peer.ask(1, "/slow")
    peer.ask(2, "/late")
    assert peer.response(2)[0] == 503
    assert 1 not in peer.over
    assert peer.response(1) == (200, b"slow")
    assert world.cancelled == ["/late"]


def test_a_slow_reader_holds_its_own_exchange_alone(peer: Peer, world: World) -> None:
    peer.ask(1, "/many", room=5000)
    while len(peer.got.get(1, b"")) < 5000:
        peer.read()
    produced = world.made
    assert produced < 200
    for number in range(2, 8):
        peer.ask(number, "/quick")
        assert peer.response(number) == (200, b"quick")
    assert world.made == produced
    peer.give_room(1, 1 << 20)
    assert peer.response(1) == (200, bytes(200_000))


def test_a_slow_reader_that_never_reads_loses_its_exchange_alone(peer: Peer, world: World) -> None:
    peer.ask(1, "/many", room=5000)
    peer.ask(2, "/waits")
    while 1 not in peer.over:
        peer.read()
    assert peer.over[1] == BROKEN
    assert world.made < 200
    assert world.go_on is not None
    on_loop(peer, world.go_on.set)
    assert peer.response(2) == (200, b"waited")


def test_each_has_its_own_body(peer: Peer, world: World) -> None:
    peer.ask(1, "/upload", body=b"5\r\nhello\r\n")
    peer.ask(2, "/upload", body=b"2\r\nab\r\n")
    peer.frame(2, DATA, b"0\r\n\r\n")
    assert peer.response(2) == (200, b"2")
    peer.frame(1, DATA, b"6\r\n world\r\n0\r\n\r\n")
    assert peer.response(1) == (200, b"11")


def test_one_is_given_up_and_the_other_goes_on(peer: Peer, world: World) -> None:
    peer.ask(1, "/stuck")
    peer.ask(2, "/slow")
    eventually(lambda: world.started == 2)
    peer.frame(1, END, b"")
    assert peer.response(2) == (200, b"slow")
    eventually(lambda: world.cancelled == ["/stuck"])


def test_the_end_of_the_connection_is_that_of_all(peer: Peer, world: World) -> None:
    for number in range(1, 4):
        peer.ask(number, "/stuck")
    eventually(lambda: world.started == 3)
    peer.client.reset()
    eventually(lambda: world.cancelled == ["/stuck"] * 3)
    eventually(lambda: not made[0].streams)


def test_a_broken_request_ends_alone(peer: Peer, world: World) -> None:
    peer.ask(1, "/waits")
    peer.frame(2, ROOM, (1 << 20).to_bytes(4))
    peer.frame(2, DATA, b"NOT HTTP\r\n\r\n")
    assert peer.response(2)[0] == 400
    eventually(lambda: world.go_on is not None)
    assert world.go_on is not None
    on_loop(peer, world.go_on.set)
    assert peer.response(1) == (200, b"waited")


def test_requests_are_counted(peer: Peer, world: World) -> None:
    for number in range(1, 4):
        peer.ask(number, "/quick")
        peer.response(number)
    server = peer.running.server
    upgraded = not peer.secure
    assert server.requests == 3 + upgraded
    assert server.connections == 1


async def ask_from_memory(world: World) -> None:
    """Ten exchanges on one connection, some of which are cut off in the middle."""
    connection = MemoryConnection(world.app)
    connection.feed(b"GET /frames HTTP/1.1\r\nHost: x\r\nUpgrade: frames\r\n\r\n")
    for number in range(10):
        path = ("quick", "stuck")[number % 2]
        request = f"GET /{path} HTTP/1.1\r\nHost: x\r\n\r\n".encode()
        connection.feed(FRAME.pack(number, ROOM, 4) + (1 << 20).to_bytes(4))
        connection.feed(FRAME.pack(number, DATA, len(request)) + request)
    await asyncio.sleep(0)
    connection.lost()
    for _ in range(5):
        await asyncio.sleep(0)
    made.clear()
    world.cancelled.clear()


def test_nothing_is_left_to_the_garbage_collector(world: World) -> None:
    async def main() -> int:
        await ask_from_memory(world)
        gc.collect()
        before = len(gc.get_objects())
        for _ in range(20):
            await ask_from_memory(world)
        return len(gc.get_objects()) - before

    gc.disable()
    try:
        with asyncio.Runner(loop_factory=new_event_loop) as runner:
            assert runner.run(main()) < 200  # 200 exchanges, each of several objects
    finally:
        gc.enable()

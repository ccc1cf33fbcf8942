"""A large answer that many wait for is in memory once, on every loop."""

from __future__ import annotations

import asyncio
import socket
import tracemalloc
from typing import Any

import pytest
from ember.protocol.server.backlog import LARGE, PIECE, Backlog, copies
from ember.request import Request
from ember.response import Response, StreamingResponse
from hypothesis import given
from hypothesis import strategies as st

from tests.support.app import App
from tests.support.server import Client, ServeFixture
from tests.support.waiting import eventually, settled

SIZE = 4 * 1024 * 1024
READERS = 50
BODY = bytes(range(256)) * (SIZE // 256)
GET = b"GET / HTTP/1.1\r\nHost: x\r\n\r\n"


@pytest.fixture(params=["chosen", "asyncio"])
def running(request: pytest.FixtureRequest, monkeypatch: pytest.MonkeyPatch) -> Any:
    """What starts a server, on the loop that is tested, and on asyncio's own."""
    if request.param == "asyncio":
        monkeypatch.setattr("tests.support.server.new_event_loop", asyncio.new_event_loop)
    return request.getfixturevalue("serve")


def silent(port: int) -> Client:
    """Asks, and reads nothing: into a buffer as small as there is."""
    sock = socket.socket()
    sock.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, 4096)
    sock.connect(("127.0.0.1", port))
    client = Client(sock)
    client.send(GET)
    return client


async def stream(request: Request) -> Response:
    async def pieces() -> Any:
        yield BODY

    return StreamingResponse(pieces())


@pytest.mark.parametrize("whole", [True, False], ids=["whole", "stream"])
def test_silent_readers_of_one_answer_hold_it_once(running: ServeFixture, whole: bool) -> None:
    answered = 0

    async def handler(request: Request) -> Response:
        nonlocal answered
        answered += 1
        return Response(BODY) if whole else await stream(request)

    server = running(App({"/": handler}))
    clients = [silent(server.port) for _ in range(2)]
    eventually(lambda: answered == 2)
    tracemalloc.start()
    try:
        clients += [silent(server.port) for _ in range(READERS)]
        eventually(lambda: answered == 2 + READERS)
        settled(lambda: tracemalloc.get_traced_memory()[0] // 65536)
        held = tracemalloc.get_traced_memory()[0]
    finally:
        tracemalloc.stop()
    # What a transport may have copied, and what a connection takes.
    assert held < READERS * (PIECE + 65536)
    for client in clients:
        answer = client.recv_response()
        assert answer.body == BODY
        client.close()


PIECES = [
    b"a" * 10,
    b"b" * 300_000,
    b"c" * 40_000,
    b"d",
    b"e" * LARGE,
    b"f" * (LARGE - 1),
    b"g" * PIECE,
]


@pytest.mark.parametrize("end", ["keep", "close"])
def test_large_and_small_pieces_come_in_order_and_then_the_end(
    running: ServeFixture, end: str
) -> None:
    async def handler(request: Request) -> Response:
        async def pieces() -> Any:
            for piece in PIECES * 5:
                yield piece

        return StreamingResponse(pieces())

    async def whole(request: Request) -> Response:
        return Response(BODY)

    server = running(App({"/": whole, "/pieces": handler}))
    with silent(server.port) as client:
        close = "Connection: close\r\n" if end == "close" else ""
        client.send(f"GET /pieces HTTP/1.1\r\nHost: x\r\n{close}\r\n")
        eventually(lambda: server.server.connections == 1)
        assert client.recv_response().body == BODY
        assert client.recv_response().body == b"".join(PIECES * 5)
        if end == "keep":
            client.send(GET)
            assert client.recv_response().body == BODY
        else:
            assert client.recv_until_close() == b""


def test_who_has_said_all_gets_all(running: ServeFixture) -> None:
    async def whole(request: Request) -> Response:
        return Response(BODY)

    server = running(App({"/": whole}))
    with silent(server.port) as client:
        client.send(GET)
        client.finish()
        eventually(lambda: server.server.connections == 1)
        assert [client.recv_response().body for _ in range(2)] == [BODY, BODY]
        assert client.recv_until_close() == b""


def test_an_answer_to_who_has_left_is_given_up(running: ServeFixture) -> None:
    async def whole(request: Request) -> Response:
        return Response(BODY)

    server = running(App({"/": whole}))
    clients = [silent(server.port) for _ in range(3)]
    eventually(lambda: server.server.connections == 3)
    for client in clients:
        client.recv_exactly(1000)
        client.reset()
    eventually(lambda: server.server.connections == 0)


# -- alone ----------------------------------------------------------------------------------------


class Copying:
    """A transport that takes `room` bytes, and copies the rest."""

    def __init__(self) -> None:
        self.sent = bytearray()
        self._buffer = bytearray()
        self.room = 0
        self.high = 65536
        self.closing = False
        self.backlog = Backlog(self)  # type: ignore[arg-type]
        self.paused = False
        self.most = 0

    def write(self, data: memoryview | bytes) -> None:
        assert not self.closing
        self._buffer += data
        self.most = max(self.most, len(self._buffer))
        self.flush()
        if len(self._buffer) > self.high and not self.paused:
            self.paused = True
            self.backlog.pause()

    def take(self, size: int) -> bool:
        """The peer takes so much. Whether the protocol was told that it may write again."""
        self.room += size
        self.flush()
        if self.paused and len(self._buffer) <= self.high // 4:
            self.paused = False
            return self.backlog.resume()
        return False

    def flush(self) -> None:
        self.sent += self._buffer[: self.room]
        sent = min(self.room, len(self._buffer))
        del self._buffer[:sent]
        self.room -= sent

    def get_write_buffer_size(self) -> int:
        return len(self._buffer)

    def set_write_buffer_limits(self, high: int | None = None) -> None:
        self.high = 65536 if high is None else high
        if len(self._buffer) > self.high and not self.paused:
            self.paused = True
            self.backlog.pause()

    def is_closing(self) -> bool:
        return self.closing


@pytest.mark.once
@given(
    st.lists(
        st.one_of(
            st.tuples(st.just("write"), st.sampled_from([0, 1, LARGE - 1, LARGE, 3 * PIECE + 7])),
            st.tuples(st.just("take"), st.sampled_from([1, 1000, PIECE, 4 * PIECE])),
            st.tuples(st.just("hand over"), st.just(0)),
        ),
        max_size=30,
    )
)
def test_whatever_is_written_and_taken_nothing_is_lost_or_copied(
    steps: list[tuple[str, int]],
) -> None:
    transport = Copying()
    backlog, written, handed = transport.backlog, bytearray(), False
    for at, (step, size) in enumerate(steps):
        if step == "write":
            data = bytes((at + 1,)) * size
            written += data
            backlog.write(data)
        elif step == "take":
            told = transport.take(size)
            assert not told or (backlog.size == 0 and not transport.paused)
        else:
            handed = True
            backlog.hand_over()
        assert len(transport.sent) + len(transport._buffer) + backlog.size == len(written)
        # What waits is told to go on: the transport will say that it has room.
        assert not backlog.size or transport.paused
    small = sum(size for step, size in steps if step == "write" and size < LARGE)
    assert handed or transport.most <= PIECE + small
    ended: list[int] = []
    backlog.after(lambda: ended.append(len(transport.sent) + len(transport._buffer)))
    while len(transport.sent) < len(written):
        transport.take(PIECE)
    assert transport.sent == written
    assert ended == [len(written)]
    assert transport.high == 65536


@pytest.mark.once
def test_what_a_broken_transport_has_not_taken_is_dropped() -> None:
    transport = Copying()
    transport.backlog.write(bytes(4 * PIECE))
    assert transport.backlog.size == 3 * PIECE
    transport.closing = True
    transport._buffer.clear()
    assert transport.backlog.resume()
    assert transport.backlog.size == 0


@pytest.mark.once
def test_who_copies_is_known() -> None:
    assert copies(Copying())  # type: ignore[arg-type]
    assert not copies(asyncio.Transport())

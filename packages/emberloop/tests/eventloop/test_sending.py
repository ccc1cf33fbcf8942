"""When what a transport writes leaves, and that all of it does."""

from __future__ import annotations

import asyncio
import contextlib
import contextvars
import socket
from collections.abc import Callable
from pathlib import Path

import pytest

from .conftest import Run

#: How much a test reads at once.
MUCH = 1 << 20


class Noting(asyncio.Protocol):
    """Notes what it is told; `on` has what to do then."""

    def __init__(self, **on: Callable[[], None]) -> None:
        self.on = on
        self.told: list[str] = []
        self.lost: asyncio.Future[Exception | None] = asyncio.get_running_loop().create_future()

    def note(self, what: str) -> None:
        self.told.append(what)
        self.on.get(what, lambda: None)()

    def data_received(self, data: bytes) -> None:
        self.note(f"data {data!r}")

    def eof_received(self) -> None:
        self.note("eof")

    def pause_writing(self) -> None:
        self.note("pause")

    def resume_writing(self) -> None:
        self.note("resume")

    def connection_lost(self, exc: Exception | None) -> None:
        self.note("lost")
        self.lost.set_result(exc)


class Pair:
    """A transport and the socket at its other end, which does not block."""

    def __init__(self, transport: asyncio.Transport, protocol: Noting, peer: socket.socket) -> None:
        self.transport, self.protocol, self.peer = transport, protocol, peer

    async def nearly_full(self, room: int) -> int:
        """Write what the socket takes, and have the peer read `room` bytes of it or some more;
        how many bytes are still to be read."""
        waiting = 0
        while not self.transport.get_write_buffer_size():
            self.transport.write(b"f" * 32768)
            waiting += 32768
        while self.transport.get_write_buffer_size():
            waiting -= len(self.peer.recv(4096))
            await asyncio.sleep(0)
        while room > 0:
            got = len(self.peer.recv(min(room, 4096)))
            waiting -= got
            room -= got
        return waiting

    async def everything(self) -> int:
        """How many bytes the peer reads up to the end."""
        loop, got = asyncio.get_running_loop(), 0
        while data := await loop.sock_recv(self.peer, MUCH):
            got += len(data)
        return got


async def connect(family: str, **on: Callable[[], None]) -> Pair:
    """A connection over TCP or a unix socket."""
    loop = asyncio.get_running_loop()
    if family == "unix":
        ours, peer = socket.socketpair()
    else:
        with socket.create_server(("127.0.0.1", 0)) as listener:
            ours = socket.create_connection(listener.getsockname())
            peer = listener.accept()[0]
        for end in ours, peer:
            end.setsockopt(socket.SOL_SOCKET, socket.SO_SNDBUF, 1 << 16)
    peer.setblocking(False)
    transport, protocol = await loop.create_connection(lambda: Noting(**on), sock=ours)
    return Pair(transport, protocol, peer)


each_family = pytest.mark.parametrize("family", ["tcp", "unix"])


@each_family
@pytest.mark.parametrize("pieces", [[1], [1, 1, 1], [30_000, 30_000], [70_000, 5, 300_000, 1]])
@pytest.mark.parametrize("paused", [False, True])
def test_write_eof_and_close_lose_nothing_of_what_was_written(
    run: Run[None], family: str, pieces: list[int], paused: bool
) -> None:
    """Also where the socket was nearly full, so that a part of the last write must wait."""

    async def main() -> None:
        pair = await connect(family)
        waiting = await pair.nearly_full(20_000)
        if paused:
            pair.transport.pause_reading()
        pair.transport.writelines([b"l" * 100, b"", b"m"])
        for size in pieces:
            pair.transport.write(b"w" * size)
        pair.transport.write_eof()
        pair.transport.close()
        assert await pair.everything() == waiting + 101 + sum(pieces)
        assert await pair.protocol.lost is None
        pair.peer.close()

    run(main())


@each_family
def test_what_is_written_after_close_counts_while_something_waits(
    run: Run[None], family: str
) -> None:
    """As on stock asyncio; and nothing does once all had left."""

    async def main() -> None:
        pair = await connect(family)
        waiting = await pair.nearly_full(0)
        pair.transport.write(b"w" * 500_000)
        pair.transport.close()
        pair.transport.write(b"late")
        pair.transport.writelines([b"later", b"still"])
        assert await pair.everything() == waiting + 500_014
        assert await pair.protocol.lost is None
        pair.peer.close()
        empty = await connect(family)
        empty.transport.write(b"before")
        empty.transport.close()
        empty.transport.write(b"after")
        assert await empty.everything() == 6
        assert await empty.protocol.lost is None
        empty.peer.close()

    run(main())


@each_family
def test_the_end_of_the_peer_cuts_off_nothing_that_was_written_shortly_before(
    run: Run[None], family: str
) -> None:
    """The peer's end may be known before it is known how much of the last write the socket took:
    here a protocol that is told to pause writes, while what was written in this turn is sent."""

    async def main() -> None:
        victim, full = await connect(family), await connect(family, pause=lambda: meddle())
        other, large = await connect(family), await connect(family)
        waiting = await victim.nearly_full(20_000)
        full.transport.set_write_buffer_limits(high=1 << 30)
        full.transport.write(b"x" * 3_000_000)
        held = full.transport.get_write_buffer_size()
        full.transport.set_write_buffer_limits(high=held + 5_000)

        def meddle() -> None:
            large.transport.write(b"l" * 40_000)
            victim.transport.write(b"v" * 30_000)
            victim.transport.write(b"v" * 30_000)

        other.transport.write(b"small")
        full.transport.write(b"x" * 12_000)
        victim.peer.shutdown(socket.SHUT_WR)
        assert await victim.everything() == waiting + 60_000
        assert await victim.protocol.lost is None
        assert victim.protocol.told[-2:] == ["eof", "lost"]
        for pair in victim, full, other, large:
            pair.transport.abort()
            pair.peer.close()
            await pair.protocol.lost

    run(main())


@each_family
def test_what_is_written_is_there_before_the_loop_turns(run: Run[None], family: str) -> None:
    """Code that writes and then waits for the other end in the same thread gets its answer."""

    async def main() -> None:
        pair = await connect(family)
        pair.peer.settimeout(10)
        pair.transport.write(b"one")
        assert pair.peer.recv(10) == b"one"
        pair.transport.write(bytearray(b"two"))
        pair.transport.write(memoryview(b"three"))
        pair.transport.writelines([b"fo", b"ur"])
        got = b""
        while len(got) < 12:
            got += pair.peer.recv(12)
        assert got == b"twothreefour"
        assert pair.transport.get_write_buffer_size() == 0
        pair.transport.write_eof()
        assert pair.peer.recv(1) == b""
        pair.transport.close()
        assert await pair.protocol.lost is None
        pair.peer.close()

    run(main())


@each_family
@pytest.mark.parametrize("end", ["nothing", "close", "write_eof", "abort", "size"])
def test_many_writes_of_one_turn_leave_in_order_however_it_ends(
    run: Run[None], family: str, end: str
) -> None:
    """After the first eight they leave together: at the end of the turn, or before what comes."""

    async def main() -> None:
        pair = await connect(family)
        pair.peer.settimeout(10)
        expected = b""
        for i in range(100):
            pair.transport.write(b"%d," % i)
            expected += b"%d," % i
        got = pair.peer.recv(MUCH)
        assert got.startswith(b"0,1,2,3,4,5,6,7,") or family == "tcp"
        if end == "close":
            pair.transport.close()
        elif end == "write_eof":
            pair.transport.write_eof()
        elif end == "abort":
            pair.transport.abort()
        elif end == "size":
            assert pair.transport.get_write_buffer_size() == 0
        else:
            await asyncio.sleep(0)
            await asyncio.sleep(0)
        while len(got) < len(expected):
            got += pair.peer.recv(MUCH)
        assert got == expected
        assert "pause" not in pair.protocol.told
        pair.transport.close()
        assert await pair.protocol.lost is None
        pair.peer.close()

    run(main())


@each_family
@pytest.mark.parametrize("aborted", [False, True])
def test_a_peer_that_leaves_between_many_writes_and_the_end_of_the_turn_is_read_first(
    run: Run[None], family: str, aborted: bool
) -> None:
    async def main() -> None:
        pair = await connect(family)
        await asyncio.sleep(0)
        pair.peer.send(b"last words")
        for _ in range(20):
            pair.transport.write(b"x")
        pair.peer.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, b"\1\0\0\0\0\0\0\0")
        pair.peer.close()
        if aborted:
            pair.transport.abort()
            assert await pair.protocol.lost is None
            assert pair.protocol.told == ["lost"]
        else:
            assert isinstance(await pair.protocol.lost, ConnectionError)
            assert pair.protocol.told == ["data b'last words'", "lost"]

    run(main())


@each_family
def test_a_small_write_waits_behind_a_large_one(run: Run[None], family: str) -> None:
    async def main() -> None:
        pair = await connect(family)
        loop = asyncio.get_running_loop()
        pair.transport.write(b"a" * 3_000_000)
        pair.transport.write(b"b" * 10)
        pair.transport.write(bytearray(b"c" * 100_000))
        pair.transport.close()
        got = bytearray()
        while data := await loop.sock_recv(pair.peer, MUCH):
            got += data
        assert got == b"a" * 3_000_000 + b"b" * 10 + b"c" * 100_000
        pair.peer.close()
        await pair.protocol.lost

    run(main())


@pytest.mark.parametrize("high", [0, 1, 1_000])
def test_limits_below_the_socket_buffer_are_kept(run: Run[None], high: int) -> None:
    async def main() -> None:
        pair = await connect("unix")
        pair.transport.set_write_buffer_limits(high=high)
        while not pair.transport.get_write_buffer_size():
            assert "pause" not in pair.protocol.told, "nothing waits"
            pair.transport.write(b"f" * 3_000)
        pair.transport.write(b"f" * (high + 1))
        assert pair.protocol.told == ["pause"], "inside the call"
        while "resume" not in pair.protocol.told:
            assert pair.transport.get_write_buffer_size() > high // 4
            with contextlib.suppress(BlockingIOError):
                pair.peer.recv(1_000)
            await asyncio.sleep(0)
        pair.transport.abort()
        pair.peer.close()
        await pair.protocol.lost

    run(main())


def test_limits_that_no_integer_of_c_can_hold_are_taken(run: Run[None]) -> None:
    async def main() -> None:
        pair = await connect("unix")
        for high in float("inf"), 1 << 80:
            pair.transport.set_write_buffer_limits(high=high, low=0)  # type: ignore[arg-type]
            assert pair.transport.get_write_buffer_limits() == (0, high)
            pair.transport.write(b"x" * 1_000_000)
        assert pair.protocol.told == []
        pair.transport.abort()
        pair.peer.close()
        await pair.protocol.lost

    run(main())


def test_the_error_of_a_write_to_a_unix_peer_that_is_gone_is_told(run: Run[None]) -> None:
    async def main() -> None:
        pair = await connect("unix")
        pair.peer.close()
        pair.transport.write(b"in vain")
        assert pair.transport.is_closing()
        pair.transport.close()
        assert isinstance(await pair.protocol.lost, BrokenPipeError)
        assert pair.protocol.told == ["lost"]

    run(main())


def test_a_write_to_a_peer_that_reset_the_connection_ends_it_with_that_error(
    run: Run[None],
) -> None:
    async def main() -> None:
        pair = await connect("tcp")
        pair.peer.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, b"\1\0\0\0\0\0\0\0")
        pair.peer.close()
        pair.transport.write(b"one")
        pair.transport.close()
        pair.transport.write(b"two")
        assert isinstance(await pair.protocol.lost, ConnectionResetError)
        other = await connect("tcp")
        other.peer.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, b"\1\0\0\0\0\0\0\0")
        other.peer.close()
        with pytest.raises(OSError, match="not connected"):
            other.transport.write_eof()
        assert isinstance(await other.protocol.lost, ConnectionResetError)

    run(main())


@each_family
def test_bytes_of_a_peer_that_then_left_are_read_although_a_send_fails(
    run: Run[None], family: str
) -> None:
    """A send that waits and a read are told of the end at the same moment: reading comes first."""

    async def main() -> None:
        pair = await connect(family)
        pair.transport.write(b"x" * 3_000_000)
        await asyncio.sleep(0)
        await asyncio.sleep(0)
        pair.peer.send(b"last words")
        pair.peer.close()
        assert isinstance(await pair.protocol.lost, ConnectionError)
        assert pair.protocol.told == ["pause", "data b'last words'", "lost"]

    run(main())


@each_family
def test_close_after_the_last_byte_left_needs_no_further_turn(run: Run[None], family: str) -> None:
    """Nothing that is written between the last byte and `connection_lost` is sent after it."""

    async def main() -> None:
        pair = await connect(family)
        late: list[None] = []

        def resumed() -> None:
            asyncio.get_running_loop().call_soon(late.append, None)
            asyncio.get_running_loop().call_soon(pair.transport.write, b"late")

        pair.protocol.on["resume"] = resumed
        waiting = await pair.nearly_full(0)
        pair.transport.set_write_buffer_limits(high=0)
        pair.transport.write(b"w" * 500_000)
        pair.transport.close()
        assert await pair.everything() == waiting + 500_000
        await pair.protocol.lost
        assert late, "it was resumed once all had left"
        pair.peer.close()

    run(main())


def test_resume_writing_runs_in_the_context_of_the_transport(run: Run[None]) -> None:
    name = contextvars.ContextVar("name", default="nobody")
    seen: list[str] = []

    async def main() -> None:
        name.set("maker")
        pair = await connect("unix", resume=lambda: seen.append(name.get()))
        name.set("later")
        pair.transport.write(b"w" * 1_000_000)
        pair.transport.close()
        await pair.everything()
        await pair.protocol.lost
        assert seen == ["maker"]
        pair.peer.close()

    run(main())


def test_abort_leaves_nothing_in_the_write_buffer(run: Run[None]) -> None:
    async def main() -> None:
        pair = await connect("unix")
        pair.transport.write(b"w" * 1_000_000)
        for _ in range(3):
            await asyncio.sleep(0)
        pair.transport.abort()
        assert pair.transport.get_write_buffer_size() == 0
        assert await pair.protocol.lost is None
        assert pair.protocol.told == ["pause", "lost"]
        pair.peer.close()

    run(main())


def test_a_server_of_the_loop_sends_at_once_too(run: Run[None], tmp_path: Path) -> None:
    async def main() -> None:
        loop = asyncio.get_running_loop()
        answered: list[bytes] = []

        class Greeting(asyncio.Protocol):
            def connection_made(self, transport: asyncio.BaseTransport) -> None:
                assert isinstance(transport, asyncio.Transport)
                transport.write(b"hello")
                answered.append(peer.recv(5))
                transport.close()

        path = str(tmp_path / "socket")
        server = await loop.create_unix_server(Greeting, path)
        with socket.socket(socket.AF_UNIX) as peer:
            peer.settimeout(10)
            peer.connect(path)
            while not answered:
                await asyncio.sleep(0)
        assert answered == [b"hello"]
        server.close()

    run(main())

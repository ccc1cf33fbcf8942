"""Our transports behave as asyncio's do."""

from __future__ import annotations

import asyncio
import gc
import os
import socket
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager
from functools import partial
from typing import Any

import pytest

from .conftest import Run


class Recorder(asyncio.Protocol):
    """Notes everything that a transport tells it."""

    def __init__(self, *, keep_open: bool = False) -> None:
        self.keep_open = keep_open
        self.said: list[str] = []
        self.data = b""
        self.changed = asyncio.Event()
        self.lost: list[Exception | None] = []
        self.transport: asyncio.Transport

    def note(self, what: str) -> None:
        self.said.append(what)
        self.changed.set()

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        assert isinstance(transport, asyncio.Transport)
        self.transport = transport
        self.note("made")

    def data_received(self, data: bytes) -> None:
        self.data += data
        self.note("data")

    def eof_received(self) -> bool:
        self.note("eof")
        return self.keep_open

    def connection_lost(self, exc: Exception | None) -> None:
        self.lost.append(exc)
        self.note("lost")

    def pause_writing(self) -> None:
        self.note("pause")

    def resume_writing(self) -> None:
        self.note("resume")

    async def until(self, condition: Callable[[], bool]) -> None:
        while not condition():
            self.changed.clear()
            await self.changed.wait()


@asynccontextmanager
async def connected(
    **options: Any,
) -> AsyncIterator[tuple[Recorder, socket.socket]]:
    """A protocol on our transport, and the other end as a plain non-blocking socket."""
    ours, theirs = socket.socketpair()
    theirs.setblocking(False)
    loop = asyncio.get_running_loop()
    _, protocol = await loop.create_connection(lambda: Recorder(**options), sock=ours)
    try:
        yield protocol, theirs
    finally:
        protocol.transport.abort()
        await protocol.until(lambda: bool(protocol.lost))
        theirs.close()


def test_a_transport_is_an_asyncio_transport(run: Run[None]) -> None:
    async def main() -> None:
        async with connected() as (protocol, _):
            assert isinstance(protocol.transport, asyncio.Transport)
            assert "SocketTransport" in repr(protocol.transport)

    run(main())


def test_create_connection_returns_before_the_first_data(run: Run[None]) -> None:
    async def main() -> None:
        loop = asyncio.get_running_loop()
        ours, theirs = socket.socketpair()
        theirs.send(b"early")
        _, protocol = await loop.create_connection(Recorder, sock=ours)
        assert protocol.said == ["made"]
        await protocol.until(lambda: protocol.data == b"early")
        protocol.transport.close()
        theirs.close()

    run(main())


def test_bytes_go_both_ways(run: Run[None]) -> None:
    async def main() -> None:
        loop = asyncio.get_running_loop()
        async with connected() as (protocol, peer):
            protocol.transport.write(b"one ")
            protocol.transport.writelines([b"two ", bytearray(b"three "), memoryview(b"four")])
            got = b""
            while len(got) < 18:
                got += await loop.sock_recv(peer, 100)
            assert got == b"one two three four"
            await loop.sock_sendall(peer, b"answer")
            await protocol.until(lambda: protocol.data == b"answer")

    run(main())


def test_a_paused_transport_delivers_nothing_and_loses_nothing(run: Run[None]) -> None:
    async def main() -> None:
        loop = asyncio.get_running_loop()
        async with connected() as (protocol, peer):
            await loop.sock_sendall(peer, b"a")
            await protocol.until(lambda: protocol.data == b"a")
            protocol.transport.pause_reading()
            assert not protocol.transport.is_reading()
            await loop.sock_sendall(peer, b"b" * 50_000)
            peer.shutdown(socket.SHUT_WR)
            for _ in range(20):
                await asyncio.sleep(0)
            assert protocol.data == b"a"
            assert "eof" not in protocol.said
            protocol.transport.resume_reading()
            assert protocol.transport.is_reading()
            await protocol.until(lambda: "eof" in protocol.said)
            assert protocol.data == b"a" + b"b" * 50_000

    run(main())


def test_pausing_inside_data_received_holds_what_already_arrived(run: Run[None]) -> None:
    class Pauser(Recorder):
        def data_received(self, data: bytes) -> None:
            super().data_received(data)
            self.transport.pause_reading()

    async def main() -> None:
        loop = asyncio.get_running_loop()
        ours, theirs = socket.socketpair()
        theirs.setblocking(False)
        _, protocol = await loop.create_connection(Pauser, sock=ours)
        sent = bytes(range(256)) * 400
        await loop.sock_sendall(theirs, sent)
        while len(protocol.data) < len(sent):
            before = protocol.said.count("data")
            protocol.transport.resume_reading()
            await protocol.until(lambda: protocol.said.count("data") > before)  # noqa: B023
            assert protocol.said.count("data") == before + 1
        assert protocol.data == sent
        protocol.transport.close()
        theirs.close()

    run(main())


def test_half_close_leaves_the_other_direction_open(run: Run[None]) -> None:
    async def main() -> None:
        loop = asyncio.get_running_loop()
        async with connected(keep_open=True) as (protocol, peer):
            await loop.sock_sendall(peer, b"question")
            peer.shutdown(socket.SHUT_WR)
            await protocol.until(lambda: "eof" in protocol.said)
            assert protocol.data == b"question"
            assert not protocol.transport.is_closing()
            protocol.transport.write(b"answer")
            assert await loop.sock_recv(peer, 100) == b"answer"
            assert not protocol.lost

    run(main())


def test_eof_closes_the_transport_when_the_protocol_does_not_keep_it(run: Run[None]) -> None:
    async def main() -> None:
        async with connected() as (protocol, peer):
            peer.shutdown(socket.SHUT_WR)
            await protocol.until(lambda: bool(protocol.lost))
            assert protocol.said == ["made", "eof", "lost"]
            assert protocol.lost == [None]
            assert protocol.transport.is_closing()

    run(main())


@pytest.mark.parametrize("size", [0, 10, 3_000_000])
def test_write_eof_comes_after_everything_written(run: Run[None], size: int) -> None:
    async def main() -> None:
        loop = asyncio.get_running_loop()
        async with connected(keep_open=True) as (protocol, peer):
            assert protocol.transport.can_write_eof()
            if size:
                protocol.transport.write(b"x" * size)
            protocol.transport.write_eof()
            with pytest.raises(RuntimeError, match="write_eof"):
                protocol.transport.write(b"more")
            got = 0
            while data := await loop.sock_recv(peer, 1 << 20):
                got += len(data)
            assert got == size
            await loop.sock_sendall(peer, b"still open this way")
            await protocol.until(lambda: bool(protocol.data))

    run(main())


def test_close_sends_everything_first(run: Run[None]) -> None:
    async def main() -> None:
        loop = asyncio.get_running_loop()
        async with connected() as (protocol, peer):
            protocol.transport.write(b"y" * 3_000_000)
            protocol.transport.close()
            protocol.transport.close()
            assert protocol.transport.is_closing()
            got = 0
            while data := await loop.sock_recv(peer, 1 << 20):
                got += len(data)
            assert got == 3_000_000
            await protocol.until(lambda: bool(protocol.lost))
            assert protocol.lost == [None]

    run(main())


def test_connection_lost_is_called_once_whatever_is_asked(run: Run[None]) -> None:
    async def main() -> None:
        async with connected() as (protocol, _):
            protocol.transport.write(b"z" * 3_000_000)
            protocol.transport.close()
            protocol.transport.abort()
            protocol.transport.abort()
            protocol.transport.close()
            assert not protocol.lost, "never from inside the call"
            await protocol.until(lambda: bool(protocol.lost))
            for _ in range(5):
                await asyncio.sleep(0)
            assert protocol.lost == [None]

    run(main())


def test_a_reset_by_the_peer_is_reported(run: Run[None]) -> None:
    async def main() -> None:
        loop = asyncio.get_running_loop()
        made: asyncio.Future[Recorder] = loop.create_future()

        def accept() -> Recorder:
            protocol = Recorder()
            made.set_result(protocol)
            return protocol

        server = await loop.create_server(accept, "127.0.0.1", 0)
        peer = socket.create_connection(server.sockets[0].getsockname())
        peer.send(b"x")
        protocol = await made
        await protocol.until(lambda: bool(protocol.data))
        peer.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, b"\1\0\0\0\0\0\0\0")
        peer.close()
        await protocol.until(lambda: bool(protocol.lost))
        assert isinstance(protocol.lost[0], ConnectionResetError)
        server.close()

    run(main())


def test_writing_to_a_closed_peer_ends_in_connection_lost(run: Run[None]) -> None:
    async def main() -> None:
        async with connected(keep_open=True) as (protocol, peer):
            peer.close()
            await protocol.until(lambda: "eof" in protocol.said)
            protocol.transport.write(b"into the void")
            await protocol.until(lambda: bool(protocol.lost))
            assert isinstance(protocol.lost[0], BrokenPipeError)

    run(main())


def test_the_protocol_is_paused_above_the_high_mark_and_resumed_at_the_low(
    run: Run[None],
) -> None:
    async def main() -> None:
        loop = asyncio.get_running_loop()
        async with connected() as (protocol, peer):
            transport = protocol.transport
            assert transport.get_write_buffer_limits() == (16384, 65536)
            transport.set_write_buffer_limits(high=200_000, low=50_000)
            assert transport.get_write_buffer_limits() == (50_000, 200_000)
            while "pause" not in protocol.said:
                before = transport.get_write_buffer_size()
                transport.write(b"w" * 65536)
                assert before <= 200_000
            assert transport.get_write_buffer_size() > 200_000
            while "resume" not in protocol.said:
                assert transport.get_write_buffer_size() > 50_000
                await loop.sock_recv(peer, 1 << 16)
                await asyncio.sleep(0)
            assert transport.get_write_buffer_size() <= 50_000
            with pytest.raises(ValueError, match="high"):
                transport.set_write_buffer_limits(high=1, low=2)

    run(main())


def test_a_buffered_protocol_gets_its_bytes_in_its_own_buffer(run: Run[None]) -> None:
    class Buffered(asyncio.BufferedProtocol):
        def __init__(self) -> None:
            self.room = bytearray(7)
            self.data = b""
            self.done = asyncio.get_running_loop().create_future()

        def get_buffer(self, sizehint: int) -> bytearray:
            return self.room

        def buffer_updated(self, nbytes: int) -> None:
            self.data += self.room[:nbytes]

        def connection_lost(self, exc: Exception | None) -> None:
            self.done.set_result(exc)

    async def main() -> None:
        loop = asyncio.get_running_loop()
        ours, theirs = socket.socketpair()
        theirs.setblocking(False)
        _, protocol = await loop.create_connection(Buffered, sock=ours)
        await loop.sock_sendall(theirs, bytes(range(250)))
        theirs.close()
        assert await protocol.done is None
        assert protocol.data == bytes(range(250))

    run(main())


def test_an_empty_buffer_is_a_fatal_error(run: Run[None]) -> None:
    class Empty(asyncio.BufferedProtocol):
        def __init__(self) -> None:
            self.done = asyncio.get_running_loop().create_future()

        def get_buffer(self, sizehint: int) -> bytearray:
            return bytearray()

        def connection_lost(self, exc: Exception | None) -> None:
            self.done.set_result(exc)

    async def main() -> None:
        loop = asyncio.get_running_loop()
        reported: list[str] = []
        loop.set_exception_handler(lambda _, context: reported.append(context["message"]))
        ours, theirs = socket.socketpair()
        _, protocol = await loop.create_connection(Empty, sock=ours)
        theirs.send(b"x")
        assert isinstance(await protocol.done, RuntimeError)
        assert reported == ["Fatal error: protocol.get_buffer() call failed."]
        theirs.close()

    run(main())


def test_an_exception_in_data_received_is_reported_and_ends_the_connection(
    run: Run[None],
) -> None:
    class Broken(Recorder):
        def data_received(self, data: bytes) -> None:
            raise ZeroDivisionError

    async def main() -> None:
        loop = asyncio.get_running_loop()
        reported: list[dict[str, Any]] = []
        loop.set_exception_handler(lambda _, context: reported.append(context))
        ours, theirs = socket.socketpair()
        _, protocol = await loop.create_connection(Broken, sock=ours)
        theirs.send(b"x")
        await protocol.until(lambda: bool(protocol.lost))
        assert isinstance(protocol.lost[0], ZeroDivisionError)
        assert reported[0]["protocol"] is protocol
        assert theirs.recv(1) == b""
        theirs.close()

    run(main())


def test_a_protocol_can_be_replaced(run: Run[None]) -> None:
    async def main() -> None:
        async with connected() as (protocol, peer):
            peer.send(b"first")
            await protocol.until(lambda: protocol.data == b"first")
            second = Recorder()
            protocol.transport.set_protocol(second)
            assert protocol.transport.get_protocol() is second
            peer.send(b"second")
            await second.until(lambda: second.data == b"second")
            assert protocol.data == b"first"
            protocol.transport.set_protocol(protocol)

    run(main())


def test_extra_info_names_both_ends(run: Run[None]) -> None:
    async def main() -> None:
        server = await asyncio.start_server(lambda r, w: w.close(), "127.0.0.1", 0)
        address = server.sockets[0].getsockname()
        _, writer = await asyncio.open_connection(*address)
        assert writer.get_extra_info("peername") == address
        sock = writer.get_extra_info("socket")
        assert sock.getsockname() == writer.get_extra_info("sockname")
        assert sock.getsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY)
        assert writer.get_extra_info("nothing", 7) == 7
        writer.close()
        await writer.wait_closed()
        server.close()

    run(main())


def test_only_bytes_can_be_written(run: Run[None]) -> None:
    async def main() -> None:
        async with connected() as (protocol, _):
            with pytest.raises(TypeError, match="'str'"):
                protocol.transport.write("text")  # type: ignore[arg-type]

    run(main())


def test_the_descriptor_of_a_transport_is_not_for_add_reader(run: Run[None]) -> None:
    async def main() -> None:
        loop = asyncio.get_running_loop()
        async with connected() as (protocol, _):
            fd = protocol.transport.get_extra_info("socket").fileno()
            with pytest.raises(RuntimeError, match="is used by transport"):
                loop.add_reader(fd, print)

    run(main())


def test_a_transport_left_open_warns_when_its_loop_is_gone(
    new_loop: Callable[[], asyncio.AbstractEventLoop],
) -> None:
    loop = new_loop()
    ours, theirs = socket.socketpair()
    loop.run_until_complete(loop.create_connection(Recorder, sock=ours))
    loop.close()
    del loop
    with pytest.warns(ResourceWarning, match="unclosed transport"):
        gc.collect()
    assert theirs.recv(1) == b""
    theirs.close()


def test_a_transport_left_open_closes_its_descriptor_only_once(
    new_loop: Callable[[], asyncio.AbstractEventLoop], recwarn: pytest.WarningsRecorder
) -> None:
    """Its number may belong to someone else by the time everything is collected."""
    loop = new_loop()
    ours, theirs = socket.socketpair()
    transport, protocol = loop.run_until_complete(loop.create_connection(Recorder, sock=ours))
    loop.close()
    number = ours.fileno()
    ours.close()
    with open("/dev/null") as file:
        os.dup2(file.fileno(), number)
    del transport, protocol, loop
    gc.collect()
    os.close(number)  # still ours to close
    theirs.close()


def test_callbacks_run_in_the_context_that_made_the_transport(run: Run[None]) -> None:
    from contextvars import ContextVar

    name: ContextVar[str] = ContextVar("name", default="nobody")
    seen: list[str] = []

    class Looking(Recorder):
        def data_received(self, data: bytes) -> None:
            seen.append(name.get())
            super().data_received(data)

    async def main() -> None:
        name.set("maker")
        ours, theirs = socket.socketpair()
        loop = asyncio.get_running_loop()
        _, protocol = await loop.create_connection(Looking, sock=ours)
        name.set("later")
        theirs.send(b"x")
        await protocol.until(lambda: bool(protocol.data))
        assert seen == ["maker"]
        protocol.transport.close()
        theirs.close()

    run(main())


def test_reading_that_goes_on_behind_the_end_finds_a_reset(run: Run[None]) -> None:
    """There is nothing to read any more, but what became of the connection."""

    async def main() -> None:
        async with asyncio.timeout(20), connected(keep_open=True) as (protocol, peer):
            protocol.transport.write(b"what the peer does not read")
            peer.shutdown(socket.SHUT_WR)
            await protocol.until(lambda: "eof" in protocol.said)
            protocol.transport.pause_reading()
            peer.close()
            await asyncio.sleep(0)
            protocol.transport.resume_reading()
            await protocol.until(lambda: bool(protocol.lost))
            assert isinstance(protocol.lost[0], ConnectionResetError)

    run(main())


@pytest.mark.parametrize("when", ["in connection_made", "in pause_writing", "in the first turn"])
def test_what_a_peer_sent_before_it_left_is_delivered(run: Run[None], when: str) -> None:
    """Also when a send finds it gone before the transport has begun to read."""

    class Writes(Recorder):
        def __init__(self, peer: socket.socket) -> None:
            super().__init__()
            self.peer = peer

        def leave(self, moment: str) -> None:
            if moment == when:
                self.peer.close()

        def connection_made(self, transport: asyncio.BaseTransport) -> None:
            super().connection_made(transport)
            self.transport.write(bytes(1_000_000))
            self.leave("in connection_made")
            asyncio.get_running_loop().call_soon(self.leave, "in the first turn")

        def pause_writing(self) -> None:
            self.leave("in pause_writing")

    async def main() -> None:
        loop = asyncio.get_running_loop()
        for _ in range(20):
            ours, theirs = socket.socketpair()
            theirs.send(b"the last words")
            _, protocol = await loop.create_connection(partial(Writes, theirs), sock=ours)
            async with asyncio.timeout(20):
                while not protocol.lost:
                    await asyncio.sleep(0)
            assert protocol.data == b"the last words"

    run(main())

"""What io_uring and epoll punish when it is forgotten: one test for each trap."""

from __future__ import annotations

import asyncio
import hashlib
import os
import resource
import signal
import socket
import sys
import threading
import time
from collections.abc import Callable
from typing import Any

import pytest

from .conftest import DEADLINE, Run, leave_nothing

LoopFactory = Callable[[], asyncio.AbstractEventLoop]


async def echo(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
    try:
        while data := await reader.read(65536):
            writer.write(data)
            await writer.drain()
    finally:
        writer.close()


async def serve(handler: Any = echo, **options: Any) -> tuple[asyncio.Server, tuple[str, int]]:
    server = await asyncio.start_server(handler, "127.0.0.1", 0, **options)
    return server, server.sockets[0].getsockname()


def memory_of_this_process() -> int:
    with open("/proc/self/statm") as facts:
        return int(facts.read().split()[1]) * resource.getpagesize()


def test_the_port_is_free_when_the_server_has_closed(run: Run[None]) -> None:
    async def main() -> None:
        server, address = await serve()
        _, writer = await asyncio.open_connection(*address)
        writer.close()
        await writer.wait_closed()
        server.close()
        with socket.socket() as again:
            again.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
            again.bind(address)
            again.listen()

    run(main())


def test_a_connection_is_refused_at_once_when_the_server_has_closed(run: Run[None]) -> None:
    async def main() -> None:
        server, address = await serve()
        for _ in range(3):
            await asyncio.sleep(0)
        server.close()
        with pytest.raises(ConnectionRefusedError):
            socket.create_connection(address)

    run(main())


def test_the_peer_sees_the_end_although_a_read_was_armed(run: Run[None]) -> None:
    async def main() -> None:
        loop = asyncio.get_running_loop()
        closed = asyncio.Event()

        async def greet(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
            await reader.readexactly(1)  # so the read is armed, and stays so
            writer.close()
            closed.set()

        server, address = await serve(greet)
        peer = socket.socket()
        peer.setblocking(False)
        await loop.sock_connect(peer, address)
        await loop.sock_sendall(peer, b"x")
        await closed.wait()
        assert await loop.sock_recv(peer, 10) == b""
        peer.close()
        server.close()

    run(main())


def test_closing_leaves_a_duplicate_of_the_socket_usable(run: Run[None]) -> None:
    """close() of one descriptor is no shutdown(): another process may hold the connection."""

    async def main() -> None:
        loop = asyncio.get_running_loop()
        ours, theirs = socket.socketpair()
        other = ours.dup()
        transport, _ = await loop.create_connection(asyncio.Protocol, sock=ours)
        await asyncio.sleep(0)
        transport.close()
        for _ in range(5):
            await asyncio.sleep(0)
        assert ours.fileno() == -1
        other.sendall(b"alive")
        assert theirs.recv(10) == b"alive"
        other.close()
        theirs.close()

    run(main())


def test_more_data_than_receive_buffers_loses_nothing(
    run: Run[None], monkeypatch: pytest.MonkeyPatch
) -> None:
    from ember.eventloop import _stream

    monkeypatch.setattr(_stream, "RECV_BUFFERS", 2)
    monkeypatch.setattr(_stream, "RECV_BUFFER_SIZE", 4096)

    async def main() -> None:
        server, address = await serve()

        async def client(number: int) -> None:
            reader, writer = await asyncio.open_connection(*address)
            sent = bytes([number]) * 100_000
            writer.write(sent)
            assert await reader.readexactly(len(sent)) == sent
            writer.close()
            await writer.wait_closed()

        async with asyncio.TaskGroup() as group:
            for number in range(30):
                group.create_task(client(number))
        server.close()

    run(main())


@pytest.mark.parametrize("piece", [1_000, 30_000, 400_000, 64 << 20])
def test_64_megabytes_arrive_in_order_at_a_slow_reader(run: Run[None], piece: int) -> None:
    total = 64 << 20 if piece >= 400_000 else 8 << 20
    block = os.urandom(1 << 20)

    def reader(sock: socket.socket, result: list[str]) -> None:
        digest = hashlib.sha256()
        sock.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, 65536)
        sock.settimeout(DEADLINE)
        sizes = [1, 100, 1 << 20, 77, 1 << 18]
        turn = 0
        while data := sock.recv(sizes[turn % len(sizes)]):
            digest.update(data)
            turn += 1
            os.sched_yield()
        result.append(digest.hexdigest())

    async def main() -> None:
        loop = asyncio.get_running_loop()
        ours, theirs = socket.socketpair()
        result: list[str] = []
        thread = threading.Thread(target=reader, args=(theirs, result))
        thread.start()
        _, writer = await asyncio.open_connection(sock=ours)
        digest = hashlib.sha256()
        whole = (block * (total // len(block)))[:total]
        for at in range(0, total, piece):
            part = whole[at : at + piece]
            digest.update(part)
            writer.write(part)
            await writer.drain()
        writer.close()
        await writer.wait_closed()
        await loop.run_in_executor(None, thread.join)
        theirs.close()
        assert result == [digest.hexdigest()]

    run(main())


def test_short_sends_of_many_turns_keep_their_order(run: Run[None]) -> None:
    """Small writes in every turn against a small socket buffer, without waiting for drain."""

    async def main() -> None:
        loop = asyncio.get_running_loop()
        ours, theirs = socket.socketpair()
        ours.setsockopt(socket.SOL_SOCKET, socket.SO_SNDBUF, 4608)
        theirs.setblocking(False)
        transport, _ = await loop.create_connection(asyncio.Protocol, sock=ours)
        expected = b"".join(b"%07d\n" % n for n in range(60_000))

        async def write() -> None:
            for n in range(60_000):
                transport.write(b"%07d\n" % n)
                if n % 100 == 0:
                    await asyncio.sleep(0)
            transport.close()

        task = loop.create_task(write())
        got = bytearray()
        while data := await loop.sock_recv(theirs, 3000):
            got += data
        await task
        assert bytes(got) == expected
        theirs.close()

    run(main())


def test_writes_that_alternate_between_streams_stay_in_order(run: Run[None]) -> None:
    async def main() -> None:
        loop = asyncio.get_running_loop()
        pairs = [socket.socketpair() for _ in range(3)]
        transports = []
        for ours, theirs in pairs:
            theirs.setblocking(False)
            transport, _ = await loop.create_connection(asyncio.Protocol, sock=ours)
            transports.append(transport)
        for n in range(500):
            for transport in transports:
                transport.write(b"%04d" % n * (1 + n % 5))
        expected = b"".join(b"%04d" % n * (1 + n % 5) for n in range(500))
        for (_, theirs), transport in zip(pairs, transports, strict=True):
            transport.close()
            got = b""
            while data := await loop.sock_recv(theirs, 100_000):
                got += data
            assert got == expected
            theirs.close()

    run(main())


def test_more_streams_write_in_one_turn_than_the_queue_and_the_arena_hold(run: Run[None]) -> None:
    async def main() -> None:
        loop = asyncio.get_running_loop()
        pairs = [socket.socketpair() for _ in range(700)]
        transports = []
        for ours, theirs in pairs:
            theirs.setblocking(False)
            transport, _ = await loop.create_connection(asyncio.Protocol, sock=ours)
            transports.append(transport)
        for n, transport in enumerate(transports):
            transport.write(b"%03d" % n * 700)  # 700 x 2,100 bytes: three arenas
        for n, (_, theirs) in enumerate(pairs):
            got = b""
            while len(got) < 2100:
                got += await loop.sock_recv(theirs, 4096)
            assert got == b"%03d" % n * 700
        for (_, theirs), transport in zip(pairs, transports, strict=True):
            transport.close()
            theirs.close()

    run(main())


def test_abort_with_a_send_in_flight(run: Run[None]) -> None:
    async def main() -> None:
        loop = asyncio.get_running_loop()
        for _ in range(20):
            ours, theirs = socket.socketpair()
            lost = loop.create_future()

            class Waiting(asyncio.Protocol):
                def connection_lost(self, exc: Exception | None) -> None:
                    lost.set_result(exc)  # noqa: B023

            transport, _ = await loop.create_connection(Waiting, sock=ours)
            data = bytearray(2_000_000)
            transport.write(bytes(data))
            transport.write(data)
            del data
            for _ in range(3):
                await asyncio.sleep(0)
            assert transport.get_write_buffer_size() > 0
            transport.abort()
            assert await lost is None
            assert transport.get_write_buffer_size() == 0
            theirs.close()

    run(main())


def test_a_client_that_never_reads_costs_no_memory(run: Run[None]) -> None:
    async def main() -> None:
        loop = asyncio.get_running_loop()
        blocked = asyncio.Event()

        async def pour(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
            block = bytes(100_000)
            written = 0
            try:
                while True:
                    writer.write(block)
                    written += len(block)
                    if writer.transport.get_write_buffer_size() > 65_536:
                        blocked.set()
                    await writer.drain()
            except ConnectionError:
                assert written < 20_000_000

        server, address = await serve(pour)
        before = memory_of_this_process()
        peer = socket.create_connection(address)
        await blocked.wait()
        for _ in range(100):
            await asyncio.sleep(0)
        assert memory_of_this_process() - before < 10_000_000
        peer.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, b"\1\0\0\0\0\0\0\0")
        peer.close()
        server.close()
        while any(s for s in loop._streams()):  # type: ignore[attr-defined]
            await asyncio.sleep(0)

    run(main())


def test_a_recycled_descriptor_gets_nobody_elses_bytes(run: Run[None]) -> None:
    async def main() -> None:
        loop = asyncio.get_running_loop()
        numbers = set()
        for n in range(300):
            ours, theirs = socket.socketpair()
            theirs.setblocking(False)
            transport, _ = await loop.create_connection(asyncio.Protocol, sock=ours)
            numbers.add(transport.get_extra_info("socket").fileno())
            transport.write(b"%d" % n)
            if n % 3:
                transport.close()
            else:
                await asyncio.sleep(0)
                transport.abort()
            assert await loop.sock_recv(theirs, 100) == b"%d" % n
            assert await loop.sock_recv(theirs, 100) == b""
            theirs.close()
        assert len(numbers) < 20, "descriptors were recycled, or this test shows nothing"

    run(main())


def test_a_storm_of_callbacks_still_lets_io_through(run: Run[None]) -> None:
    async def main() -> None:
        loop = asyncio.get_running_loop()
        storming = True

        def again() -> None:
            if storming:
                loop.call_soon(again)

        again()
        server, address = await serve()
        reader, writer = await asyncio.open_connection(*address)
        for n in range(50):
            writer.write(b"%03d" % n)
            assert await reader.readexactly(3) == b"%03d" % n
        fired = loop.create_future()
        loop.call_later(0.001, fired.set_result, None)
        await fired
        storming = False
        writer.close()
        await writer.wait_closed()
        server.close()

    run(main())


def test_signals_interrupt_the_wait_and_reach_their_handler(run: Run[None]) -> None:
    async def main() -> None:
        loop = asyncio.get_running_loop()
        got = asyncio.Event()
        loop.add_signal_handler(signal.SIGALRM, got.set)
        signal.setitimer(signal.ITIMER_REAL, 0.01)
        await got.wait()
        loop.remove_signal_handler(signal.SIGALRM)

    run(main())


def test_a_signal_handler_that_raises_ends_the_run_and_the_loop_stays_usable(
    new_loop: LoopFactory,
) -> None:
    class Alarm(KeyboardInterrupt):
        pass

    def ring(*_: object) -> None:
        raise Alarm

    loop = new_loop()
    old = signal.signal(signal.SIGALRM, ring)
    try:
        signal.setitimer(signal.ITIMER_REAL, 0.01)
        with pytest.raises(Alarm):
            loop.run_forever()
        assert loop.run_until_complete(asyncio.sleep(0, "well")) == "well"
    finally:
        signal.signal(signal.SIGALRM, old)
        loop.close()


def test_streams_survive_from_one_run_to_the_next(new_loop: LoopFactory) -> None:
    loop = new_loop()
    try:
        server, address = loop.run_until_complete(serve())
        reader, writer = loop.run_until_complete(asyncio.open_connection(*address))
        for n in range(5):
            writer.write(b"%d" % n)
            assert loop.run_until_complete(reader.readexactly(1)) == b"%d" % n
        writer.close()
        loop.run_until_complete(writer.wait_closed())
        server.close()
        loop.run_until_complete(server.wait_closed())
        loop.run_until_complete(leave_nothing())
    finally:
        loop.close()


def test_what_was_written_in_the_last_turn_is_sent(new_loop: LoopFactory) -> None:
    loop = new_loop()
    ours, theirs = socket.socketpair()
    theirs.settimeout(DEADLINE)

    async def main() -> asyncio.BaseTransport:
        transport, _ = await loop.create_connection(asyncio.Protocol, sock=ours)
        transport.write(b"farewell")
        return transport

    transport = loop.run_until_complete(main())
    assert theirs.recv(100) == b"farewell"
    transport.abort()  # type: ignore[attr-defined]
    loop.run_until_complete(asyncio.sleep(0))
    loop.close()
    theirs.close()


def test_a_loop_moves_to_another_thread_with_its_streams(new_loop: LoopFactory) -> None:
    loop = new_loop()
    server, address = loop.run_until_complete(serve())
    reader, writer = loop.run_until_complete(asyncio.open_connection(*address))
    answers: list[bytes] = []

    def elsewhere() -> None:
        async def main() -> None:
            writer.write(b"from the thread")
            answers.append(await reader.readexactly(15))
            server.close()
            writer.close()
            await writer.wait_closed()

        loop.run_until_complete(main())

    thread = threading.Thread(target=elsewhere)
    thread.start()
    thread.join(DEADLINE)
    assert answers == [b"from the thread"]
    loop.run_until_complete(leave_nothing())
    loop.close()


def in_child(work: Callable[[], None]) -> int:
    """Runs `work` in a child of fork(); its exit status."""
    pid = os.fork()
    if pid == 0:
        try:
            work()
        except BaseException:  # noqa: BLE001 - whatever it is, the parent gets to know
            sys.excepthook(*sys.exc_info())
            os._exit(1)
        os._exit(0)
    deadline = time.monotonic() + DEADLINE
    while True:
        done, status = os.waitpid(pid, os.WNOHANG)
        if done:
            return os.waitstatus_to_exitcode(status)
        if time.monotonic() > deadline:
            os.kill(pid, signal.SIGKILL)
        os.sched_yield()


def rings() -> list[str]:
    found = []
    for fd in os.listdir("/proc/self/fd"):
        try:
            target = os.readlink(f"/proc/self/fd/{fd}")
        except FileNotFoundError:
            continue  # listdir's own
        if "io_uring" in target:
            found.append(target)
    return found


def test_no_ring_lives_on_in_a_child_and_the_parent_goes_on(run: Run[None], backend: str) -> None:
    async def main() -> None:
        server, address = await serve()
        reader, writer = await asyncio.open_connection(*address)
        writer.write(b"before")
        assert await reader.readexactly(6) == b"before"
        assert len(rings()) == (1 if backend == "io_uring" else 0)
        writer.write(b"in between")  # not yet sent: the parent's to send, and only its

        def child() -> None:
            assert rings() == []

        assert in_child(child) == 0
        assert await reader.readexactly(10) == b"in between"
        writer.write(b"after")
        assert await reader.readexactly(5) == b"after"
        writer.close()
        await writer.wait_closed()
        server.close()

    run(main())


def test_a_child_can_run_loops_of_its_own(run: Run[None], new_loop: LoopFactory) -> None:
    async def main() -> None:
        server, address = await serve()

        def child() -> None:
            asyncio._set_running_loop(None)

            async def talk() -> None:
                reader, writer = await asyncio.open_connection(*address)
                writer.write(b"from the child")
                assert await reader.readexactly(14) == b"from the child"
                writer.close()
                await writer.wait_closed()

            with asyncio.Runner(loop_factory=new_loop) as runner:
                runner.run(talk())

        status = await asyncio.to_thread(in_child, child)
        assert status == 0
        server.close()

    run(main())


def test_a_loop_that_was_prepared_before_a_fork_serves_in_the_child(
    new_loop: LoopFactory,
) -> None:
    loop = new_loop()
    server, address = loop.run_until_complete(serve())

    def child() -> None:
        async def one_connection() -> None:
            reader, writer = await asyncio.open_connection(*address)
            writer.write(b"x")
            assert await reader.readexactly(1) == b"x"
            writer.close()

        loop.run_until_complete(one_connection())

    assert in_child(child) == 0
    server.close()
    loop.run_until_complete(server.wait_closed())
    loop.run_until_complete(leave_nothing())
    loop.close()


def test_running_out_of_descriptors_pauses_accepting_and_says_so(
    run: Run[None], monkeypatch: pytest.MonkeyPatch
) -> None:
    async def main() -> None:
        loop = asyncio.get_running_loop()
        reported = asyncio.Event()
        loop.set_exception_handler(lambda _, context: reported.set())
        # The ring takes the limit of the time when accepting starts.
        server, address = await serve(start_serving=False)
        clients = [socket.socket() for _ in range(3)]
        for client in clients:
            client.setblocking(False)
        highest = max(int(fd) for fd in os.listdir("/proc/self/fd")) + 1
        soft, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
        filler = []
        resource.setrlimit(resource.RLIMIT_NOFILE, (highest, hard))
        try:
            while True:
                try:
                    filler.append(os.dup(0))
                except OSError:
                    break
            await server.start_serving()
            for client in clients:
                await loop.sock_connect(client, address)
            await reported.wait()
        finally:
            resource.setrlimit(resource.RLIMIT_NOFILE, (soft, hard))
            for fd in filler:
                os.close(fd)
        for client in clients:  # accepted after the pause of a second
            await loop.sock_sendall(client, b"hello")
            assert await loop.sock_recv(client, 100) == b"hello"
            client.close()
        server.close()

    run(main())


@pytest.mark.slow
def test_ten_thousand_aborted_connections_leave_nothing_behind(run: Run[None]) -> None:
    async def main() -> None:
        loop = asyncio.get_running_loop()

        served = 0

        async def half_hearted(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
            nonlocal served
            try:
                while data := await reader.read(100):
                    writer.write(data * 50)
                    await writer.drain()
            except ConnectionError:
                pass
            finally:
                served += 1
                writer.close()

        server, address = await serve(half_hearted, backlog=4096)

        async def client(number: int) -> None:
            peer = socket.socket()
            peer.setblocking(False)
            await loop.sock_connect(peer, address)
            if number % 5:
                await loop.sock_sendall(peer, b"x" * (number % 300))
            if number % 3 == 0:
                await asyncio.sleep(0)
            if number % 2:
                peer.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, b"\1\0\0\0\0\0\0\0")
            peer.close()

        async def batch(count: int) -> None:
            for start in range(0, count, 100):
                await asyncio.gather(*(client(n) for n in range(start, start + 100)))
            while served < count or len(loop._streams()) > 1:  # type: ignore[attr-defined]
                await asyncio.sleep(0)

        await batch(2_000)
        served = 0
        files = len(os.listdir("/proc/self/fd"))
        before = memory_of_this_process()
        await batch(10_000)
        assert len(os.listdir("/proc/self/fd")) == files
        assert memory_of_this_process() - before < 3_000_000
        server.close()

    run(main())

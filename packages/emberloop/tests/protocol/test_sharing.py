"""Several servers that accept from one socket, and connections that get one more answer."""

from __future__ import annotations

import asyncio
import errno
import select
import socket
import ssl
import threading
from collections.abc import Iterator
from typing import Any

import pytest
import trustme
from ember.protocol.server import sharing
from ember.request import Request

from tests.support.app import App
from tests.support.server import DEADLINE, Client, ServeFixture
from tests.support.waiting import eventually

GET = "GET / HTTP/1.1\r\nHost: x\r\n\r\n"


class Counter:
    """A share whose owner decides."""

    def __init__(self) -> None:
        self.connections = 0
        self.full = False

    def changed(self, connections: int) -> None:
        self.connections = connections

    def over_share(self) -> bool:
        return self.full


class AtMostMean(Counter):
    """No more connections than the mean of all."""

    def __init__(self, everybody: list[AtMostMean]) -> None:
        super().__init__()
        self.everybody = everybody
        everybody.append(self)

    def over_share(self) -> bool:
        mean = sum(one.connections for one in self.everybody) / len(self.everybody)
        return self.connections > mean + 1


async def hello(request: Request) -> str:
    return "hello"


@pytest.fixture
def listening() -> Iterator[socket.socket]:
    with socket.create_server(("127.0.0.1", 0), backlog=512) as sock:
        yield sock


def connect(sock: socket.socket) -> Client:
    client = Client(socket.create_connection(sock.getsockname()))
    client.send(GET)
    return client


@pytest.fixture
def patient(monkeypatch: pytest.MonkeyPatch) -> None:
    """Nobody takes more than its share because the others are slow."""
    monkeypatch.setattr(sharing, "TAKEOVER_DELAY", 60.0)


@pytest.mark.usefixtures("patient")
def test_connections_are_spread_evenly(serve: ServeFixture, listening: socket.socket) -> None:
    everybody: list[AtMostMean] = []
    for _ in range(3):
        serve(App({"/": hello}), sockets=[listening.dup()], share=AtMostMean(everybody))
    clients = [connect(listening) for _ in range(90)]
    for client in clients:
        assert client.recv_response().body == b"hello"
    counts = [one.connections for one in everybody]
    assert sum(counts) == 90
    assert max(counts) / min(counts) < 1.3, counts
    for client in clients:
        client.close()
    eventually(lambda: sum(one.connections for one in everybody) == 0)


@pytest.mark.usefixtures("patient")
@pytest.mark.parametrize("loop", [None, "asyncio", "uvloop"])
def test_who_has_enough_leaves_the_next_to_others(
    serve: ServeFixture,
    listening: socket.socket,
    monkeypatch: pytest.MonkeyPatch,
    loop: str | None,
) -> None:
    if loop is not None:
        monkeypatch.setenv("EMBER_LOOP", loop)
    full, free = Counter(), Counter()
    full.full = True
    for share in (full, free):
        serve(App({"/": hello}), sockets=[listening.dup()], share=share)
    clients = [connect(listening) for _ in range(16)]
    for client in clients:
        client.recv_response()
    assert full.connections <= 1  # it asks itself when it takes one
    assert full.connections + free.connections == 16
    for client in clients:
        client.close()


def test_who_has_enough_takes_what_nobody_else_takes(
    serve: ServeFixture, listening: socket.socket
) -> None:
    alone = Counter()
    alone.full = True
    serve(App({"/": hello}), sockets=[listening.dup()], share=alone)
    clients = [connect(listening) for _ in range(20)]
    for client in clients:
        assert client.recv_response().body == b"hello"
        client.close()


def test_a_connection_is_taken_whose_process_was_woken_and_died(
    serve: ServeFixture, listening: socket.socket
) -> None:
    end, ended = socket.socketpair()
    with end, ended, select.epoll() as dying:
        # First in the queue: the kernel wakes it, and no other that asked to be woken alone.
        dying.register(listening, select.EPOLLIN | select.EPOLLEXCLUSIVE)
        dying.register(ended, select.EPOLLIN)
        woken = threading.Thread(target=dying.poll)
        woken.start()
        serve(App({"/": hello}), sockets=[listening.dup()], share=Counter())
        for _ in range(2):
            client = connect(listening)
            assert client.recv_response().body == b"hello"
            client.close()
        end.send(b"x")
        woken.join(DEADLINE)
        assert not woken.is_alive()


def test_tls_on_a_shared_socket(serve: ServeFixture, listening: socket.socket) -> None:
    authority = trustme.CA()
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    authority.issue_cert("localhost").configure_cert(context)
    trusting = ssl.create_default_context()
    authority.configure_trust(trusting)
    share = Counter()
    running = serve(App({"/": hello}), sockets=[listening.dup()], share=share, ssl=context)
    with socket.create_connection(listening.getsockname()) as plain:
        plain.sendall(b"no handshake at all\r\n\r\n")
        while plain.recv(4096):
            pass
    assert running.request("GET", context=trusting).body == b"hello"


def test_a_connection_counts_from_before_its_handshake(
    serve: ServeFixture, listening: socket.socket
) -> None:
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    trustme.CA().issue_cert("localhost").configure_cert(context)
    share = Counter()
    serve(App({"/": hello}), sockets=[listening.dup()], share=share, ssl=context)
    with socket.create_connection(listening.getsockname()):
        eventually(lambda: share.connections == 1)
    eventually(lambda: share.connections == 0)


def test_what_waits_in_the_queue_survives_a_server_that_leaves(
    serve: ServeFixture, listening: socket.socket
) -> None:
    first = serve(App({"/": hello}), sockets=[listening.dup()], share=Counter())

    async def leave() -> None:
        first.server.stop_accepting()

    first.call(leave())
    clients = [connect(listening) for _ in range(10)]
    serve(App({"/": hello}), sockets=[listening.dup()], share=Counter())
    for client in clients:
        assert client.recv_response().body == b"hello"
        client.close()


def test_a_retiring_server_gives_every_connection_one_more_answer(serve: ServeFixture) -> None:
    inside, go_on = asyncio.Event(), asyncio.Event()

    async def slow(request: Request) -> str:
        inside.set()
        await go_on.wait()
        return "slow"

    running = serve(App({"/": hello, "/slow": slow}))
    with running.connect() as idle, running.connect() as busy, running.connect() as new:
        idle.send(GET)
        assert idle.recv_response().body == b"hello"
        busy.send(GET.replace("/", "/slow", 1))
        running.call(inside.wait())

        async def retire() -> bool:
            running.server.retire()
            go_on.set()
            return await running.server.drained(0.0)

        assert running.call(retire()) is False
        for client, body in ((busy, b"slow"), (idle, b"hello"), (new, b"hello")):
            if client is not busy:
                client.send(GET)
            answer = client.recv_response()
            assert (answer.body, answer.header("Connection")) == (body, "close")
            assert client.recv_until_close() == b""

        assert running.call(running.server.drained(10)) is True
    with running.connect() as late:  # it accepts until it is told to stop
        late.send(GET)
        assert late.recv_response().header("Connection") == "close"


class Listening:
    """A listener that does nothing, and says whether it accepts."""

    accepts = True

    def pause(self) -> None:
        self.accepts = False

    def resume(self) -> None:
        self.accepts = True

    def look(self) -> None:
        pass


@pytest.mark.parametrize("credit", [1, 2, 3])
def test_nothing_comes_after_the_turns_are_closed(
    listening: socket.socket, monkeypatch: pytest.MonkeyPatch, credit: int
) -> None:
    """Whatever it was waiting for: it had taken what others did not, and would look again."""
    monkeypatch.setattr(sharing, "TAKEOVER_DELAY", 0.02)

    async def main() -> list[str]:
        loop = asyncio.get_running_loop()
        errors: list[str] = []
        loop.set_exception_handler(lambda _, context: errors.append(str(context)))
        share, listener = Counter(), Listening()
        share.full = True
        turns = sharing.AcceptBalancer(loop, listening, listener, share)
        turns.changed()
        assert not listener.accepts
        with socket.create_connection(listening.getsockname()):
            for _ in range(credit):
                async with asyncio.timeout(DEADLINE):
                    while not listener.accepts:
                        await asyncio.sleep(0.001)
                while listener.accepts:
                    turns.changed()  # one more was accepted
                await asyncio.sleep(0.003)
            turns.close()
            await asyncio.sleep(0.1)
        return errors

    assert asyncio.run(main()) == []


@pytest.mark.parametrize("paused", [False, True], ids=["", "paused"])
def test_a_reader_listener_without_descriptors_tries_again_once(
    listening: socket.socket, monkeypatch: pytest.MonkeyPatch, paused: bool
) -> None:
    """Not while its owner has paused it, and not after it was closed."""
    monkeypatch.setattr(sharing, "RETRY_DELAY", 0.05)

    class Full(socket.socket):
        asked = 0

        def accept(self) -> tuple[socket.socket, object]:
            Full.asked += 1
            raise OSError(errno.EMFILE, "no descriptor left")

    async def main() -> list[str]:
        loop = asyncio.get_running_loop()
        errors: list[str] = []
        loop.set_exception_handler(lambda _, context: errors.append(context["message"]))
        sock = Full(fileno=listening.dup().detach())
        sock.setblocking(False)
        unused: Any = None
        listener = sharing.ReaderListener(loop, sock, unused, unused, 1, unused)
        with socket.create_connection(listening.getsockname()):
            async with asyncio.timeout(DEADLINE):
                while Full.asked < 2:
                    await asyncio.sleep(0.001)
            listener.pause()
            if not paused:
                listener.resume()  # no room yet: it does not ask before its time
            await asyncio.sleep(0.2)
            assert (Full.asked > 2) is not paused
            listener.close()
            before = Full.asked
            await asyncio.sleep(0.1)
            assert Full.asked == before
        return errors

    assert set(asyncio.run(main())) == {"socket.accept() out of system resource"}

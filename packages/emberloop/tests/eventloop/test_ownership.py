"""What a kernel event names lives until the next turn begins, whatever callbacks do before it."""

from __future__ import annotations

import asyncio
import contextlib
import gc
import socket
from collections.abc import Callable
from typing import Any

import pytest
from ember.exceptions import HTTPError
from ember.limits import ServerLimits
from ember.protocol import serve
from ember.response import Response

from .conftest import Run

#: What is connected, heard and closed in one batch of events.
OTHERS = 6


class App:
    """The least that can be served."""

    limits = ServerLimits()

    def dispatch(self, request: object) -> str:
        return "served"

    def into_response(self, request: object, value: object) -> Response:
        raise AssertionError(value)

    def on_error(self, request: object, error: BaseException) -> Response:
        raise HTTPError(500) from error


class Ends(asyncio.Protocol):
    """Calls `act` when something comes, once."""

    def __init__(self, act: Callable[[], None]) -> None:
        self.act = act
        self.lost = 0

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        self.transport = transport
        transports.append(transport)

    def data_received(self, data: bytes) -> None:
        act, self.act = self.act, lambda: None
        act()

    def connection_lost(self, exc: Exception | None) -> None:
        self.lost += 1


transports: list[Any] = []


def churn() -> list[Any]:
    """Free what is unreachable, and put something else in its place."""
    gc.collect()
    return [bytearray(size) for size in range(16, 2_000, 8)]


def close_all(servers: list[asyncio.Server]) -> None:
    for transport in transports:
        transport.close()
    for server in servers:
        server.close()


def abort_all(servers: list[asyncio.Server]) -> None:
    for transport in transports:
        transport.abort()
    for server in servers:
        server.close()


def close_servers(servers: list[asyncio.Server]) -> None:
    for server in servers:
        server.close()


def raises(servers: list[asyncio.Server]) -> None:
    for server in servers:
        server.close()
    raise ZeroDivisionError("on purpose")


@pytest.mark.parametrize("act", [close_all, abort_all, close_servers, raises])
def test_a_callback_may_end_whatever_else_is_in_its_batch(
    run: Run[None], act: Callable[[list[asyncio.Server]], None]
) -> None:
    async def main() -> None:
        loop = asyncio.get_running_loop()
        loop.set_exception_handler(lambda loop, context: None)
        transports.clear()
        kept: list[Any] = []
        servers: list[asyncio.Server] = []
        acted = loop.create_future()

        def end() -> None:
            if not acted.done():
                acted.set_result(None)
                try:
                    act(servers)
                finally:
                    kept.append(churn())

        servers += [await loop.create_server(lambda: Ends(end), "127.0.0.1", 0) for _ in range(3)]
        clients = [socket.create_connection(servers[0].sockets[0].getsockname())]
        clients += [
            socket.create_connection(servers[0].sockets[0].getsockname()) for _ in range(OTHERS)
        ]
        while len(transports) < len(clients):
            await asyncio.sleep(0)
        # All of it is ready before the loop looks again: data of every client, and a connection to
        # every listener.
        for client in clients:
            client.send(b"x")
        for server in servers:
            late = socket.socket()
            late.setblocking(False)
            with contextlib.suppress(BlockingIOError):
                late.connect(server.sockets[0].getsockname())
            clients.append(late)
        await acted
        for _ in range(20):
            await asyncio.sleep(0)
        kept.append(churn())
        for client in clients:
            client.close()
        close_all(servers)
        answered = loop.create_future()
        loop.call_soon(answered.set_result, "the loop lives")
        assert await answered == "the loop lives"

    run(main())


@pytest.mark.parametrize("error", [RuntimeError, MemoryError, BaseExceptionGroup])
def test_a_connection_whose_set_up_fails_is_ended(
    run: Run[None], monkeypatch: pytest.MonkeyPatch, error: type[BaseException]
) -> None:
    """Between accept and the first byte anything may fail; what is left has no owner."""
    fault = error("no", [ValueError()]) if error is BaseExceptionGroup else error("no")

    async def main() -> None:
        loop = asyncio.get_running_loop()
        reported: list[Any] = []
        loop.set_exception_handler(lambda loop, context: reported.append(context["exception"]))
        server: Any = await serve(App(), port=0)
        opened = server._opened

        def fail(connection: Any) -> None:
            monkeypatch.setattr(server, "_opened", opened)
            raise fault

        monkeypatch.setattr(server, "_opened", fail)
        reader, writer = await asyncio.open_connection(*server.addresses[0])
        with contextlib.suppress(ConnectionError):
            writer.write(b"GET / HTTP/1.1\r\nHost: x\r\n\r\n")
            assert await reader.read() == b""
        writer.close()
        assert reported == [fault]
        assert server.connections == 0
        reader, writer = await asyncio.open_connection(*server.addresses[0])
        writer.write(b"GET / HTTP/1.1\r\nHost: x\r\nConnection: close\r\n\r\n")
        assert (await reader.read()).endswith(b"served")
        writer.close()
        await server.close(1)

    run(main())


class Dying:
    """Schedules when the garbage collector finds it."""

    def __init__(self, schedule: Callable[[], object]) -> None:
        self.me = self
        self.schedule = schedule

    def __del__(self) -> None:
        self.schedule()


@pytest.mark.parametrize("threshold", range(1, 24))
def test_a_finalizer_may_schedule_while_the_ready_queue_grows(
    run: Run[None], threshold: int
) -> None:
    async def main() -> None:
        loop: Any = asyncio.get_running_loop()
        ran: list[object] = []
        before = gc.get_threshold()
        gc.collect()
        gc.disable()
        try:
            room = 64 - len(loop._ready)
            for number in range(room):
                loop.call_soon(ran.append, number)
            spare = [[] for _ in range(300)]  # type: ignore[var-annotated]
            gc.collect()
            Dying(lambda: loop.call_soon(ran.append, "finalizer"))
            gc.set_threshold(threshold, 1_000, 1_000)
            gc.enable()
            loop.call_soon(ran.append, "last")
        finally:
            gc.disable()
            gc.set_threshold(*before)
            gc.enable()
        del spare
        gc.collect()
        await asyncio.sleep(0)
        await asyncio.sleep(0)
        assert ran.count("last") == 1
        assert ran.count("finalizer") == 1
        assert [entry for entry in ran if isinstance(entry, int)] == list(range(room))

    run(main())


def test_no_served_loop_is_kept() -> None:
    """Nothing that served holds its loop when both are over."""
    from ember.eventloop import Loop, new_event_loop

    async def main() -> None:
        server = await serve(App(), port=0)
        reader, writer = await asyncio.open_connection(*server.addresses[0])
        writer.write(b"GET / HTTP/1.1\r\nHost: x\r\nConnection: close\r\n\r\n")
        assert (await reader.read()).endswith(b"served")
        writer.close()
        await server.close(1)

    def alive() -> int:
        gc.collect()
        return sum(isinstance(thing, Loop) for thing in gc.get_objects())

    before = alive()
    for _ in range(5):
        with asyncio.Runner(loop_factory=new_event_loop) as runner:
            runner.run(main())
    del runner
    assert alive() <= before

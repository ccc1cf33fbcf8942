"""`serve` and `Server`: addresses, sockets, TLS, draining."""

from __future__ import annotations

import asyncio
import errno
import os
import socket
import threading
import time
from functools import partial
from pathlib import Path

import pytest
from ember.limits import ServerLimits
from ember.protocol import Server
from ember.request import Request
from ember.response import StreamingResponse

from tests.support.app import App
from tests.support.server import ServeFixture
from tests.support.waiting import eventually, tries

GET = "GET {} HTTP/1.1\r\nHost: x\r\n\r\n"


async def client_of(request: Request) -> str:
    return f"{request.client!r} {request.scheme}"


async def echo(request: Request) -> bytes:
    return await request.body()


def has_a_request(server: Server) -> bool:
    return server.requests == 1


def test_a_free_port_is_found_and_told(serve: ServeFixture) -> None:
    running = serve(App({"/": client_of}), port=0)
    [address] = running.server.addresses
    assert isinstance(address, tuple)
    host, port = address
    assert host == "127.0.0.1"
    assert port > 0
    with running.connect() as client:
        client.send(GET.format("/"))
        name = client.sock.getsockname()
        assert client.recv_response().body.decode() == f"{name!r} http"


def test_ipv6(serve: ServeFixture) -> None:
    if not socket.has_ipv6:
        pytest.skip("this machine has no IPv6")
    running = serve(App({"/": client_of}), host="::1")
    with running.connect() as client:
        client.send(GET.format("/"))
        assert client.recv_response().body.startswith(b"('::1', ")


def test_every_address_means_both_families_on_one_port(serve: ServeFixture) -> None:
    running = serve(App({"/": client_of}), host=None)
    ports = {address[1] for address in running.server.addresses}
    assert len(ports) == 1
    families = {sock.family for sock in running.server.sockets}
    assert socket.AF_INET in families
    for family, host in ((socket.AF_INET, "127.0.0.1"), (socket.AF_INET6, "::1")):
        if family in families:
            with socket.socket(family) as sock:
                sock.settimeout(10)
                sock.connect((host, running.port))


def test_a_unix_socket(serve: ServeFixture, tmp_path: Path) -> None:
    path = str(tmp_path / "ember.sock")
    running = serve(App({"/": client_of}), uds=path)
    assert running.server.addresses == [path]
    with running.connect() as client:
        client.send(GET.format("/"))
        assert client.recv_response().body == b"None http"
    running.stop()
    assert not os.path.exists(path), "the path is taken away with the server"


def test_a_unix_socket_left_behind_is_replaced(serve: ServeFixture, tmp_path: Path) -> None:
    path = str(tmp_path / "ember.sock")
    with socket.socket(socket.AF_UNIX) as stale:
        stale.bind(path)
    running = serve(App({"/": client_of}), uds=path)
    with running.connect() as client:
        client.send(GET.format("/"))
        assert client.recv_response().status == 200


def test_a_unix_socket_in_use_is_an_error(serve: ServeFixture, tmp_path: Path) -> None:
    path = str(tmp_path / "ember.sock")
    running = serve(App({"/": client_of}), uds=path)
    with pytest.raises(OSError, match=f"{path} is already in use") as caught:
        serve(App(), uds=path)
    assert caught.value.errno == errno.EADDRINUSE
    with running.connect() as client:
        client.send(GET.format("/"))
        assert client.recv_response().status == 200, "the first one goes on"


def test_a_taken_port_is_an_error_that_names_it(serve: ServeFixture) -> None:
    running = serve(App())
    with pytest.raises(OSError, match=rf"127\.0\.0\.1:{running.port} is already in use") as caught:
        serve(App(), port=running.port)
    assert caught.value.errno == errno.EADDRINUSE


def test_an_address_of_another_machine_is_an_error(serve: ServeFixture) -> None:
    with pytest.raises(OSError, match=r"192\.0\.2\.1:0 is not an address of this machine"):
        serve(App(), host="192.0.2.1")


@pytest.mark.parametrize("listening", [False, True])
def test_a_socket_that_was_given(serve: ServeFixture, listening: bool) -> None:
    sock = socket.socket()
    sock.bind(("127.0.0.1", 0))
    port = sock.getsockname()[1]
    if listening:
        sock.listen()
    running = serve(App({"/": client_of}), sock=sock)
    assert running.port == port
    assert running.get("/").status == 200


def test_connections_and_requests_are_counted(serve: ServeFixture) -> None:
    running = serve(App())
    with running.connect() as first, running.connect() as second:
        for client in (first, second, second):
            client.send(GET.format("/"))
            client.recv_response()
        assert running.server.connections == 2
        assert running.server.requests == 3
    eventually(lambda: running.server.connections == 0)
    assert running.server.requests == 3


def test_an_idle_server_closes_at_once(serve: ServeFixture) -> None:
    for bound in tries():
        running = serve(App())
        with running.connect() as client:
            client.send(GET.format("/"))
            client.recv_response()
            start = time.monotonic()
            running.call(running.server.close())
            bound(time.monotonic() - start, 0.3)
            assert client.recv_until_close() == b""
        with pytest.raises(ConnectionRefusedError):
            running.connect()


def test_a_request_in_flight_is_finished_and_its_connection_closed(serve: ServeFixture) -> None:
    release = asyncio.Event()

    async def slow(request: Request) -> str:
        await release.wait()
        return "done"

    running = serve(App({"/": slow}))
    with running.connect() as client:
        client.send(GET.format("/") * 2)
        eventually(lambda: running.server.requests == 1)
        closing = asyncio.run_coroutine_threadsafe(running.server.close(5), running.loop)
        assert_refused(running.port)
        assert not closing.done()
        running.loop.call_soon_threadsafe(release.set)
        answer = client.recv_response()
        assert (answer.body, answer.header("connection")) == (b"done", "close")
        assert client.recv_until_close() == b"", "what was pipelined behind it is not begun"
        closing.result(5)


def assert_refused(port: int) -> None:
    def refused() -> bool:
        try:
            socket.create_connection(("127.0.0.1", port), 1).close()
        except ConnectionRefusedError:
            return True
        return False

    eventually(refused)


def test_what_is_in_flight_after_the_timeout_is_aborted(serve: ServeFixture) -> None:
    cancelled: list[bool] = []

    async def endless(request: Request) -> str:
        try:
            await asyncio.sleep(60)
        finally:
            cancelled.append(True)
        return "never"

    for bound in tries():
        cancelled.clear()
        running = serve(App({"/": endless}))
        with running.connect() as client:
            client.send(GET.format("/"))
            eventually(partial(has_a_request, running.server))
            start = time.monotonic()
            running.call(running.server.close(0.2))
            took = time.monotonic() - start
            assert took > 0.1
            bound(took, 2)
            with pytest.raises(ConnectionResetError):
                client.recv_until_close()
        eventually(lambda: cancelled)


def test_the_shutdown_timeout_of_the_limits_is_the_default(serve: ServeFixture) -> None:
    async def endless(request: Request) -> str:
        await asyncio.sleep(60)
        return "never"

    for bound in tries():
        running = serve(App({"/": endless}, limits=ServerLimits(shutdown_timeout=0.2)))
        with running.connect() as client:
            client.send(GET.format("/"))
            eventually(partial(has_a_request, running.server))
            start = time.monotonic()
            running.call(running.server.close())
            bound(time.monotonic() - start, 2)


def test_wait_closed_ends_with_the_last_connection(serve: ServeFixture) -> None:
    release = asyncio.Event()

    async def stream(request: Request) -> StreamingResponse:
        async def pieces():  # type: ignore[no-untyped-def]
            yield b"first"
            await release.wait()
            yield b"last"

        return StreamingResponse(pieces())

    running = serve(App({"/": stream}))
    with running.connect() as client:
        client.send(GET.format("/"))
        client.recv_head()
        client.recv_chunk()
        waiting = asyncio.run_coroutine_threadsafe(running.server.wait_closed(), running.loop)
        closing = asyncio.run_coroutine_threadsafe(running.server.close(5), running.loop)
        threading.Event().wait(0.05)
        assert not waiting.done()
        running.loop.call_soon_threadsafe(release.set)
        assert client.recv_chunk() == b"last"
        assert client.recv_chunk() == b""
        closing.result(5)
        waiting.result(5)


def test_abort_resets_everything_now(serve: ServeFixture) -> None:
    async def endless(request: Request) -> str:
        await asyncio.sleep(60)
        return "never"

    running = serve(App({"/": endless}))
    with running.connect() as client:
        client.send(GET.format("/"))
        eventually(lambda: running.server.requests == 1)
        running.loop.call_soon_threadsafe(running.server.abort)
        with pytest.raises(ConnectionResetError):
            client.recv_until_close()
    eventually(lambda: running.server.connections == 0)

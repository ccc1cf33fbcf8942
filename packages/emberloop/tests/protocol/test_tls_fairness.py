"""A client that sends very small TLS records does not keep the others waiting."""

from __future__ import annotations

import asyncio
import re
import socket
import struct
import threading
import time
from pathlib import Path

import pytest
from ember.protocol.server.tls import ServerTLS
from ember.request import Request

from tests.support.app import App
from tests.support.server import ServeFixture
from tests.support.tls import Authority, Wire
from tests.support.waiting import eventually

SIZE = 60_000


@pytest.fixture
def everywhere(request: pytest.FixtureRequest, monkeypatch: pytest.MonkeyPatch) -> None:
    """The loop of this run, and stock asyncio's, where TLS is a layer over its transports."""
    if request.param:
        monkeypatch.setenv("EMBER_LOOP", request.param)


on_every_loop = pytest.mark.parametrize("everywhere", ["", "asyncio"], indirect=True)


def in_drips(client: Wire, data: bytes) -> bytes:
    """`data`, a record for each byte."""
    return b"".join([client.sealed(bytes((byte,))) for byte in data])


def read_until(client: Wire, mark: bytes) -> bytes:
    """What the server says, up to `mark`."""
    found = b""
    while mark not in found:
        received = client.receive()
        assert received, found
        found += received
    return found


@on_every_loop
@pytest.mark.usefixtures("everywhere")
@pytest.mark.parametrize("where", ["head", "body"])
def test_others_have_their_turn_while_small_records_are_opened(
    serve: ServeFixture, tmp_path: Path, where: str
) -> None:
    authority = Authority(tmp_path)

    async def size(request: Request) -> str:
        return f"{len(await request.body())} {len(request.headers.get('x', ''))} end"

    running = serve(App({"/": size}), ssl=ServerTLS(*authority.pair("localhost")))
    if where == "head":
        data = b"GET / HTTP/1.1\r\nHost: x\r\nX: " + b"x" * SIZE + b"\r\n\r\n"
    else:
        data = b"POST / HTTP/1.1\r\nHost: x\r\nContent-Length: %d\r\n\r\n" % SIZE + b"x" * SIZE

    async def turns(until: threading.Event) -> list[float]:
        # What the loop works in each turn: what others take from its thread is not counted.
        took = []
        while not until.is_set():
            began = time.thread_time()
            await asyncio.sleep(0)
            took.append(time.thread_time() - began)
        return took

    shares: list[float] = []
    for _ in range(3):
        client = Wire(running, authority.client())
        client.handshake()
        sealed = in_drips(client, data)
        over = threading.Event()
        measured = asyncio.run_coroutine_threadsafe(turns(over), running.loop)
        client.send(sealed)
        answer = read_until(client, b"end")
        over.set()
        assert (b"%d 0 end" % SIZE if where == "body" else b"0 %d end" % SIZE) in answer
        took = measured.result()
        client.sock.close()
        shares.append(max(took) / sum(took))
        if shares[-1] < 0.03:
            return
    raise AssertionError(f"the longest turn had these shares of all the work: {shares}")


@on_every_loop
@pytest.mark.usefixtures("everywhere")
def test_what_comes_behind_small_records_is_found_there(
    serve: ServeFixture, tmp_path: Path
) -> None:
    """More than is kept at once, requests behind each other, the goodbye and the end."""
    authority = Authority(tmp_path)

    async def size(request: Request) -> str:
        return f"{request.raw_path.decode()} {len(await request.body())} end"

    running = serve(App({"*": size}), ssl=ServerTLS(*authority.pair("localhost")))
    client = Wire(running, authority.client())
    client.handshake()
    post = b"POST /%d HTTP/1.1\r\nHost: x\r\nContent-Length: 20000\r\n\r\n"
    data = b"".join(post % n + b"x" * 20_000 for n in range(5))
    client.send(in_drips(client, data) + client.goodbye())
    client.sock.shutdown(socket.SHUT_WR)
    answers = b""
    while part := client.receive():
        answers += part
    found = re.findall(rb"/\d \d+ end", answers)
    assert found == [b"/%d 20000 end" % n for n in range(5)]
    eventually(lambda: running.server.connections == 0)


@on_every_loop
@pytest.mark.usefixtures("everywhere")
def test_who_leaves_behind_small_records_is_gone(serve: ServeFixture, tmp_path: Path) -> None:
    authority = Authority(tmp_path)
    running = serve(App({}), ssl=ServerTLS(*authority.pair("localhost")))
    clients = [Wire(running, authority.client()) for _ in range(2)]
    for client in clients:
        client.handshake()
        client.send(in_drips(client, b"GET / HTTP/1.1\r\nHost: x\r\nX: " + b"x" * 20_000))
    clients[0].sock.close()
    clients[1].sock.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))
    clients[1].sock.close()
    eventually(lambda: running.server.connections == 0)

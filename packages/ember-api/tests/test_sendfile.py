"""Large files over real sockets: sent by the kernel, and what goes wrong on the way (P7)."""

from __future__ import annotations

import asyncio
import contextlib
import gzip
import hashlib
import logging
import os
import socket
import ssl
from pathlib import Path
from typing import Any

import pytest
import trustme
from ember import Ember, FileResponse
from ember.limits import ServerLimits
from ember.protocol import MemoryConnection
from ember.protocol.server.openfile import CHUNK, WINDOW, OpenFile
from ember.protocol.server.sendfile import bytes_taken

from tests.support.server import Running, ServeFixture
from tests.support.waiting import eventually

MIB = 1 << 20
GET = b"GET / HTTP/1.1\r\nHost: a\r\n\r\n"
LAST = b"GET / HTTP/1.1\r\nHost: a\r\nConnection: close\r\n\r\n"
HELLO = b"GET /hello HTTP/1.1\r\nHost: a\r\n\r\n"

#: What no socket buffers hold: a reader that stops leaves the server in the middle of it.
LARGE = 64 * MIB + 17


@pytest.fixture(params=["chosen", "asyncio"])
def way(request: pytest.FixtureRequest, monkeypatch: pytest.MonkeyPatch) -> str:
    """On the loop that the run is about, and over asyncio's own transports."""
    if request.param == "asyncio":
        monkeypatch.setenv("EMBER_LOOP", "asyncio")
    return str(request.param)


@pytest.fixture(scope="session")
def large(tmp_path_factory: pytest.TempPathFactory) -> tuple[Path, str]:
    """A file of LARGE bytes that do not repeat, and its hash."""
    path = tmp_path_factory.mktemp("large") / "large.bin"
    digest = hashlib.sha256()
    with path.open("wb") as file:
        block = os.urandom(MIB)
        for number in range(LARGE // MIB):
            data = number.to_bytes(8, "big") + block[8:]
            file.write(data)
            digest.update(data)
        file.write(block[: LARGE % MIB])
        digest.update(block[: LARGE % MIB])
    return path, digest.hexdigest()


@pytest.fixture
def sparse(tmp_path: Path) -> Path:
    """A file of LARGE bytes that costs nothing to make."""
    path = tmp_path / "sparse.bin"
    path.touch()
    os.truncate(path, LARGE)
    return path


def application(path: Path, **options: Any) -> Ember:
    app = Ember(**options)

    @app.get("/")
    async def download() -> FileResponse:
        return FileResponse(path)

    @app.get("/hello")
    async def hello() -> str:
        return "hello"

    return app


def uses_the_kernel(running: Running) -> bool:
    """Everywhere but on uvloop, which has no sendfile."""
    return "uvloop" not in type(running.loop).__module__


def descriptors() -> int:
    """How many sockets and files are open; loops make what they wait with when they need it."""
    return sum(not name.startswith("anon_inode:") for name in open_now())


def open_now() -> list[str]:
    names = []
    for number in os.listdir("/proc/self/fd"):
        with contextlib.suppress(OSError):  # the one that lists them
            names.append(os.readlink(f"/proc/self/fd/{number}"))
    return names


def test_a_large_file_arrives_whole_and_the_connection_goes_on(
    way: str, serve: ServeFixture, large: tuple[Path, str]
) -> None:
    path, expected = large
    running = serve(application(path))
    with running.connect() as client:
        client.send(GET)
        head = client.recv_head()
        assert head.header("content-length") == str(LARGE)
        digest, left = hashlib.sha256(), LARGE
        while left:
            data = client.recv_exactly(min(left, CHUNK))
            digest.update(data)
            left -= len(data)
        assert digest.hexdigest() == expected
        client.send(HELLO)
        assert client.recv_response().body == b"hello"


def test_the_kernel_sends_it_where_the_loop_can(
    way: str, serve: ServeFixture, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    path = tmp_path / "f"
    data = os.urandom(WINDOW + 5)
    path.write_bytes(data)
    reads: list[int] = []
    read = OpenFile.read

    async def watched(self: OpenFile, size: int, offset: int) -> bytes:
        reads.append(offset)
        return await read(self, size, offset)

    monkeypatch.setattr(OpenFile, "read", watched)
    running = serve(application(path))
    assert running.get().body == data
    assert bool(reads) is not uses_the_kernel(running)


def test_requests_behind_a_file_wait_for_its_end(
    way: str, serve: ServeFixture, tmp_path: Path
) -> None:
    path = tmp_path / "f"
    data = os.urandom(3 * WINDOW + 1)
    path.write_bytes(data)
    running = serve(application(path))
    with running.connect(receive_buffer=65536) as client:
        client.send(HELLO + GET + HELLO + GET.replace(b"GET", b"HEAD") + GET + HELLO)
        for method, body in (
            ("GET", b"hello"),
            ("GET", data),
            ("GET", b"hello"),
            ("HEAD", b""),
            ("GET", data),
            ("GET", b"hello"),
        ):
            assert client.recv_response(method).body == body


def test_parts_of_a_large_file(way: str, serve: ServeFixture, large: tuple[Path, str]) -> None:
    path, _ = large
    running = serve(application(path))
    with path.open("rb") as file:
        content = file.read(8 * MIB)
    whole = running.get("/", {"Range": f"bytes=1-{5 * MIB}"})
    assert (whole.status, whole.body) == (206, content[1 : 5 * MIB + 1])
    spans = [(0, 3 * MIB), (3 * MIB + 1, 3 * MIB + 2), (5 * MIB, 8 * MIB)]
    asked = ",".join(f"{first}-{end - 1}" for first, end in spans)
    parts = running.get("/", {"Range": f"bytes={asked}"})
    assert parts.header("content-length") == str(len(parts.body))
    boundary = (parts.header("content-type") or "").partition("boundary=")[2].encode()
    found = (b"\r\n" + parts.body).split(b"\r\n--" + boundary)[1:-1]
    assert [part.partition(b"\r\n\r\n")[2] for part in found] == [content[a:b] for a, b in spans]


def test_http_1_0_gets_the_file_and_the_end(way: str, serve: ServeFixture, tmp_path: Path) -> None:
    path = tmp_path / "f"
    data = os.urandom(WINDOW * 2 + 1)
    path.write_bytes(data)
    with serve(application(path)).connect() as client:
        client.send(b"GET / HTTP/1.0\r\n\r\n")
        assert client.recv_until_close().endswith(data)


def begin(running: Running) -> Any:
    """A client that has seen the head of the large file, and does not read on."""
    client = running.connect(receive_buffer=65536)
    client.send(GET)
    assert client.recv_head().status == 200
    return client


def test_a_file_that_becomes_shorter_breaks_the_connection(
    way: str, serve: ServeFixture, sparse: Path, caplog: pytest.LogCaptureFixture
) -> None:
    running = serve(application(sparse))
    with caplog.at_level(logging.ERROR, "ember.protocol"), begin(running) as client:
        os.truncate(sparse, 0)
        received = 0
        # A reset, or the end before the announced length: a client sees both.
        with contextlib.suppress(ConnectionError):
            while data := client.sock.recv(CHUNK):
                received += len(data)
        assert received < LARGE
        eventually(lambda: caplog.records)
    assert "broke in the middle" in caplog.text
    assert "became shorter" in caplog.text
    # Nobody else is concerned.
    assert running.get("/hello").body == b"hello"


def test_a_client_that_leaves_in_the_middle_leaves_nothing_behind(
    way: str, serve: ServeFixture, sparse: Path
) -> None:
    running = serve(application(sparse))
    running.get("/hello")
    eventually(lambda: running.server.connections == 0)
    before = descriptors()
    clients = [begin(running) for _ in range(4)]
    assert open_now().count(str(sparse)) == len(clients)
    for number, client in enumerate(clients):
        client.reset() if number % 2 else client.close()
    eventually(lambda: running.server.connections == 0)
    eventually(lambda: descriptors() <= before)


def test_a_thousand_broken_downloads_leave_no_descriptor(serve: ServeFixture, sparse: Path) -> None:
    running = serve(application(sparse))
    running.get("/hello")
    eventually(lambda: running.server.connections == 0)
    before = descriptors()
    for number in range(1000):
        with running.connect(receive_buffer=4096) as client:
            client.send(GET)
            if number % 3:
                client.sock.recv(100)
            if number % 2:
                client.reset()
    eventually(lambda: running.server.connections == 0)
    eventually(lambda: descriptors() <= before)
    assert running.get("/hello").body == b"hello"


def test_a_reader_that_takes_nothing_is_reset(
    way: str, serve: ServeFixture, sparse: Path, caplog: pytest.LogCaptureFixture
) -> None:
    running = serve(application(sparse), limits=ServerLimits(write_timeout=0.3))
    before = descriptors()
    with caplog.at_level(logging.WARNING, "ember.protocol"):
        begin(running)
        eventually(lambda: running.server.connections == 0)
    assert "read nothing" in caplog.text
    eventually(lambda: descriptors() <= before + 1)  # our end of the socket
    assert running.get("/hello").body == b"hello"


def test_a_stop_ends_a_download_that_nobody_reads(
    way: str, serve: ServeFixture, sparse: Path
) -> None:
    running = serve(application(sparse))
    begin(running)
    # No task may be left behind, which stop() looks after.
    running.stop(timeout=0.05)


def test_what_is_not_in_memory_is_read_in_a_thread_first(
    serve: ServeFixture, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    path = tmp_path / "f"
    data = os.urandom(WINDOW + 5)
    path.write_bytes(data)
    threads: list[tuple[int, int]] = []
    read_through = OpenFile._read_through

    def watched(self: OpenFile, size: int, offset: int) -> None:
        with pytest.raises(RuntimeError, match="no running event loop"):
            asyncio.get_running_loop()
        threads.append((size, offset))
        read_through(self, size, offset)

    monkeypatch.setattr(OpenFile, "_read_cached", lambda *_: -1)
    monkeypatch.setattr(OpenFile, "_read_through", watched)
    running = serve(application(path))
    assert running.get().body == data
    assert threads[0] == (WINDOW, 0)
    assert threads[1:] == ([(5, WINDOW)] if uses_the_kernel(running) else [])


def test_a_file_that_the_kernel_cannot_send_is_read(
    way: str, serve: ServeFixture, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    path = tmp_path / "f"
    data = os.urandom(2 * WINDOW + 5)
    path.write_bytes(data)
    pipe = os.pipe()
    # A pipe has no offsets: sendfile(2) refuses it as it refuses files of odd file systems.
    monkeypatch.setattr(OpenFile, "fileno", lambda self: pipe[0])
    try:
        running = serve(application(path))
        assert running.get().body == data
        assert running.get("/", {"Range": "bytes=5-9"}).body == data[5:10]
    finally:
        os.close(pipe[0])
        os.close(pipe[1])


def test_the_same_bytes_over_tls(serve: ServeFixture, tmp_path: Path) -> None:
    path = tmp_path / "f"
    data = os.urandom(2 * WINDOW + 5)
    path.write_bytes(data)
    authority = trustme.CA()
    server = ssl.create_default_context(ssl.Purpose.CLIENT_AUTH)
    authority.issue_cert("localhost").configure_cert(server)
    client = ssl.create_default_context()
    authority.configure_trust(client)
    running = serve(application(path), ssl=server)
    assert running.request("GET", context=client).body == data
    part = running.request("GET", headers={"Range": "bytes=9-2000000"}, context=client)
    assert part.body == data[9:2000001]


def test_the_same_bytes_from_memory(tmp_path: Path) -> None:
    path = tmp_path / "f"
    data = os.urandom(2 * WINDOW + 5)
    path.write_bytes(data)

    async def main() -> bytes:
        connection = MemoryConnection(application(path))
        connection.feed(LAST)
        while not connection.closed:
            await asyncio.sleep(0)
        return connection.take()

    received = asyncio.run(main())
    assert received.endswith(b"\r\n\r\n" + data)


def test_a_thing_in_front_may_read_the_pieces(serve: ServeFixture, tmp_path: Path) -> None:
    path = tmp_path / "f.txt"
    path.write_bytes(b"text " * 100_000)
    app = Ember(compression=True)

    @app.get("/")
    async def download() -> FileResponse:
        return FileResponse(path)

    answer = serve(app).get("/", {"Accept-Encoding": "gzip"})
    assert answer.header("content-encoding") == "gzip"
    assert gzip.decompress(answer.body) == b"text " * 100_000


@pytest.mark.parametrize("size", [WINDOW - 1, WINDOW, WINDOW + 1, 2 * WINDOW, 1])
def test_every_edge_of_a_window(size: int, serve: ServeFixture, tmp_path: Path) -> None:
    path = tmp_path / "f"
    data = os.urandom(size)
    path.write_bytes(data)
    assert serve(application(path)).get().body == data


def test_an_empty_file(serve: ServeFixture, tmp_path: Path) -> None:
    path = tmp_path / "f"
    path.touch()
    answer = serve(application(path)).get()
    assert (answer.status, answer.header("content-length"), answer.body) == (200, "0", b"")


def test_the_peers_progress_is_known_for_tcp_only() -> None:
    with socket.create_server(("127.0.0.1", 0)) as listener:
        one = socket.create_connection(listener.getsockname())
        other, _ = listener.accept()
        with one, other:
            start = bytes_taken(one)
            assert start is not None
            one.sendall(b"x" * 1000)
            assert len(other.recv(2000)) > 0
            eventually(lambda: bytes_taken(one) == start + 1000)
    first, second = socket.socketpair()
    with first, second:
        assert bytes_taken(first) is None

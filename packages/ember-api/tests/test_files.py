"""FileResponse over real sockets: conditions, ranges, names, what goes wrong (P7)."""

from __future__ import annotations

import os
import re
import shutil
import socket
import subprocess
from email.utils import formatdate
from pathlib import Path
from typing import Any

import pytest
from ember import Ember, FileResponse, Request
from ember.responses.conditional import MAX_RANGES
from ember.responses.files import CHUNK, content_disposition, content_type_of

from tests.support.process import process
from tests.support.server import Answer, Running, ServeFixture

DATA = bytes(range(256)) * 40  # 10,240 bytes
SIZE = len(DATA)
MODIFIED = 1_700_000_000


@pytest.fixture
def path(tmp_path: Path) -> Path:
    file = tmp_path / "data.bin"
    file.write_bytes(DATA)
    os.utime(file, (MODIFIED, MODIFIED))
    return file


@pytest.fixture
def running(serve: ServeFixture, path: Path) -> Running:
    app = Ember()

    @app.get("/")
    async def download(request: Request) -> FileResponse:
        # As the server does it; said here so that every build answers the same.
        return FileResponse(path).for_request(request)

    @app.get("/named")
    async def named() -> FileResponse:
        return FileResponse(path, filename="bericht \u20ac.pdf", headers={"X-Own": "1"})

    @app.get("/teapot")
    async def teapot(request: Request) -> FileResponse:
        return FileResponse(path, 418).for_request(request)

    return serve(app)


def get(running: Running, method: str = "GET", **fields: str) -> Answer:
    headers = {name.replace("_", "-"): value for name, value in fields.items()}
    return running.request(method, "/", headers=headers)


def test_a_file_is_sent_with_its_validators(running: Running) -> None:
    answer = get(running)
    assert (answer.status, answer.body) == (200, DATA)
    assert answer.header("content-type") == "application/octet-stream"
    assert answer.header("content-length") == str(SIZE)
    assert answer.header("accept-ranges") == "bytes"
    assert answer.header("last-modified") == formatdate(MODIFIED, usegmt=True)
    assert re.fullmatch(r'"[0-9a-f]+-[0-9a-f]+"', answer.header("etag") or "")
    assert answer.header("transfer-encoding") is None


def test_head_has_the_same_fields_and_no_content(running: Running) -> None:
    whole, head = get(running), get(running, "HEAD", Range="bytes=0-1")
    assert (head.status, head.body) == (200, b"")
    for name in ("content-length", "content-type", "etag", "last-modified", "accept-ranges"):
        assert head.header(name) == whole.header(name)


def test_a_handler_returns_the_file_and_the_server_looks_at_the_request(
    serve: ServeFixture, path: Path
) -> None:
    app = Ember()

    @app.get("/")
    def download() -> FileResponse:
        return FileResponse(path)

    running = serve(app)
    assert get(running).body == DATA
    answer = get(running, Range="bytes=0-3")
    assert (answer.status, answer.body) == (206, DATA[:4])
    assert get(running, If_None_Match=answer.header("etag") or "").status == 304


#: As many ranges as are answered.
MANY = "bytes=" + ",".join(f"{n * 3}-{n * 3}" for n in range(MAX_RANGES))
OLD, NEW = formatdate(MODIFIED - 1, usegmt=True), formatdate(MODIFIED + 1, usegmt=True)
SAME = formatdate(MODIFIED, usegmt=True)


@pytest.mark.parametrize(
    ("fields", "status"),
    [
        ({"If_None_Match": "ETAG"}, 304),
        ({"If_None_Match": "W/ETAG"}, 304),
        ({"If_None_Match": '"a", ETAG'}, 304),
        ({"If_None_Match": "*"}, 304),
        ({"If_None_Match": '"a"'}, 200),
        ({"If_None_Match": "ETAG "[:3]}, 200),
        ({"If_Modified_Since": SAME}, 304),
        ({"If_Modified_Since": NEW}, 304),
        ({"If_Modified_Since": OLD}, 200),
        ({"If_Modified_Since": "yesterday"}, 200),
        # RFC 9110 section 13.1.3: ignored where If-None-Match is.
        ({"If_None_Match": '"a"', "If_Modified_Since": NEW}, 200),
        ({"If_Match": "ETAG"}, 200),
        ({"If_Match": "*"}, 200),
        ({"If_Match": '"a"'}, 412),
        ({"If_Match": "W/ETAG"}, 412),
        ({"If_Unmodified_Since": OLD}, 412),
        ({"If_Unmodified_Since": SAME}, 200),
        ({"If_Match": "ETAG", "If_Unmodified_Since": OLD}, 200),
        ({"If_Match": "ETAG", "If_None_Match": "ETAG"}, 304),
    ],
)
@pytest.mark.parametrize("method", ["GET", "HEAD"])
def test_a_precondition(method: str, fields: dict[str, str], status: int, running: Running) -> None:
    etag = get(running).header("etag") or ""
    fields = {name: value.replace("ETAG", etag) for name, value in fields.items()}
    answer = get(running, method, **fields)
    assert answer.status == status
    if status == 304:
        assert answer.body == b""
        assert answer.header("etag") == etag
        assert answer.header("last-modified") == SAME
        assert answer.header("content-type") is None


@pytest.mark.parametrize(
    ("value", "first", "end"),
    [
        ("bytes=0-0", 0, 1),
        ("bytes=0-499", 0, 500),
        ("bytes=500-", 500, SIZE),
        ("bytes=-1", SIZE - 1, SIZE),
        (f"bytes=-{SIZE + 1}", 0, SIZE),
        (f"bytes={SIZE - 1}-{SIZE + 100}", SIZE - 1, SIZE),
        ("Bytes = 1-2", 1, 3),
        (f"bytes=5-6,{SIZE}-", 5, 7),
        ("bytes=0-4,5-9", 0, 10),
        ("bytes=5-9,0-7", 0, 10),
    ],
)
def test_one_range(value: str, first: int, end: int, running: Running) -> None:
    answer = get(running, Range=value)
    assert (answer.status, answer.body) == (206, DATA[first:end])
    assert answer.header("content-range") == f"bytes {first}-{end - 1}/{SIZE}"
    assert answer.header("content-length") == str(end - first)
    assert answer.header("content-type") == "application/octet-stream"


@pytest.mark.parametrize(
    "value",
    [
        "bytes=", "bytes=a-b", "bytes=5-4", "bytes=-", "items=0-1", "bytes 0-1", "bytes=1-2-3",
        "bytes=0-" + "9" * 50, MANY + ",99-99",
        "bytes=0-1,x",
    ],
)  # fmt: skip
def test_an_invalid_range_is_ignored(value: str, running: Running) -> None:
    answer = get(running, Range=value)
    assert (answer.status, len(answer.body)) == (200, SIZE)


@pytest.mark.parametrize("value", [f"bytes={SIZE}-", f"bytes={SIZE}-{SIZE + 5}", "bytes=-0"])
def test_a_range_outside_of_the_file_is_416(value: str, running: Running) -> None:
    answer = get(running, Range=value)
    assert (answer.status, answer.body) == (416, b"")
    assert answer.header("content-range") == f"bytes */{SIZE}"


def test_several_ranges_come_as_multipart_byteranges(running: Running) -> None:
    spans = [(0, 10), (100, 200), (SIZE - 5, SIZE)]
    answer = get(running, Range="bytes=0-9, 100-199, -5")
    assert answer.status == 206
    kind = answer.header("content-type") or ""
    boundary = kind.removeprefix("multipart/byteranges; boundary=").encode()
    assert boundary.isalnum()
    assert answer.header("content-length") == str(len(answer.body))
    parts = (b"\r\n" + answer.body).split(b"\r\n--" + boundary)
    assert (parts[0], parts[-1]) == (b"", b"--\r\n")
    for part, (first, end) in zip(parts[1:-1], spans, strict=True):
        head, _, content = part.partition(b"\r\n\r\n")
        assert f"Content-Range: bytes {first}-{end - 1}/{SIZE}".encode() in head
        assert b"Content-Type: application/octet-stream" in head
        assert content == DATA[first:end]


def test_so_many_ranges_are_answered_and_no_more(running: Running) -> None:
    assert get(running, Range=MANY).status == 206


@pytest.mark.parametrize(
    ("value", "status"),
    [("ETAG", 206), ("W/ETAG", 200), ('"a"', 200), (SAME, 206), (OLD, 200), (NEW, 200), ("x", 200)],
)
def test_if_range(value: str, status: int, running: Running) -> None:
    etag = get(running).header("etag") or ""
    answer = get(running, Range="bytes=0-3", If_Range=value.replace("ETAG", etag))
    assert answer.status == status
    assert answer.body == (DATA[:4] if status == 206 else DATA)


def test_only_a_200_is_conditional(running: Running) -> None:
    answer = running.get("/teapot", {"If-None-Match": "*", "Range": "bytes=0-1"})
    assert (answer.status, answer.body) == (418, DATA)


def test_a_filename_goes_out_as_an_attachment(running: Running) -> None:
    answer = running.get("/named")
    assert answer.header("x-own") == "1"
    assert answer.header("content-disposition") == (
        "attachment; filename=\"bericht _.pdf\"; filename*=UTF-8''bericht%20%E2%82%AC.pdf"
    )


@pytest.mark.parametrize(
    ("name", "value"),
    [
        ("a.txt", 'inline; filename="a.txt"'),
        ('a"b\\c', 'inline; filename="a\\"b\\\\c"'),
        ("a\r\nX: y", "inline; filename=\"a__X: y\"; filename*=UTF-8''a%0D%0AX%3A%20y"),
        ("100%.txt", "inline; filename=\"100%.txt\"; filename*=UTF-8''100%25.txt"),
    ],
)
def test_a_content_disposition(name: str, value: str) -> None:
    assert content_disposition("inline", name) == value


@pytest.mark.parametrize(
    ("name", "kind"),
    [
        ("a.html", "text/html; charset=utf-8"),
        ("a.JS", "text/javascript; charset=utf-8"),
        ("a.json", "application/json"),
        ("a.png", "image/png"),
        ("a.tar.gz", "application/gzip"),
        ("a", "application/octet-stream"),
    ],
)
def test_a_content_type_by_name(name: str, kind: str) -> None:
    assert content_type_of(name) == kind


def test_what_is_no_file_is_an_error_where_it_is_made(tmp_path: Path) -> None:
    with pytest.raises(FileNotFoundError):
        FileResponse(tmp_path / "missing")
    with pytest.raises(IsADirectoryError):
        FileResponse(tmp_path)
    os.mkfifo(tmp_path / "pipe")
    with pytest.raises(OSError, match="not a regular file"):
        FileResponse(tmp_path / "pipe")
    with pytest.raises(ValueError, match="disposition"):
        FileResponse(tmp_path, disposition="popup")


def descriptors() -> int:
    return len(os.listdir("/proc/self/fd"))


@pytest.mark.skipif(not Path("/proc/self/fd").exists(), reason="counts descriptors in /proc")
def test_no_descriptor_stays_open(running: Running) -> None:
    etag = get(running).header("etag") or ""
    before = descriptors()
    for _ in range(5):
        get(running)
        get(running, "HEAD")
        get(running, If_None_Match=etag)
        get(running, Range="bytes=0-1,5-6")
        get(running, Range=f"bytes={SIZE}-")
    assert descriptors() <= before + 1


def test_a_file_that_is_replaced_is_sent_as_it_was(tmp_path: Path, serve: ServeFixture) -> None:
    app = Ember()
    file = tmp_path / "f"

    @app.get("/")
    async def download() -> FileResponse:
        file.write_bytes(b"old")
        response = FileResponse(file)
        (tmp_path / "new").write_bytes(b"new and longer")
        (tmp_path / "new").replace(file)
        return response

    assert get(serve(app)).body == b"old"


PROGRAM = """
import os, tempfile
from ember import Ember, FileResponse
path = os.path.join(tempfile.mkdtemp(), "big")
with open(path, "wb") as file:
    for n in range(200):
        file.write(bytes([n]) * 2**20)
app = Ember()
@app.get("/")
async def index(): return FileResponse(path)
@app.get("/bye")
async def bye():
    os.unlink(path)
    os.rmdir(os.path.dirname(path))
    return "bye"
"""


def test_memory_stays_flat_for_a_large_file_and_a_slow_reader() -> None:
    with process(PROGRAM) as server:

        def ask(target: str) -> socket.socket:
            sock = socket.create_connection(("127.0.0.1", server.port), timeout=120)
            sock.sendall(f"GET {target} HTTP/1.1\r\nHost: a\r\nConnection: close\r\n\r\n".encode())
            return sock

        with ask("/") as sock:
            sock.recv(65536)
        before, most, total = server.rss(), 0, 0
        with ask("/") as sock:
            while data := sock.recv(2**20):
                total += len(data)
                most = max(most, server.rss() - before)
        assert total > 200 * 2**20
        assert most < 16 * 2**20, f"{most / 2**20:.1f} MiB more for a file of 200 MiB"
        with ask("/bye") as sock:
            assert sock.recv(65536)


@pytest.mark.skipif(shutil.which("curl") is None, reason="curl is missing")
def test_curl_resumes_and_asks_for_ranges(running: Running, tmp_path: Path) -> None:
    def curl(*arguments: str) -> bytes:
        command = ["curl", "-sS", *arguments, running.url + "/"]
        return subprocess.run(command, capture_output=True, check=True, timeout=120).stdout

    assert curl("-r", "5-9") == DATA[5:10]
    part = tmp_path / "part"
    part.write_bytes(DATA[:1000])
    curl("-C", "-", "-o", str(part))
    assert part.read_bytes() == DATA
    assert curl("-r", "0-0,100-109").count(b"Content-Range: bytes") == 2
    assert b"200 OK" in curl("-I")


def test_a_file_larger_than_a_chunk_is_whole(serve: ServeFixture, tmp_path: Path) -> None:
    file = tmp_path / "large"
    data = os.urandom(CHUNK * 2 + 1)
    file.write_bytes(data)
    app = Ember()

    @app.get("/")
    async def download() -> Any:
        return FileResponse(file)

    assert get(serve(app)).body == data

"""Compressed answers over real sockets: negotiation, streams, what is left alone (P4)."""

from __future__ import annotations

import asyncio
import gzip
import shutil
import subprocess
import sys
import threading
import zlib
from collections.abc import AsyncIterator, Iterator
from pathlib import Path
from typing import Any

import brotli
import pytest
from ember import (
    CompressionMiddleware,
    Ember,
    Events,
    FileResponse,
    Forbidden,
    HTTPError,
    Request,
    Response,
    RouteLimits,
    SSEResponse,
    StreamingResponse,
)
from ember.middleware.compression import ENCODINGS, available

from tests.support.server import Answer, Running, ServeFixture

if sys.version_info >= (3, 14):
    from compression import zstd
else:
    from backports import zstd

TEXT = "All happy families are alike. " * 100


def decode(answer: Answer) -> bytes:
    coding = answer.header("content-encoding")
    if coding == "gzip":
        return gzip.decompress(answer.body)
    if coding == "br":
        return bytes(brotli.decompress(answer.body))
    if coding == "zstd":
        return bytes(zstd.decompress(answer.body))
    assert coding is None
    return answer.body


def application(**options: Any) -> Ember:
    app = Ember(**{"compression": True, **options})

    @app.get("/text")
    async def text() -> str:
        return TEXT

    @app.get("/sized/{size:int}")
    async def sized(size: int) -> str:
        return "x" * size

    @app.get("/large")
    async def large() -> str:
        return TEXT * 200

    @app.get("/own")
    async def own(kind: str = "text/plain", name: str = "X-None", value: str = "1") -> Response:
        return Response(TEXT, 200, {name: value}, kind)

    @app.get("/status/{status:int}")
    async def with_status(status: int) -> Response:
        return Response(TEXT, status)

    @app.get("/stream")
    async def stream() -> AsyncIterator[str]:
        for n in range(3):
            yield f"{n}:{TEXT}"

    @app.get("/sync")
    async def sync() -> StreamingResponse:
        def pieces() -> Iterator[str]:
            yield "a" * 300
            yield ""
            yield "b" * 300

        return StreamingResponse(pieces(), content_type="text/plain")

    return app


@pytest.fixture
def running(serve: ServeFixture) -> Running:
    return serve(application())


@pytest.mark.parametrize(
    ("accept", "coding"),
    [
        ("gzip, deflate, br, zstd", "zstd"),
        ("gzip, br", "br"),
        ("gzip", "gzip"),
        ("zstd;q=0.5, gzip;q=0.9, br;q=0.7", "gzip"),
        ("zstd;q=0, br;q=0, *", "gzip"),
        ("*;q=0", None),
        ("identity, gzip;q=0.5", None),
        ("deflate", None),
    ],
)
def test_the_client_chooses_by_weight(accept: str, coding: str | None, running: Running) -> None:
    answer = running.get("/text", {"Accept-Encoding": accept})
    assert answer.header("content-encoding") == coding
    assert answer.header("vary") == "Accept-Encoding"
    assert decode(answer) == TEXT.encode()
    assert answer.header("content-length") == str(len(answer.body))
    if coding:
        assert len(answer.body) < len(TEXT) / 5


def test_head_has_the_fields_of_get(running: Running) -> None:
    get = running.get("/text", {"Accept-Encoding": "gzip"})
    head = running.request("HEAD", "/text", headers={"Accept-Encoding": "gzip"})
    assert head.body == b""
    for name in ("content-encoding", "content-length", "vary", "content-type"):
        assert head.header(name) == get.header(name)
    stream = running.request("HEAD", "/stream", headers={"Accept-Encoding": "gzip"})
    assert (stream.status, stream.body) == (200, b"")


@pytest.mark.parametrize(("size", "coding"), [(499, None), (500, "gzip")])
def test_small_answers_are_left_alone(size: int, coding: str | None, running: Running) -> None:
    answer = running.get(f"/sized/{size}", {"Accept-Encoding": "gzip"})
    assert answer.header("content-encoding") == coding
    assert decode(answer) == b"x" * size


@pytest.mark.parametrize("coding", ENCODINGS)
def test_a_large_answer_is_compressed_in_a_thread(coding: str, running: Running) -> None:
    answer = running.get("/large", {"Accept-Encoding": coding})
    assert answer.header("content-encoding") == coding
    assert decode(answer) == (TEXT * 200).encode()


@pytest.mark.parametrize(
    ("query", "coding"),
    [
        ("kind=application/json", "gzip"),
        ("kind=Application/JSON%3Bcharset=utf-8", "gzip"),
        ("kind=application/problem%2Bjson", "gzip"),
        ("kind=image/svg%2Bxml", "gzip"),
        ("kind=image/png", None),
        ("kind=application/zip", None),
        ("kind=application/jsonish", None),
        ("kind=video/mp4", None),
        ("kind=application/octet-stream", None),
        ("name=Content-Encoding&value=br", None),
        ("name=Cache-Control&value=public,+no-transform", None),
        ("name=Content-Range&value=bytes+0-1/2", None),
        ("name=Vary&value=Cookie", "gzip"),
    ],
)
def test_what_is_compressed_is_what_gets_smaller(
    query: str, coding: str | None, running: Running
) -> None:
    answer = running.get(f"/own?{query}", {"Accept-Encoding": "gzip"})
    if coding is None:
        assert answer.body == TEXT.encode()
        assert answer.header("vary") is None
    else:
        assert decode(answer) == TEXT.encode()
        assert "Accept-Encoding" in (answer.header("vary") or "")


@pytest.mark.parametrize("vary", ["Cookie", "accept-encoding", "*"])
def test_vary_is_added_to_what_is_there(vary: str, running: Running) -> None:
    answer = running.get(f"/own?name=Vary&value={vary}", {"Accept-Encoding": "gzip"})
    assert answer.header("vary") == ("Cookie, Accept-Encoding" if vary == "Cookie" else vary)


def test_a_strong_tag_becomes_weak(running: Running) -> None:
    for tag, seen in (('"a"', 'W/"a"'), ('W/"a"', 'W/"a"')):
        path = f"/own?name=ETag&value={tag.replace(chr(34), '%22')}"
        assert running.get(path, {"Accept-Encoding": "gzip"}).header("etag") == seen
        assert running.get(path).header("etag") == tag


@pytest.mark.parametrize("status", [206, 404])
def test_parts_are_left_alone_and_errors_are_not(status: int, running: Running) -> None:
    answer = running.get(f"/status/{status}", {"Accept-Encoding": "gzip"})
    assert answer.header("content-encoding") == (None if status == 206 else "gzip")


@pytest.mark.parametrize("coding", ENCODINGS)
@pytest.mark.parametrize("path", ["/stream", "/sync"])
def test_streams_are_compressed(path: str, coding: str, serve: ServeFixture) -> None:
    app = application()
    plain = serve(application(compression=False)).get(path)
    answer = serve(app).get(path, {"Accept-Encoding": coding})
    # An async generator has no type that says that it is text.
    assert answer.header("content-encoding") == (coding if path == "/sync" else None)
    assert decode(answer) == plain.body


class Inflate:
    """Takes what arrives apart as it arrives."""

    def __init__(self, coding: str) -> None:
        self._zlib = zlib.decompressobj(31)
        self._br = brotli.Decompressor()
        self._zstd = zstd.ZstdDecompressor()
        self._coding = coding

    def __call__(self, data: bytes) -> bytes:
        if self._coding == "gzip":
            return self._zlib.decompress(data)
        if self._coding == "br":
            return bytes(self._br.process(data))
        return bytes(self._zstd.decompress(data))


@pytest.mark.parametrize("coding", ENCODINGS)
def test_each_event_arrives_when_it_is_sent(coding: str, serve: ServeFixture) -> None:
    app = Ember(compression=True)
    seen = threading.Event()
    closed = threading.Event()

    @app.get("/")
    async def events() -> SSEResponse:
        async def source() -> AsyncIterator[str]:
            try:
                yield "first"
                # The second is not made before the client has read the first.
                await asyncio.to_thread(seen.wait, 10)
                yield "second"
                await asyncio.Event().wait()
            finally:
                closed.set()

        return SSEResponse(source())

    with serve(app).connect() as client:
        client.send(f"GET / HTTP/1.1\r\nHost: a\r\nAccept-Encoding: {coding}\r\n\r\n")
        assert client.recv_head().header("content-encoding") == coding
        inflate, text = Inflate(coding), b""
        while b"data: first\n\n" not in text:
            text += inflate(client.recv_chunk())
        seen.set()
        while b"data: second\n\n" not in text:
            text += inflate(client.recv_chunk())
        client.reset()
    assert closed.wait(10), "the generator stays open after its client left"


def test_files_are_compressed_whole_and_never_in_parts(serve: ServeFixture, tmp_path: Path) -> None:
    file = tmp_path / "page.txt"
    file.write_text(TEXT)
    app = Ember(compression=True)

    @app.get("/")
    async def page() -> FileResponse:
        return FileResponse(file)

    running = serve(app)
    whole = running.get("/", {"Accept-Encoding": "zstd"})
    assert (whole.header("content-encoding"), decode(whole)) == ("zstd", TEXT.encode())
    assert whole.header("accept-ranges") is None
    tag = whole.header("etag") or ""
    assert tag.startswith("W/")
    known = running.get("/", {"Accept-Encoding": "zstd", "If-None-Match": tag})
    assert (known.status, known.body) == (304, b"")
    part = running.get("/", {"Accept-Encoding": "zstd", "Range": "bytes=0-9"})
    assert (part.status, part.body) == (206, TEXT[:10].encode())


def test_a_client_that_leaves_closes_the_stream_and_its_file(
    serve: ServeFixture, tmp_path: Path
) -> None:
    app = Ember(compression=True)
    closed = threading.Event()

    @app.get("/")
    async def endless() -> StreamingResponse:
        async def source() -> AsyncIterator[str]:
            try:
                while True:
                    yield TEXT
                    await asyncio.sleep(0)
            finally:
                closed.set()

        return StreamingResponse(source(), content_type="text/plain")

    with serve(app).connect() as client:
        client.send("GET / HTTP/1.1\r\nHost: a\r\nAccept-Encoding: br\r\n\r\n")
        client.recv_head()
        client.recv_chunk()
        client.reset()
    assert closed.wait(10)


def test_a_body_that_is_refused_leaves_no_handler_behind(serve: ServeFixture) -> None:
    app = Ember(compression=True)

    @app.post("/", limits=RouteLimits(max_body_size=10))
    async def take() -> str:
        raise AssertionError("the handler ran")

    # Warnings are errors: a coroutine that was never awaited would be one.
    assert serve(app).request("POST", "/", b"x" * 11).status == 413


def test_errors_and_misses_are_answered_as_before(running: Running) -> None:
    assert running.get("/missing", {"Accept-Encoding": "gzip"}).status == 404
    assert running.get("/sized/x", {"Accept-Encoding": "gzip"}).status == 404


def test_a_middleware_of_ones_own(serve: ServeFixture) -> None:
    middleware = CompressionMiddleware(minimum_size=10, encodings=["gzip"])
    running = serve(application(compression=middleware))
    answer = running.get("/sized/10", {"Accept-Encoding": "br, gzip;q=0.1"})
    assert answer.header("content-encoding") == "gzip"
    assert running.get("/sized/9", {"Accept-Encoding": "gzip"}).body == b"x" * 9


def test_the_middleware_is_called_like_any_other(serve: ServeFixture) -> None:
    middleware = CompressionMiddleware()
    app = Ember()
    app.get("/")(lambda request: _call(middleware, request))
    answer = serve(app).get("/", {"Accept-Encoding": "gzip"})
    assert decode(answer) == TEXT.encode()


async def _call(middleware: CompressionMiddleware, request: Any) -> Response:
    async def call_next(request: Any) -> Response:
        return Response(TEXT)

    return await middleware(request, call_next)


def test_added_to_an_application_it_compresses_every_route(serve: ServeFixture) -> None:
    app = application(compression=False)
    app.add_middleware(CompressionMiddleware())
    running = serve(app)
    for path in ("/text", "/sync"):
        answer = running.get(path, {"Accept-Encoding": "br"})
        assert answer.header("content-encoding") == "br"
        assert decode(answer) == (TEXT.encode() if path == "/text" else b"a" * 300 + b"b" * 300)
    assert running.get("/sized/10", {"Accept-Encoding": "br"}).body == b"x" * 10


def test_mistakes_are_named() -> None:
    with pytest.raises(ValueError, match=r"'lzma' is unknown; known: zstd, br, gzip"):
        CompressionMiddleware(encodings=["lzma"])
    with pytest.raises(ValueError, match="minimum_size=-1"):
        CompressionMiddleware(minimum_size=-1)


def test_without_the_libraries_gzip_is_left(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("ember.protocol.message.codings._loaded", {})
    for name in ("isal", "brotli", "backports", "backports.zstd", "compression"):
        monkeypatch.setitem(sys.modules, name, None)
    assert available() == ["gzip"]
    from ember.middleware.compression import encoder

    made = encoder("gzip")
    data = made.compress(TEXT.encode()) + made.flush() + made.finish()
    assert gzip.decompress(data) == TEXT.encode()


@pytest.mark.skipif(shutil.which("curl") is None, reason="curl is missing")
def test_curl_understands_it(running: Running) -> None:
    command = ["curl", "-sS", "--compressed", running.url + "/text"]
    done = subprocess.run(command, capture_output=True, check=True, timeout=120)
    assert done.stdout == TEXT.encode()


def test_an_application_without_compression_pays_nothing() -> None:
    app = Ember()
    assert app.dispatch == app._dispatcher.dispatch


def test_the_answers_to_errors_are_compressed_too(serve: ServeFixture) -> None:
    app = Ember(compression=True)

    @app.get("/forbidden")
    async def forbidden() -> None:
        raise Forbidden(TEXT)

    @app.get("/early")
    async def early() -> str:
        return "never"

    app.hook(Events.BEFORE_ENDPOINT)(refuse)

    @app.get("/handled")
    async def handled() -> None:
        raise KeyError

    @app.get("/later")
    async def later() -> None:
        raise IndexError

    app.handle(KeyError)(lambda request: TEXT)

    @app.handle(IndexError)
    async def by_and_by(request: Request) -> str:
        await asyncio.sleep(0)
        return TEXT

    @app.handle(405)
    def not_allowed(request: Request, error: HTTPError) -> Response:
        return Response(TEXT, 405, error.headers)

    server = serve(app)
    for method, path, status in (
        ("GET", "/forbidden", 403),
        ("GET", "/early", 403),
        ("GET", "/handled", 500),
        ("GET", "/later", 500),
        ("GET", "/" + "x" * 600, 404),
        ("POST", "/later", 405),
    ):
        with server.connect() as client:
            client.send(f"{method} {path} HTTP/1.1\r\nHost: a\r\nAccept-Encoding: gzip\r\n\r\n")
            answer = client.recv_response()
        assert (answer.status, answer.header("content-encoding")) == (status, "gzip"), path
        assert answer.header("vary") == "Accept-Encoding"
        assert len(answer.body) < len(decode(answer))
    assert server.get("/" + "x" * 600).header("content-encoding") is None


def refuse(request: Request) -> None:
    if request.path == "/early":
        raise Forbidden(TEXT)

"""What a body may cost beyond its bytes: each limit is kept, and one more is refused."""

from __future__ import annotations

import gzip
import sys
import tracemalloc
from typing import Any

import pytest
from ember.limits import RouteLimits, ServerLimits
from ember.protocol.http1.chunked import ChunkedDecoder
from ember.protocol.message.query import parse_query
from ember.protocol.message.quoting import unquote
from ember.request import Request

from tests.support.app import App
from tests.support.growth import assert_linear
from tests.support.server import Answer, ServeFixture

if sys.version_info >= (3, 14):
    from compression import zstd
else:
    from backports import zstd

CHUNKED = b"POST / HTTP/1.1\r\nHost: x\r\nTransfer-Encoding: chunked\r\n\r\n"
FORM = {"Content-Type": "application/x-www-form-urlencoded"}


async def echo(request: Request) -> bytes:
    return await request.body()


async def fields(request: Request) -> Any:
    return len(await request.form())


def chunk(line: int, data: bytes) -> bytes:
    """A chunk whose first line, CRLF included, has `line` bytes."""
    begin = b"%x;" % len(data)
    return begin + b"e" * (line - len(begin) - 2) + b"\r\n" + data + b"\r\n"


# -- chunks ---------------------------------------------------------------------------------------


def send(serve: ServeFixture, body: bytes, overhead: int) -> Answer:
    app = App({"/": echo}, limits=ServerLimits(max_chunk_overhead=overhead))
    with serve(app).connect() as client:
        client.send(CHUNKED + body)
        return client.recv_response()


@pytest.mark.parametrize("chunks", [1, 4])
def test_extensions_may_have_the_limit_and_no_byte_more(chunks: int, serve: ServeFixture) -> None:
    # Free are 16 bytes for each chunk and two for its one byte of data.
    line = 16 + 2 + 100 // chunks
    body = chunk(line, b"x") * chunks
    assert send(serve, body + b"0\r\n\r\n", 100).body == b"x" * chunks
    answer = send(serve, chunk(line + 1, b"x") + chunk(line, b"x") * (chunks - 1), 100)
    assert answer.status == 400


def test_extensions_that_are_small_beside_the_data_are_free(serve: ServeFixture) -> None:
    body = chunk(1000, b"x" * 500) * 100
    assert send(serve, body + b"0\r\n\r\n", 0).body == b"x" * 50_000


def test_chunks_of_one_byte_are_free_and_cheap(serve: ServeFixture) -> None:
    assert send(serve, b"1\r\nx\r\n" * 20_000 + b"0\r\n\r\n", 0).body == b"x" * 20_000


@pytest.mark.once_per_build
@pytest.mark.parametrize(
    "unit",
    [b"1\r\nx\r\n", b"001\r\nx\r\n", b"1;e\r\nx\r\n", b'2;e="\\""\r\nxx\r\n', b"2;a=b;c\r\nxx\r\n"],
)
def test_small_chunks_take_linear_time(unit: bytes) -> None:
    def read(body: bytes) -> None:
        decoder, buffer = ChunkedDecoder(ServerLimits()), bytearray(body)
        while decoder.read(buffer, 65536):
            pass
        assert not buffer

    assert_linear(read, lambda n: unit * (n // len(unit)), 262144)


@pytest.mark.once_per_build
@pytest.mark.parametrize("step", [1, 7])
def test_a_chunked_body_that_arrives_in_drips_takes_linear_time(step: int) -> None:
    def read(body: bytes) -> None:
        decoder, buffer = ChunkedDecoder(ServerLimits()), bytearray()
        for at in range(0, len(body), step):
            buffer += body[at : at + step]
            decoder.read(buffer, 65536)
        assert not buffer

    assert_linear(read, lambda n: (b"8\r\n12345678\r\n") * (n // 13), 262144)


@pytest.mark.once_per_build
@pytest.mark.parametrize("begin", ["3;", "3;a=", '3;a="', '3;a="\\', "3;a=b;", "3 ", "3;a ="])
@pytest.mark.parametrize("unit", ["a", " ", ";a", '="', "\\\\", '"'])
def test_one_line_takes_linear_time(begin: str, unit: str) -> None:
    from ember.protocol.http1.chunked import _chunk_line

    line = begin.encode(), unit.encode()
    assert_linear(_chunk_line, lambda n: line[0] + line[1] * (n // len(unit)) + b"\x00")


# -- forms ----------------------------------------------------------------------------------------


def test_a_form_may_have_the_limit_and_no_field_more(serve: ServeFixture) -> None:
    app = App({"/": fields}, route_limits={"/": RouteLimits(max_fields=3)})
    server = serve(app)
    assert server.request("POST", "/", b"a=1&b=2&c=3", FORM).body == b"3"
    assert server.request("POST", "/", b"a=1&b=2&c=3&d=4", FORM).status == 413
    assert server.request("POST", "/", b"&&&", FORM).status == 413


def test_a_form_has_a_thousand_fields_at_most(serve: ServeFixture) -> None:
    server = serve(App({"/": fields}))
    assert server.request("POST", "/", b"&".join([b"a"] * 1000), FORM).body == b"1000"
    assert server.request("POST", "/", b"&".join([b"a"] * 1001), FORM).status == 413


@pytest.mark.once_per_build
def test_escapes_take_little_more_memory_than_what_they_stand_for() -> None:
    body = b"a=" + b"%61" * 1_000_000
    tracemalloc.start()
    try:
        pairs = parse_query(body)
        peak = tracemalloc.get_traced_memory()[1]
    finally:
        tracemalloc.stop()
    assert pairs == [("a", "a" * 1_000_000)]
    assert peak < 6 * len(body)


@pytest.mark.once
@pytest.mark.parametrize("shift", range(4))
def test_an_escape_on_the_border_of_two_blocks_is_decoded(shift: int) -> None:
    value = b"x" * (16384 - shift) + b"%C3%A9%4" + b"%61" * 20_000 + b"%"
    assert unquote(value) == b"x" * (16384 - shift) + b"\xc3\xa9%4" + b"a" * 20_000 + b"%"


# -- content codings ------------------------------------------------------------------------------


@pytest.mark.parametrize("coding", ["gzip", "zstd"])
def test_a_body_may_have_the_limit_of_frames_and_none_more(
    coding: str, serve: ServeFixture
) -> None:
    frame = (gzip.compress if coding == "gzip" else zstd.compress)(b"x")
    server = serve(App({"/": echo}, route_limits={"/": RouteLimits(max_frames=3)}))
    encoded = {"Content-Encoding": coding}
    assert server.request("POST", "/", frame * 3, encoded).body == b"xxx"
    answer = server.request("POST", "/", frame * 4, encoded)
    assert answer.status == 413
    assert b"more than 3" in answer.body


SKIPPABLE = b"\x50\x2a\x4d\x18\0\0\0\0"  # RFC 8878 section 3.1.2


@pytest.mark.once
@pytest.mark.parametrize(
    ("coding", "frame"),
    [("gzip", gzip.compress(b"")), ("zstd", zstd.compress(b"")), ("zstd", SKIPPABLE)],
    ids=["gzip", "zstd", "zstd, skippable"],
)
def test_frames_that_hold_nothing_take_linear_time(coding: str, frame: bytes) -> None:
    from ember.protocol.message.content_coding import decoder

    def read(body: bytes) -> None:
        made = decoder(coding, 1 << 30)
        assert made is not None
        made.put(body)
        assert made.take(65536) == b""
        assert made.ended

    assert_linear(read, lambda n: frame * (n // len(frame)), 1 << 18)

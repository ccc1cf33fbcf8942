"""Request bodies with a Content-Encoding: decoded under the limit of the body (P4)."""

from __future__ import annotations

import asyncio
import gzip
import json
import sys
import tracemalloc
import zlib
from collections.abc import AsyncIterator, Callable
from typing import Any

import brotli
import pytest
from ember.exceptions import BadRequest, PayloadTooLarge, UnsupportedMediaType
from ember.limits import RouteLimits
from ember.protocol.message.content_coding import DecodedBody

from tests.support.app import App
from tests.support.server import Answer, ServeFixture

if sys.version_info >= (3, 14):
    from compression import zstd
else:
    from backports import zstd

ENCODE: dict[str, Callable[[bytes], bytes]] = {
    "gzip": gzip.compress,
    "x-gzip": gzip.compress,
    "deflate": zlib.compress,
    "br": lambda data: bytes(brotli.compress(data, quality=5)),
    "zstd": lambda data: bytes(zstd.compress(data)),
}
DATA = bytes(range(256)) * 1000


class Memory:
    """A body that arrives in pieces of `size` bytes."""

    def __init__(self, data: bytes, size: int = 1 << 30) -> None:
        self.pieces = [data[at : at + size] for at in range(0, len(data), size)]

    async def read(self) -> bytes:
        return self.pieces.pop(0) if self.pieces else b""


def decode(data: bytes, coding: str, most: int = 1 << 30, size: int = 1 << 30) -> bytes:
    async def run() -> bytes:
        body, result = DecodedBody(Memory(data, size), coding, most), []
        while piece := await body.read():
            assert len(piece) <= 131072
            result.append(piece)
        return b"".join(result)

    return asyncio.run(run())


@pytest.mark.parametrize("coding", ENCODE)
@pytest.mark.parametrize("size", [1, 7, 1000, 1 << 30])
def test_a_body_is_decoded_however_it_is_split(coding: str, size: int) -> None:
    data = DATA[:5000] if size == 1 else DATA
    assert decode(ENCODE[coding](data), coding, size=size) == data


@pytest.mark.parametrize("coding", ENCODE)
def test_the_limit_counts_what_comes_out(coding: str) -> None:
    data = ENCODE[coding](DATA)
    assert decode(data, coding, most=len(DATA)) == DATA
    with pytest.raises(PayloadTooLarge, match="larger than 255999 bytes, decoded"):
        decode(data, coding, most=len(DATA) - 1)


@pytest.mark.parametrize("coding", ENCODE)
def test_a_bomb_is_stopped_before_it_is_in_memory(coding: str) -> None:
    bomb = ENCODE[coding](bytes(100_000_000))
    tracemalloc.start()
    try:
        with pytest.raises(PayloadTooLarge):
            decode(bomb, coding, most=1_000_000)
        assert tracemalloc.get_traced_memory()[1] < 20_000_000
    finally:
        tracemalloc.stop()


@pytest.mark.parametrize("coding", ENCODE)
@pytest.mark.parametrize("broken", ["cut", "garbage", "more"])
def test_a_broken_body_is_400(coding: str, broken: str) -> None:
    data = ENCODE[coding](DATA[:1000])
    data = {"cut": data[:-1], "garbage": b"\x99" * 50, "more": data + b"\x99" * 20}[broken]
    with pytest.raises(BadRequest, match=coding):
        decode(data, coding)


@pytest.mark.parametrize("coding", ["gzip", "zstd"])
def test_members_may_follow_each_other(coding: str) -> None:
    assert decode(ENCODE[coding](b"one") + ENCODE[coding](b"two"), coding, size=3) == b"onetwo"


def test_an_empty_body_is_empty_in_every_coding() -> None:
    for coding, encode in ENCODE.items():
        assert decode(b"", coding) == b""
        assert decode(encode(b""), coding) == b""


def test_a_body_that_is_whole_already_is_decoded_the_same_way() -> None:
    async def read() -> bytes:
        body = DecodedBody(gzip.compress(DATA), "gzip", len(DATA))
        return b"".join([piece async for piece in _pieces(body)])

    assert asyncio.run(read()) == DATA


async def _pieces(body: DecodedBody) -> AsyncIterator[bytes]:
    while piece := await body.read():
        yield piece


def test_identity_is_nothing_to_do() -> None:
    assert decode(b"as it is", "identity") == b"as it is"
    assert decode(gzip.compress(b"x"), " GZIP , identity") == b"x"


@pytest.mark.parametrize("coding", ["compress", "gzip, br", "gzip, gzip"])
def test_another_coding_is_415_and_the_known_ones_are_named(coding: str) -> None:
    with pytest.raises(UnsupportedMediaType) as error:
        DecodedBody(Memory(b""), coding, 10)
    assert error.value.headers == {"Accept-Encoding": "zstd, br, gzip, deflate"}


def test_a_zstd_window_of_more_than_8_mib_is_refused() -> None:
    option = zstd.CompressionParameter
    for log, fits in ((23, True), (24, False)):
        options: dict[int, int] = {option.window_log: log, option.content_size_flag: 0}
        made = zstd.ZstdCompressor(options=options)
        data = made.compress(b"x" * 1000) + made.flush()
        if fits:
            assert decode(data, "zstd") == b"x" * 1000
        else:
            with pytest.raises(BadRequest):
                decode(data, "zstd")


def test_a_library_that_is_missing_is_a_coding_that_is_not_known(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr("ember.protocol.message.codings._loaded", {})
    for name in ("brotli", "backports", "backports.zstd", "compression"):
        monkeypatch.setitem(sys.modules, name, None)
    with pytest.raises(UnsupportedMediaType, match="known: gzip, deflate"):
        DecodedBody(Memory(b""), "br", 10)


# -- over a socket --------------------------------------------------------------------------------


async def read_json(request: Any) -> Any:
    return await request.json()


async def read_stream(request: Any) -> Any:
    return sum([len(piece) async for piece in request.stream])


async def read_raw(request: Any) -> Any:
    request_body = await request.body()
    return len(request_body)


def post(serve: ServeFixture, handler: Any, body: bytes, coding: str, **limits: Any) -> Answer:
    def route(request: Any) -> Any:
        request.limits = RouteLimits(**limits)
        return handler(request)

    return serve(App({"/": route})).request("POST", "/", body, {"Content-Encoding": coding})


@pytest.mark.parametrize("coding", ENCODE)
def test_json_and_stream_are_decoded(coding: str, serve: ServeFixture) -> None:
    body = ENCODE[coding](json.dumps({"a": "x" * 10_000}).encode())
    assert json.loads(post(serve, read_json, body, coding).body) == {"a": "x" * 10_000}
    answer = post(serve, read_stream, ENCODE[coding](DATA), coding)
    assert answer.body == b"%d" % len(DATA)


def test_a_bomb_over_a_socket_is_413(serve: ServeFixture) -> None:
    bomb = gzip.compress(bytes(20_000_000))
    assert len(bomb) < 50_000
    for handler in (read_raw, read_stream):
        assert post(serve, handler, bomb, "gzip", max_body_size=50_000).status == 413


def test_a_route_takes_bodies_as_they_come(serve: ServeFixture) -> None:
    body = gzip.compress(DATA)
    assert post(serve, read_raw, body, "gzip", decompress=False).body == b"%d" % len(body)
    assert post(serve, read_raw, b"12345", "own", decompress=False).body == b"5"


def test_an_unknown_coding_over_a_socket_is_415(serve: ServeFixture) -> None:
    assert post(serve, read_raw, b"12345", "own").status == 415

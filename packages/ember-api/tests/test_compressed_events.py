"""What the compressor of an event stream keeps in memory."""

from __future__ import annotations

import subprocess
import sys
from collections.abc import AsyncIterator

import pytest
from ember import Ember, SSEResponse, StreamingResponse
from ember.middleware.compression import encoder
from ember.protocol.message.encoders import EVENT_WINDOW

from tests.support.server import ServeFixture

pytestmark = pytest.mark.once


def zstd_window(frame: bytes) -> int:
    """The window of a zstd frame, as a power of two (RFC 8878 section 3.1.1.1)."""
    assert frame[:4] == b"\x28\xb5\x2f\xfd"
    assert not frame[4] & 0x20, "it names a window"
    return 10 + (frame[5] >> 3)


def small_brotli(data: bytes) -> bool:
    """Whether the window is 2**15 (RFC 7932 section 9.1)."""
    return data[0] & 0x7F == 0b1110001


def test_an_event_stream_has_a_small_window_and_another_stream_a_large_one(
    serve: ServeFixture,
) -> None:
    app = Ember(compression=True)

    async def pieces() -> AsyncIterator[str]:
        yield "x" * 2000

    @app.get("/events")
    async def events() -> SSEResponse:
        return SSEResponse(pieces())

    @app.get("/text")
    async def text() -> StreamingResponse:
        return StreamingResponse(pieces(), content_type="text/plain")

    server = serve(app)
    zstd = {"Accept-Encoding": "zstd"}
    assert zstd_window(server.get("/events", zstd).body) == EVENT_WINDOW
    assert zstd_window(server.get("/text", zstd).body) > EVENT_WINDOW
    brotli = {"Accept-Encoding": "br"}
    assert small_brotli(server.get("/events", brotli).body)
    assert not small_brotli(server.get("/text", brotli).body)


@pytest.mark.parametrize("coding", ["zstd", "br", "gzip"])
def test_what_is_longer_than_the_window_is_whole(coding: str) -> None:
    from ember.protocol.message.content_coding import decoder

    data = bytes(range(256)) * 4096
    compressor = encoder(coding, events=True)
    body = compressor.compress(data) + compressor.flush() + compressor.finish()
    made = decoder(coding, 1)
    assert made is not None
    made.put(body)
    parts = []
    while part := made.take(65536):
        parts.append(part)
    assert b"".join(parts) == data


#: What is resident of a stream's compressor once more than its window went through it, in KiB.
RESIDENT = """
import random, sys
from ember.middleware.compression import encoder

def resident():
    with open("/proc/self/status") as status:
        return next(int(line.split()[1]) for line in status if line.startswith("VmRSS"))

random.seed(1)
events = [b'data: {"id": %d, "at": "%a"}\\n\\n' % (i, random.random()) for i in range(6000)]

def stream():
    compressor = encoder(sys.argv[1], events=True)
    for event in events:
        compressor.compress(event)
        compressor.flush()
    return compressor

kept = [stream()]
before = resident()
kept += [stream() for _ in range(20)]
print((resident() - before) // 20)
"""


@pytest.mark.skipif(sys.platform != "linux", reason="reads /proc")
@pytest.mark.parametrize("coding", ["zstd", "br", "gzip"])
def test_an_open_event_stream_takes_less_than_half_a_mebibyte(coding: str) -> None:
    run = [sys.executable, "-c", RESIDENT, coding]
    done = subprocess.run(run, capture_output=True, text=True, check=True, timeout=120)
    assert 20 < int(done.stdout) < 480

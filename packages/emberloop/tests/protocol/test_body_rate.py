"""The least rate of a request body: `min_body_rate` after `body_rate_grace`."""

from __future__ import annotations

import asyncio
import threading
import time
from types import SimpleNamespace
from typing import Any

import pytest
from ember.limits import ServerLimits
from ember.protocol.http1.framing import Framing
from ember.protocol.server.body_reader import RequestBodyReader
from ember.request import Request

from tests.support.app import App
from tests.support.server import ServeFixture
from tests.support.waiting import eventually

HEAD = b"POST / HTTP/1.1\r\nHost: x\r\nContent-Length: 100000\r\n\r\n"


class Feed:
    """An body_reader with a clock that is moved by hand."""

    def __init__(self, **limits: Any) -> None:
        self.now = 1000.0
        self.until = 0.0
        self.connection = SimpleNamespace(
            limits=ServerLimits(**limits),
            loop=SimpleNamespace(time=lambda: self.now),
            buffer=bytearray(),
            ended=False,
            deadlines=self,
            exhausted=lambda: False,
        )
        exchange: Any = SimpleNamespace(answered=False, max_body_size=1 << 20, started=False)
        framing = Framing()
        framing.length = 1 << 20
        self.body_reader = RequestBodyReader(self.connection, exchange, framing)  # type: ignore[arg-type]
        self.until = self.now + self.body_reader.patience()

    def expect(self, phase: str, seconds: float) -> None:
        self.until = self.now + seconds

    def send(self, size: int, after: float) -> bool:
        """`size` bytes come `after` seconds; whether that was in time."""
        self.now += after
        if self.now > self.until + 1e-6:
            return False
        self.connection.buffer += b"x" * size
        while self.body_reader.pump():
            self.body_reader.body.drop()
        return True


@pytest.mark.once
def test_a_body_at_the_least_rate_arrives_and_one_byte_less_does_not() -> None:
    limits = {"min_body_rate": 10, "body_rate_grace": 2.0}
    enough = Feed(**limits)
    assert all(enough.send(10, 1.0) for _ in range(1000))
    little = Feed(**limits)
    times = [little.send(9, 1.0) for _ in range(1000)]
    # Of the two seconds of grace one is waited in, and each second costs a tenth of the other.
    assert times.index(False) == 11
    assert "too slowly: at least 10 bytes a second" in little.body_reader.verdict()


@pytest.mark.once
def test_what_came_fast_is_no_right_to_trickle_for_ever() -> None:
    feed = Feed(min_body_rate=10, body_rate_grace=2.0, body_timeout=5.0)
    assert feed.send(500_000, 0.1)
    assert not all(feed.send(1, 1.0) for _ in range(10))


@pytest.mark.once
def test_a_gap_of_less_than_the_body_timeout_is_none_too_slow_after_enough_bytes() -> None:
    feed = Feed(min_body_rate=10, body_rate_grace=2.0, body_timeout=5.0)
    assert feed.send(50, 0.0)
    assert all(feed.send(50, 4.9) for _ in range(50))


@pytest.mark.once
def test_the_time_in_which_the_server_does_not_read_is_not_counted() -> None:
    feed = Feed(min_body_rate=10, body_rate_grace=2.0)
    assert feed.send(1, 0.5)
    feed.body_reader.hold()
    feed.now += 3600
    feed.until = feed.now + feed.body_reader.patience()
    assert feed.send(1, 1.5)
    assert not feed.send(1, 1.0)


@pytest.mark.once
def test_without_a_rate_only_the_body_timeout_holds() -> None:
    feed = Feed(min_body_rate=None, body_timeout=5.0)
    assert all(feed.send(1, 4.9) for _ in range(100))
    assert not feed.send(1, 5.1)


@pytest.mark.once
@pytest.mark.parametrize("wrong", [0, -1, 1.5, True, "240"])
def test_the_rate_is_a_whole_number(wrong: Any) -> None:
    with pytest.raises(ValueError, match="ServerLimits\\(min_body_rate="):
        ServerLimits(min_body_rate=wrong)


def test_a_body_that_trickles_is_408(serve: ServeFixture) -> None:
    """A byte now and then keeps every gap short, and is refused all the same."""

    async def read(request: Request) -> str:
        return str(len(await request.body()))

    limits = ServerLimits(min_body_rate=100_000, body_rate_grace=0.3, body_timeout=30)
    running = serve(App({"/": read}, limits=limits))
    stop = threading.Event()
    with running.connect() as client:
        client.send(HEAD)

        def trickle() -> None:
            while not stop.wait(0.1):
                try:
                    client.send(b"x")
                except OSError:
                    return

        thread = threading.Thread(target=trickle, daemon=True)
        start = time.monotonic()
        thread.start()
        answer = client.recv_response()
        stop.set()
        thread.join(5)
        assert answer.status == 408
        assert b"at least 100000 bytes a second" in answer.body
        assert time.monotonic() - start > 0.25


def test_a_body_that_nobody_reads_is_not_too_slow(serve: ServeFixture) -> None:
    go = asyncio.Event()
    begun: list[bool] = []

    async def late(request: Request) -> str:
        begun.append(True)
        await asyncio.sleep(0.6)
        await go.wait()
        return str(len(await request.body()))

    limits = ServerLimits(min_body_rate=1_000_000, body_rate_grace=0.3)
    running = serve(App({"/": late}, limits=limits))
    with running.connect() as client:
        client.send(HEAD + b"x" * 100_000)
        eventually(lambda: begun)
        running.loop.call_soon_threadsafe(go.set)
        assert client.recv_response().body == b"100000"

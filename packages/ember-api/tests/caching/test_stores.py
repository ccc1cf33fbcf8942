"""Cached routes over Redis and Memcached: shared hits, a store that dies and comes back."""

from __future__ import annotations

import asyncio
import itertools
import logging
import math
import os
import struct
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest
from ember import Ember, Request, Response
from ember.cache import BytesSerializer, Cache, JSONSerializer, RedisCache

from tests.support.server import Running, ServeFixture
from tests.support.stores import Service, memcached, redis, remote, running
from tests.support.waiting import eventually

_prefixes = itertools.count()
#: what servers on ports of their own are asked by
HOST = {"Host": "shop.test"}
STORES: dict[str, Callable[[Path], Service]] = {"redis": redis, "memcached": lambda _: memcached()}


@pytest.fixture(params=["redis", "memcached"])
def kind(request: pytest.FixtureRequest) -> str:
    return str(request.param)


@pytest.fixture
def store(kind: str, tmp_path: Path) -> Iterator[Service]:
    yield from running(STORES[kind](tmp_path))


@pytest.fixture
def redis_store(tmp_path: Path) -> Iterator[Service]:
    yield from running(redis(tmp_path))


def app_with(cache: Cache, **options: Any) -> tuple[Ember, list[str]]:
    app = Ember(**options)
    calls: list[str] = []

    @app.get("/x", cache=cache)
    async def handler(request: Request) -> Response:
        calls.append(request.query_string)
        return Response(f"answer {len(calls)} \xff".encode("latin-1"), headers={"X-One": "1"})

    return app, calls


@pytest.fixture
def start(serve: ServeFixture) -> Iterator[Callable[[Ember], Running]]:
    """A server with a started application, which is shut down at the end."""
    begun: list[tuple[Ember, Running]] = []

    def start(app: Ember) -> Running:
        server = serve(app)
        server.call(app.startup())
        begun.append((app, server))
        return server

    yield start
    for app, server in begun:
        server.call(app.shutdown())


Start = Callable[[Ember], Running]


def prefix() -> str:
    return f"routes{os.getpid()}-{next(_prefixes)}:"


def test_two_servers_share_hits_and_an_invalidation(
    kind: str, store: Service, start: Start
) -> None:
    name = prefix()
    caches = [remote(kind, store.port, key_prefix=name) for _ in range(2)]
    apps = [app_with(cache) for cache in caches]
    one, other = (start(app) for app, _ in apps)
    first = one.get("/x", HOST)
    assert (first.header("x-cache"), first.body) == ("MISS", b"answer 1 \xff")
    for server in (other, one):
        hit = server.get("/x", HOST)
        assert (hit.header("x-cache"), hit.body) == ("HIT", b"answer 1 \xff")
        assert hit.header("etag") == first.header("etag")
        assert hit.header("x-one") == "1"
        assert hit.header("age") is not None
        head = server.request("HEAD", "/x", headers=HOST)
        assert (head.header("x-cache"), head.header("content-length")) == ("HIT", "10")
        same = server.get("/x", {**HOST, "If-None-Match": first.header("etag") or ""})
        assert same.status == 304
    one.call(caches[0].invalidate(key="GET http://shop.test/x"))
    assert other.get("/x", HOST).header("x-cache") == "MISS"
    assert one.get("/x", HOST).header("x-cache") == "HIT"
    assert [len(calls) for _, calls in apps] == [1, 1]


def test_a_change_on_one_server_is_seen_by_the_other(
    kind: str, store: Service, start: Start
) -> None:
    name, value = prefix(), ["old"]
    servers = []
    for _ in range(2):
        app = Ember()

        @app.get("/value", cache=remote(kind, store.port, key_prefix=name))
        async def read() -> str:
            return value[0]

        @app.put("/value")
        async def write(request: Request) -> None:
            value[0] = (await request.body()).decode()

        servers.append(start(app))
    one, other = servers
    assert [s.get("/value?a").body for s in (one, other, one)] == [b"old"] * 3
    assert other.request("PUT", "/value", b"new").status == 204
    assert [s.get("/value?a").body for s in (one, other)] == [b"new"] * 2


def test_a_store_that_is_away_at_the_start_is_no_hindrance_and_heals(
    kind: str, tmp_path: Path, start: Start, caplog: pytest.LogCaptureFixture
) -> None:
    service = STORES[kind](tmp_path)
    # The client of Memcached only gives up when it has to; a slow machine makes a miss of that.
    cache = remote(kind, service.port, key_prefix=prefix(), deadline=0.3)
    app, calls = app_with(cache)
    with caplog.at_level(logging.WARNING, logger="ember.cache"):
        server = start(app)
        for _ in range(5):
            answer = server.get("/x")
            assert (answer.status, answer.header("x-cache")) == (200, "MISS")
    assert len(calls) == 5
    assert len([r for r in caplog.records if r.levelno >= logging.WARNING]) == 1
    for _ in running(service):
        eventually(lambda: server.get("/x").header("x-cache") == "HIT")
        # Inside: when it goes, so does the test's interest.
        server.call(cache.close())


def test_no_request_fails_while_the_store_dies_and_comes_back_under_load(
    kind: str, tmp_path: Path, start: Start
) -> None:
    service = STORES[kind](tmp_path)
    cache = remote(kind, service.port, key_prefix=prefix(), ttl=0.05, deadline=0.3)
    app, _ = app_with(cache)
    statuses: list[int] = []
    hits = 0

    async def load(port: int, stop: asyncio.Event) -> None:
        nonlocal hits
        reader, writer = await asyncio.open_connection("127.0.0.1", port)
        for number in itertools.count():
            if stop.is_set():
                break
            writer.write(f"GET /x?{number % 3} HTTP/1.1\r\nHost: a\r\n\r\n".encode())
            head = await reader.readuntil(b"\r\n\r\n")
            length = int(head.lower().partition(b"content-length: ")[2].partition(b"\r\n")[0])
            await reader.readexactly(length)
            statuses.append(int(head.split()[1]))
            hits += b"X-Cache: HIT" in head
        writer.close()
        await writer.wait_closed()

    async def disturb(port: int) -> None:
        stop = asyncio.Event()
        tasks = [asyncio.create_task(load(port, stop)) for _ in range(4)]

        async def past(count: int) -> None:
            async with asyncio.timeout(120):
                while len(statuses) < count and not all(task.done() for task in tasks):
                    await asyncio.sleep(0.002)

        async def hit_again() -> None:
            before = hits
            async with asyncio.timeout(120):
                while hits == before:
                    await asyncio.sleep(0.002)

        await hit_again()
        for _ in range(2):
            service.kill()
            await past(len(statuses) + 100)
            await asyncio.to_thread(service.start)
            await hit_again()
        stop.set()
        await asyncio.gather(*tasks)

    for _ in running(service):
        server = start(app)
        asyncio.run(disturb(server.port))
        server.call(cache.close())
    assert set(statuses) == {200}


@pytest.mark.parametrize("serializer", [BytesSerializer(), JSONSerializer()], ids=lambda s: s.name)
def test_answers_are_the_same_bytes_through_every_serializer(
    tmp_path: Path, start: Start, serializer: Any
) -> None:
    for service in running(redis(tmp_path)):
        url = f"redis://127.0.0.1:{service.port}"
        cache = RedisCache(url, deadline=5.0, serializer=serializer)
        app, calls = app_with(cache)
        server = start(app)
        assert [server.get("/x").body for _ in range(3)] == [b"answer 1 \xff"] * 3
        assert len(calls) == 1
        server.call(cache.close())


def test_what_is_in_the_store_and_is_not_a_response_is_replaced_by_one(
    kind: str, store: Service, start: Start, caplog: pytest.LogCaptureFixture
) -> None:
    cache = remote(kind, store.port, key_prefix=prefix())
    app, calls = app_with(cache)
    server = start(app)
    key = "GET http://shop.test/x"
    strange: list[Any] = ["text", 7, None, b"", b"E1nonsense", b"E100000002[]", [[]] * 50]
    for status in ("101", "1e2", "999", "null"):
        head = f'[" /x",{status},null,[["A","b"]],true,99,1700000000]'
        strange.append(f"E1{len(head):08x}{head}".encode())
    for number, value in enumerate(strange, 1):
        server.call(cache.set(key, value))
        for expected in ("MISS", "HIT"):
            answer = server.get("/x", HOST)
            assert (answer.status, answer.header("x-cache")) == (200, expected), value
            assert answer.body == b"answer %d \xff" % number
    assert len(calls) == len(strange)
    assert not caplog.records
    server.call(cache.close())


def spoiled() -> list[bytes]:
    """Records that no cache has written; TOKEN and REST stand for those of a good one."""
    times = ((math.nan, 2e9), (1e9, math.nan), (-math.inf, 2e9), (1e308, 1e308))
    return [
        *(b"", b"V", b"P", b"V" * 17, b"V" * 42, b"x" * 5000, b"\x80\x04."),
        *(b"TOKEN" + struct.pack("<dd", *pair) + b"REST" for pair in times),
        b"TOKEN" + struct.pack("<ddB", 1e9, 2e9, 200),
    ]


def test_a_record_that_no_cache_has_written_is_replaced(redis_store: Service, start: Start) -> None:
    name = prefix()
    cache = RedisCache(f"redis://127.0.0.1:{redis_store.port}", deadline=5.0, key_prefix=name)
    app, calls = app_with(cache)
    server = start(app)

    async def plant(record: bytes) -> None:
        client: Any = cache.backend._redis()  # type: ignore[attr-defined]
        at = f"{name}v:GET http://shop.test/x"
        there = await client.get(at)
        await client.set(at, record.replace(b"TOKEN", there[:17]).replace(b"REST", there[33:]))

    server.get("/x", HOST)
    for number, record in enumerate(spoiled(), 2):
        server.call(plant(record))
        for expected in ("MISS", "HIT"):
            answer = server.get("/x", HOST)
            assert (answer.status, answer.header("x-cache")) == (200, expected), record
            assert answer.body == b"answer %d \xff" % number
    assert len(calls) == len(spoiled()) + 1
    server.call(cache.close())

"""The stores that the tests talk to: started on free ports, killed and started again at will."""

import asyncio
import itertools
import os
import socket
import subprocess
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest
from ember.cache import Cache, MemcachedCache, RedisCache, TTLCache

from tests.support.services import find_program, free_port, unavailable


class Service:
    """A store in a process of its own, on a port of its own."""

    def __init__(self, program: str, *arguments: str) -> None:
        found = find_program(program, "/usr/bin", "/usr/local/bin")
        if found is None:
            unavailable(program)
        self.port = free_port()
        self._command = [found, *(a.format(port=self.port) for a in arguments)]
        self._process: subprocess.Popen[bytes] | None = None

    def start(self) -> None:
        self._process = subprocess.Popen(
            self._command, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL
        )
        deadline = time.monotonic() + 10
        while True:
            try:
                socket.create_connection(("127.0.0.1", self.port), 1).close()
                return
            except ConnectionRefusedError:
                assert self._process.poll() is None, f"{self._command} ended at once"
                assert time.monotonic() < deadline, f"{self._command} does not listen"
                os.sched_yield()

    def kill(self) -> None:
        if self._process is not None:
            self._process.kill()
            self._process.wait(10)
            self._process = None


def redis(folder: Path) -> Service:
    return Service(
        "redis-server", "--port", "{port}", "--bind", "127.0.0.1", "--save", "",
        "--appendonly", "no", "--dir", str(folder),
    )  # fmt: skip


def memcached() -> Service:
    user = ["-u", "nobody"] if os.geteuid() == 0 else []
    return Service("memcached", "-p", "{port}", "-l", "127.0.0.1", "-U", "0", *user)


def running(service: Service) -> Iterator[Service]:
    service.start()
    try:
        yield service
    finally:
        service.kill()


@pytest.fixture(scope="session")
def redis_service(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Service]:
    yield from running(redis(tmp_path_factory.mktemp("redis")))


@pytest.fixture(scope="session")
def memcached_service() -> Iterator[Service]:
    yield from running(memcached())


@pytest.fixture
def mortal_redis(tmp_path: Path) -> Iterator[Service]:
    """One that the test may kill."""
    yield from running(redis(tmp_path))


@pytest.fixture
def mortal_memcached() -> Iterator[Service]:
    yield from running(memcached())


def remote(kind: str, port: int, **options: Any) -> Cache:
    """A cache of that kind with a deadline that a busy test machine does not exceed by itself."""
    options = {"deadline": 5.0, **options}
    if kind == "redis":
        return RedisCache(f"redis://127.0.0.1:{port}", **options)
    return MemcachedCache("127.0.0.1", port, **options)


_prefixes = itertools.count()

Make = Callable[..., Cache]


@pytest.fixture(params=["local", "redis", "memcached"])
def make(request: pytest.FixtureRequest) -> Make:
    """`make(**options)`: a cache of each kind; those of one test share what can be shared."""
    if request.param == "local":
        return lambda **options: TTLCache(**{"ttl": 60, **options})
    return request.getfixturevalue(f"make_{request.param}")  # type: ignore[no-any-return]


@pytest.fixture(params=["redis", "memcached"])
def make_remote(request: pytest.FixtureRequest) -> Make:
    """The same for what other processes can see."""
    return request.getfixturevalue(f"make_{request.param}")  # type: ignore[no-any-return]


@pytest.fixture
def make_redis(redis_service: Service) -> Make:
    prefix = f"test{os.getpid()}-{next(_prefixes)}:"
    return lambda **o: remote("redis", redis_service.port, **{"key_prefix": prefix, **o})


@pytest.fixture
def make_memcached(memcached_service: Service) -> Make:
    prefix = f"test{os.getpid()}-{next(_prefixes)}:"
    return lambda **o: remote("memcached", memcached_service.port, **{"key_prefix": prefix, **o})


class Origin:
    """Computes 1, 2, 3 ...; can be held back and made to fail."""

    def __init__(self, held: bool = False) -> None:
        self.calls = 0
        self.error: Exception | None = None
        self.started = asyncio.Event()
        self.open = asyncio.Event()
        if not held:
            self.open.set()

    async def __call__(self) -> int:
        self.calls += 1
        mine = self.calls
        self.started.set()
        await self.open.wait()
        if self.error is not None:
            raise self.error
        return mine

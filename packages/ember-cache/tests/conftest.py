"""The stores that the tests talk to: started on free ports, killed and started again at will."""

import asyncio
import itertools
import os
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest
from ember.cache import Cache, TTLCache

from tests.support.stores import Service, memcached, redis, remote, running


def pytest_itemcollected(item: pytest.Item) -> None:
    item.add_marker(pytest.mark.once_per_build)  # asyncio's own loop runs all of these


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

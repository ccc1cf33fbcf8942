"""Redis and Memcached: several processes, outages, slowness, refusals."""

import asyncio
import contextlib
import importlib.util
import logging
from collections.abc import Awaitable, Callable
from typing import Any, Protocol

import pytest
from ember.cache import (
    BytesSerializer,
    Cache,
    JSONSerializer,
    Lifetime,
    MemcachedCache,
    MsgpackSerializer,
    RedisCache,
    WorkCancelled,
)
from ember.cache.serializer import default
from ember.cache.shared import PENDING, SharedCache

Make = Callable[..., SharedCache]


class Mortal(Protocol):
    port: int

    def start(self) -> None: ...
    def kill(self) -> None: ...


class Origin:
    """Computes 1, 2, 3 ...; can be held back."""

    def __init__(self, held: bool = False) -> None:
        self.calls = 0
        self.started = asyncio.Event()
        self.open = asyncio.Event()
        if not held:
            self.open.set()

    async def __call__(self) -> int:
        self.calls += 1
        mine = self.calls
        self.started.set()
        await self.open.wait()
        return mine


def run(main: Callable[[], Awaitable[None]]) -> None:
    complaints: list[dict[str, Any]] = []

    async def body() -> None:
        loop = asyncio.get_running_loop()
        loop.set_exception_handler(lambda _, context: complaints.append(context))
        async with asyncio.timeout(120):
            await main()

    asyncio.run(body())
    assert complaints == []


def warnings(caplog: pytest.LogCaptureFixture) -> list[str]:
    return [r.getMessage() for r in caplog.records if r.levelno >= logging.WARNING]


@pytest.fixture(params=["redis", "memcached"])
def mortal(request: pytest.FixtureRequest) -> tuple[Mortal, Make]:
    """A store of the test's own, and how to make a cache over it."""
    service: Mortal = request.getfixturevalue(f"mortal_{request.param}")

    def make(**options: Any) -> SharedCache:
        if request.param == "redis":
            return RedisCache(f"redis://127.0.0.1:{service.port}", **options)
        return MemcachedCache("127.0.0.1", service.port, **options)

    return service, make


def test_two_instances_share_hits(make_remote: Make) -> None:
    async def main() -> None:
        origin = Origin()
        async with make_remote() as one, make_remote() as two:
            await one.fetch("k", origin, tags=["t"])
            found = await two.fetch("k", origin)
            assert (found.value, found.state) == (1, "HIT")
            assert origin.calls == 1

    run(main)


@pytest.mark.parametrize("how", ["key", "pattern", "tag"])
def test_an_invalidation_by_one_instance_is_seen_by_the_other(make_remote: Make, how: str) -> None:
    what = {"key": "user:1", "pattern": "user:*", "tag": "users"}[how]

    async def main() -> None:
        old, new = Origin(held=True), Origin(held=True)
        async with make_remote() as one, make_remote() as two:
            before = asyncio.create_task(two.fetch("user:1", old, tags=["users"]))
            await old.started.wait()
            await one.invalidate(**{how: what})
            after = asyncio.create_task(two.fetch("user:1", new, tags=["users"]))
            await new.started.wait()  # not joined, though `two` has not been told
            old.open.set()
            assert (await before).value == 1
            assert await one.get("user:1") is None  # not stored
            assert await two.get("user:1") is None
            new.open.set()
            await after
            assert await one.get("user:1") == 1

    run(main)


def test_a_prefix_is_a_world_of_its_own(make_remote: Make) -> None:
    async def main() -> None:
        async with make_remote() as one, make_remote(key_prefix="other[*]:") as two:
            await one.set("k", 1, tags=["t"])
            await two.set("k", 2, tags=["t"])
            await two.invalidate(pattern="*")
            assert await two.get("k") is None
            assert await one.get("k") == 1
            await two.invalidate(tag="t")
            assert await one.get("k") == 1

    run(main)


def test_a_pattern_in_redis_takes_what_matches_and_nothing_else(make_redis: Make) -> None:
    async def main() -> None:
        async with make_redis() as cache:
            for n in range(2500):
                await cache.set(f"user:{n}", n)
            await cache.set("user[1]", 1)
            await cache.set("task:1", 1)
            await cache.invalidate(pattern="user:*")
            assert await cache.get("user:2499") is None
            assert await cache.get("user[1]") == 1
            await cache.invalidate(pattern="user[1]")
            assert await cache.get("user[1]") is None
            assert await cache.get("task:1") == 1

    run(main)


def test_a_tag_in_redis_forgets_the_keys_that_are_gone(make_redis: Make) -> None:
    async def main() -> None:
        async with make_redis() as cache:
            backend: Any = cache.backend
            for n in range(50):
                await cache.set(f"k{n}", n, ttl=0.001, tags=["t"])
            while await cache.get("k49") is not None:
                await asyncio.sleep(0)
            await cache.set("last", 1, tags=["t"])
            assert await backend._redis().zcard(backend._tag("t")) == 1
            assert await backend._redis().pttl(backend._tag("t")) > 0

    run(main)


def test_a_store_killed_under_load_fails_no_call_and_is_used_again_when_it_is_back(
    mortal: tuple[Mortal, Make], caplog: pytest.LogCaptureFixture
) -> None:
    service, make = mortal

    async def main() -> None:
        calls = 0
        stop = False

        async def compute() -> str:
            await asyncio.sleep(0)
            return "value"

        async def client(cache: Cache, n: int) -> None:
            nonlocal calls
            while not stop:
                found = await cache.fetch(f"k{n % 8}", compute, tags=["t"])
                assert found.value == "value"
                calls += 1
                await asyncio.sleep(0)

        async def until(condition: Callable[[], bool]) -> None:
            while not condition():
                await asyncio.sleep(0)

        async with make(deadline=2.0) as cache, asyncio.TaskGroup() as clients:
            for n in range(16):
                clients.create_task(client(cache, n))
            await until(lambda: cache.stats().hits > 100)
            await asyncio.to_thread(service.kill)
            await until(lambda: cache.stats().store_failures > 0)
            before = calls
            await until(lambda: calls > before + 1000)
            assert len(warnings(caplog)) == 1
            await asyncio.to_thread(service.start)
            hits = cache.stats().hits
            await until(lambda: cache.stats().hits > hits + 100)
            stop = True
        assert cache.stats().failed == 0

    with caplog.at_level(logging.INFO):
        run(main)
    [line] = warnings(caplog)
    assert "does not answer" in line
    assert f"127.0.0.1:{service.port}" in line
    assert [r.getMessage() for r in caplog.records if "answers again" in r.getMessage()]


def test_one_call_is_made_however_many_ask_while_the_store_is_away(
    mortal: tuple[Mortal, Make],
) -> None:
    service, make = mortal
    service.kill()

    async def main() -> None:
        origin = Origin(held=True)
        async with make() as cache:
            calls = [asyncio.create_task(cache.fetch("k", origin)) for _ in range(500)]
            while cache.stats().misses < 500:
                await asyncio.sleep(0)
            origin.open.set()
            assert {found.value for found in await asyncio.gather(*calls)} == {1}
            assert origin.calls == 1

    run(main)


def test_an_invalidation_while_the_store_is_away_is_made_good_before_it_is_read_again(
    mortal: tuple[Mortal, Make],
) -> None:
    service, make = mortal

    async def main() -> None:
        async with relay(service.port) as line:
            kind = RedisCache if make().backend.name.startswith("redis") else MemcachedCache
            where: dict[str, Any] = (
                {"url": f"redis://127.0.0.1:{line.port}"}
                if kind is RedisCache
                else {"host": "127.0.0.1", "port": line.port}
            )
            other = make(deadline=5.0)
            async with kind(**where, deadline=1.0) as cache:
                for n in range(4):
                    await cache.set(f"k{n}", "old", tags=[f"t{n}"])
                line.cut()
                await cache.invalidate(key="k0")
                await cache.invalidate(tag="t1")
                await cache.set("k2", "new")
                assert await other.get("k0") == "old"  # the store itself is alive
                line.mend()
                seen: set[Any] = set()
                while "old" not in seen:  # the one that was not invalidated
                    seen.add(await cache.get("k3"))
                    await asyncio.sleep(0)
                for n in range(3):
                    assert await cache.get(f"k{n}") is None
                    assert await other.get(f"k{n}") is None
            await other.close()

    run(main)


def test_too_many_invalidations_to_remember_become_one_of_everything() -> None:
    async def main() -> None:
        cache = RedisCache("redis://127.0.0.1:1")
        for n in range(PENDING + 1):
            cache._remember("key", f"k{n}")
        assert cache._pending == [("pattern", "*")]

    run(main)


class Relay:
    """A line between a client and a store that can be cut, mended and made to hang."""

    def __init__(self, target: int) -> None:
        self.port = 0
        self.hangs = False
        self._whole = True
        self._target = target
        self._writers: set[asyncio.StreamWriter] = set()
        self.busy: set[asyncio.Task[None]] = set()

    def cut(self) -> None:
        self._whole = False
        for writer in self._writers:
            writer.close()

    def mend(self) -> None:
        self._whole = True

    async def accept(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        if not self._whole:
            writer.close()
            return
        task = asyncio.current_task()
        assert task is not None
        self.busy.add(task)
        there, back = await asyncio.open_connection("127.0.0.1", self._target)
        self._writers |= {writer, back}
        await asyncio.gather(self._pump(reader, back), self._pump(there, writer))

    async def _pump(self, source: asyncio.StreamReader, to: asyncio.StreamWriter) -> None:
        with contextlib.suppress(ConnectionError):
            while data := await source.read(65536):
                if not self.hangs:
                    to.write(data)
                    await to.drain()
        to.close()


@contextlib.asynccontextmanager
async def relay(target: int) -> Any:
    line = Relay(target)
    server = await asyncio.start_server(line.accept, "127.0.0.1", 0)
    line.port = server.sockets[0].getsockname()[1]
    try:
        yield line
    finally:
        server.close()
        line.cut()
        if line.busy:
            await asyncio.wait(line.busy)


@pytest.mark.parametrize("kind", ["redis", "memcached"])
def test_a_store_that_does_not_answer_costs_one_deadline_and_no_more(
    kind: str, request: pytest.FixtureRequest, caplog: pytest.LogCaptureFixture
) -> None:
    service = request.getfixturevalue(f"{kind}_service")

    async def main() -> None:
        origin = Origin()
        async with relay(service.port) as line:
            where = f"redis://127.0.0.1:{line.port}"
            cache: SharedCache = (
                RedisCache(where, deadline=10, key_prefix="slow:")
                if kind == "redis"
                else MemcachedCache("127.0.0.1", line.port, deadline=10, key_prefix="slow:")
            )
            async with cache:
                line.hangs = True
                cache.guard.deadline = 0.2
                loop = asyncio.get_running_loop()
                start = loop.time()
                assert (await cache.fetch("k", origin)).value == 1
                first = loop.time() - start
                assert 0.15 < first < 9.0
                stopped = loop.time()
                cache.guard._clock = lambda: stopped  # the pause does not end
                for _ in range(100):
                    await cache.fetch("k", origin)
                assert loop.time() - start < 15.0  # and not a hundred deadlines
                assert origin.calls == 101

    run(main)
    assert len(warnings(caplog)) == 1


def test_a_restart_in_the_middle_of_a_computation_loses_the_value_and_nothing_else(
    mortal: tuple[Mortal, Make],
) -> None:
    service, make = mortal

    async def main() -> None:
        origin = Origin(held=True)
        async with make(deadline=5.0) as cache:
            call = asyncio.create_task(cache.fetch("k", origin))
            await origin.started.wait()
            await asyncio.to_thread(service.kill)
            await asyncio.to_thread(service.start)
            origin.open.set()
            assert (await call).value == 1
            assert cache.stats().stored == 0

    run(main)


def test_a_lock_makes_one_process_compute_for_all(make_redis: Make) -> None:
    async def main() -> None:
        origin, other = Origin(held=True), Origin()
        async with make_redis(lock=30) as one, make_redis(lock=30) as two:
            first = asyncio.create_task(one.fetch("k", origin))
            await origin.started.wait()
            second = asyncio.create_task(two.fetch("k", other))
            await asyncio.wait([second], timeout=0.1)
            origin.open.set()
            assert (await first).value == 1
            found = await second
            assert (found.value, found.state) == (1, "HIT")
            assert other.calls == 0

    run(main)


def test_a_lock_whose_holder_is_gone_ends_with_its_time(make_redis: Make) -> None:
    async def main() -> None:
        origin = Origin()
        async with make_redis(lock=0.1) as cache:
            assert await cache.backend.lock("k", 0.1) is not None
            assert (await cache.fetch("k", origin)).value == 1

    run(main)


def test_a_lock_is_given_back_when_the_computation_fails(make_redis: Make) -> None:
    async def fail() -> None:
        raise LookupError

    async def main() -> None:
        async with make_redis(lock=30) as cache:
            with pytest.raises(LookupError):
                await cache.fetch("k", fail)
            assert await cache.backend.lock("k", 1) is not None

    run(main)


def test_a_value_one_byte_too_large_is_given_and_not_stored(make_remote: Make) -> None:
    async def main() -> None:
        async with make_remote(max_size=1000, serializer=BytesSerializer()) as cache:

            async def compute(size: int) -> bytes:
                return b"x" * size

            assert len((await cache.fetch("fits", lambda: compute(1000))).value) == 1000
            assert len((await cache.fetch("large", lambda: compute(1001))).value) == 1001
            assert await cache.get("fits") is not None
            assert await cache.get("large") is None
            with pytest.raises(ValueError, match="1001 bytes, max_size is 1000"):
                await cache.set("large", b"x" * 1001)

    run(main)


def test_what_memcached_refuses_is_not_stored_and_does_no_harm(make_memcached: Make) -> None:
    async def main() -> None:
        options = {"max_size": 5_000_000, "serializer": BytesSerializer()}
        async with make_memcached(**options) as cache:
            await cache.set("k", b"old")
            await cache.set("k", b"x" * 2_000_000)
            assert await cache.get("k") is None  # at least not the old one
            await cache.set("k", b"new")
            assert await cache.get("k") == b"new"

    run(main)


def test_a_value_that_cannot_be_written_is_given_and_said_once(
    make_remote: Make, caplog: pytest.LogCaptureFixture
) -> None:
    async def main() -> None:
        async with make_remote() as cache:
            value = object()

            async def compute() -> object:
                return value

            for _ in range(3):
                assert (await cache.fetch("k", compute)).value is value

    run(main)
    [line] = warnings(caplog)
    assert "the value of 'k', a object, cannot be written as msgpack" in line


def test_a_computed_value_looks_like_a_kept_one(make_remote: Make) -> None:
    async def main() -> None:
        async with make_remote() as cache:

            async def compute() -> tuple[int, int]:
                return (1, 2)

            assert (await cache.fetch("k", compute)).value == [1, 2]
            assert (await cache.fetch("k", compute)).value == [1, 2]

    run(main)


def test_a_value_written_by_another_serializer_is_missing(make_remote: Make) -> None:
    async def main() -> None:
        async with make_remote() as one, make_remote(serializer=JSONSerializer()) as two:
            await one.set("k", 1)
            assert await two.get("k") is None
            assert (await two.fetch("k", Origin())).state == "MISS"
            assert await two.get("k") == 1
            assert await one.get("k") is None

    run(main)


def test_foreign_bytes_at_a_key_are_missing_and_replaced(make_redis: Make) -> None:
    async def main() -> None:
        async with make_redis() as cache:
            backend: Any = cache.backend
            for junk in (b"", b"V", b"V" * 60, b"something else"):
                await backend._redis().set(backend._at("k"), junk)
                assert await cache.get("k") is None
                assert (await cache.fetch("k", Origin())).state == "MISS"
                assert await cache.get("k") == 1

    run(main)


def test_what_redis_refuses_is_a_miss_and_no_outage(
    make_redis: Make, caplog: pytest.LogCaptureFixture
) -> None:
    async def main() -> None:
        async with make_redis() as cache:
            backend: Any = cache.backend
            await cache.set("good", 1)
            await backend._redis().lpush(backend._tag("t"), "not a sorted set")
            for n in range(5):
                assert (await cache.fetch(f"k{n}", Origin(), tags=["t"])).value == 1
            assert not cache.guard.down
            assert await cache.get("good") == 1

    run(main)
    [line] = warnings(caplog)
    assert "refused an operation (ResponseError: WRONGTYPE" in line


def test_admit_decides_how_long_and_how_old(make_remote: Make) -> None:
    async def main() -> None:
        async with make_remote() as cache:
            await cache.fetch("old", Origin(), admit=lambda value: Lifetime(ttl=50, age=20))
            found = await cache.fetch("old", Origin())
            assert 20 <= found.age < 40
            for never in (0, -1, float("nan")):
                await cache.fetch("never", Origin(), admit=lambda value, ttl=never: ttl)
            assert await cache.get("never") is None
            await cache.fetch("ever", Origin(), admit=lambda value: float("inf"))
            assert await cache.get("ever") == 1
            assert not cache.guard.down

    run(main)


def test_closing_tells_those_who_wait(make_remote: Make) -> None:
    async def main() -> None:
        origin = Origin(held=True)
        cache = make_remote()
        call = asyncio.create_task(cache.fetch("k", origin))
        await origin.started.wait()
        await cache.close()
        with pytest.raises(WorkCancelled):
            await call
        origin.open.set()
        assert (await cache.fetch("k", origin)).value == 2
        await cache.close()

    run(main)


def test_it_is_no_error_when_the_store_is_away_at_the_start(
    mortal: tuple[Mortal, Make], caplog: pytest.LogCaptureFixture
) -> None:
    service, make = mortal
    service.kill()

    async def main() -> None:
        async with make() as cache:
            assert (await cache.fetch("k", Origin())).value == 1

    run(main)
    assert len(warnings(caplog)) == 1


@pytest.mark.parametrize(
    ("make", "message"),
    [
        (lambda: RedisCache("localhost:6379"), "expected redis://host:6379"),
        (lambda: RedisCache("http://localhost"), "expected redis://host:6379"),
        (lambda: RedisCache(ttl=0), "RedisCache(ttl=0): more than 0 seconds"),
        (lambda: RedisCache(ttl=float("inf")), "a store needs an end"),
        (lambda: RedisCache(max_size=0), "RedisCache(max_size=0): at least 1"),
        (lambda: RedisCache(deadline=0), "RedisCache(deadline=0): more than 0 seconds"),
        (lambda: RedisCache(lock=-1), "RedisCache(lock=-1): more than 0 seconds"),
        (lambda: RedisCache(key_prefix=b"x"), "key_prefix=b'x'): a str"),  # type: ignore[arg-type]
        (lambda: MemcachedCache(host=""), "a host name or address"),
        (lambda: MemcachedCache(port=65536), "at most 65535"),
        (lambda: MemcachedCache(pool_size=0), "MemcachedCache(pool_size=0): at least 1"),
        (lambda: MemcachedCache(key_prefix="x" * 101), "at most 100 long"),
    ],
)
def test_a_bad_argument_is_a_clear_error(make: Callable[[], Cache], message: str) -> None:
    with pytest.raises((TypeError, ValueError)) as error:
        make()
    assert message in str(error.value)


@pytest.mark.parametrize(
    ("make", "extra"), [(RedisCache, "ember-cache[redis]"), (MemcachedCache, "[memcached]")]
)
def test_a_client_that_is_not_installed_is_named(
    monkeypatch: pytest.MonkeyPatch, make: Callable[[], Cache], extra: str
) -> None:
    monkeypatch.setattr(importlib.util, "find_spec", lambda name: None)
    with pytest.raises(ImportError) as error:
        make()
    assert extra in str(error.value)


def test_without_msgspec_values_are_json(monkeypatch: pytest.MonkeyPatch) -> None:
    assert isinstance(default(), MsgpackSerializer)
    monkeypatch.setattr(importlib.util, "find_spec", lambda name: None)
    assert isinstance(default(), JSONSerializer)


def test_the_password_is_not_in_the_log() -> None:
    cache = RedisCache("redis://:secret@example.invalid:7000/2")
    assert cache.guard.name == "RedisCache (redis://example.invalid:7000/2)"

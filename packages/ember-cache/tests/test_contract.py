"""What holds for every cache, wherever it keeps its values."""

import asyncio
import logging
from collections.abc import Awaitable, Callable
from typing import Any

import pytest
from ember.cache import Cache, cached

Make = Callable[..., Cache]


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


def run(main: Callable[[], Awaitable[None]]) -> None:
    complaints: list[dict[str, Any]] = []

    async def body() -> None:
        loop = asyncio.get_running_loop()
        loop.set_exception_handler(lambda _, context: complaints.append(context))
        async with asyncio.timeout(120):
            await main()

    asyncio.run(body())
    assert complaints == []


async def turns(n: int = 6) -> None:
    for _ in range(n):
        await asyncio.sleep(0)


def test_the_second_call_is_a_hit(make: Make) -> None:
    async def main() -> None:
        origin = Origin()
        async with make() as cache:
            first = await cache.fetch("k", origin)
            second = await cache.fetch("k", origin)
            assert (first.value, first.state) == (1, "MISS")
            assert (second.value, second.state) == (1, "HIT")
            assert 0 <= second.age < 30
            assert origin.calls == 1
            stats = cache.stats()
            assert (stats.hits, stats.misses, stats.computed, stats.stored) == (1, 1, 1, 1)

    run(main)


def test_a_value_ends_with_its_ttl(make: Make) -> None:
    async def main() -> None:
        origin = Origin()
        async with make(ttl=0.05) as cache:
            await cache.fetch("k", origin)
            while (await cache.fetch("k", origin)).value == 1:  # the test's own deadline ends it
                await turns(1)
            assert origin.calls == 2

    run(main)


def test_get_and_set(make: Make) -> None:
    async def main() -> None:
        async with make() as cache:
            assert await cache.get("k") is None
            assert await cache.get("k", "nothing") == "nothing"
            await cache.set("k", {"a": [1, None, "ü"]})
            assert await cache.get("k") == {"a": [1, None, "ü"]}
            await cache.set("k", 2, tags=["t"])
            assert await cache.get("k") == 2
            await cache.invalidate(tag="t")
            assert await cache.get("k") is None

    run(main)


@pytest.mark.parametrize(
    "key", ["ä key with spaces\nand lines", "x" * 5000, "*?[a]\\", "%s{}", "\udc80"]
)
def test_a_key_is_any_text(make: Make, key: str) -> None:
    async def main() -> None:
        async with make() as cache:
            await cache.set(key, 1, tags=[key])
            await cache.set(key + "!", 2)
            assert await cache.get(key) == 1
            await cache.invalidate(tag=key)
            assert await cache.get(key) is None
            assert await cache.get(key + "!") == 2

    run(main)


def test_five_thousand_concurrent_misses_make_one_call(make: Make) -> None:
    async def main() -> None:
        origin = Origin(held=True)
        async with make() as cache:
            calls = [asyncio.create_task(cache.fetch("k", origin)) for _ in range(5000)]
            await origin.started.wait()
            await turns()
            origin.open.set()
            assert {found.value for found in await asyncio.gather(*calls)} == {1}
            assert origin.calls == 1

    run(main)


def test_many_keys_at_once_are_each_computed_once(make: Make) -> None:
    async def main() -> None:
        origins = [Origin() for _ in range(1000)]
        async with make() as cache:
            for _ in range(2):
                await asyncio.gather(*(cache.fetch(f"k{i}", o) for i, o in enumerate(origins)))
            assert [origin.calls for origin in origins] == [1] * 1000
            assert cache.stats().hits == 1000
            assert cache.stats().store_failures == 0

    run(main)


def test_a_failure_reaches_every_waiter_and_is_not_kept(make: Make) -> None:
    async def main() -> None:
        origin = Origin(held=True)
        origin.error = LookupError("no such row")
        async with make() as cache:
            calls = [asyncio.create_task(cache.fetch("k", origin)) for _ in range(50)]
            await origin.started.wait()
            await turns()
            origin.open.set()
            results = await asyncio.gather(*calls, return_exceptions=True)
            assert [repr(r) for r in results] == ["LookupError('no such row')"] * 50
            origin.error = None
            assert (await cache.fetch("k", origin)).value == 2

    run(main)


def test_when_the_first_caller_leaves_the_others_are_served(make: Make) -> None:
    async def main() -> None:
        origin = Origin(held=True)
        async with make() as cache:
            leader = asyncio.create_task(cache.fetch("k", origin))
            await origin.started.wait()
            other = asyncio.create_task(cache.fetch("k", origin))
            while cache.stats().misses < 2:
                await asyncio.sleep(0)
            leader.cancel()
            await asyncio.wait([leader])
            origin.open.set()
            assert (await other).value == 1
            assert origin.calls == 1
            assert (await cache.fetch("k", origin)).state == "HIT"

    run(main)


def invalidate(cache: Cache, how: str) -> Awaitable[None]:
    return cache.invalidate(**{how: {"key": "user:1", "pattern": "us*:?", "tag": "users"}[how]})


@pytest.mark.parametrize("how", ["key", "pattern", "tag"])
def test_after_an_invalidation_the_value_is_computed_again(make: Make, how: str) -> None:
    async def main() -> None:
        origin = Origin()
        async with make() as cache:
            await cache.fetch("user:1", origin, tags=["users", "all"])
            assert (await cache.fetch("user:1", origin, tags=["users", "all"])).state == "HIT"
            await invalidate(cache, how)
            assert (await cache.fetch("user:1", origin, tags=["users", "all"])).value == 2

    run(main)


@pytest.mark.parametrize("how", ["key", "tag"])
def test_an_invalidation_leaves_everything_else(make: Make, how: str) -> None:
    async def main() -> None:
        async with make() as cache:
            await cache.fetch("user:1", Origin(), tags=["users"])
            await cache.fetch("user:12", Origin(), tags=["other"])
            await invalidate(cache, how)
            assert (await cache.fetch("user:12", Origin(), tags=["other"])).state == "HIT"

    run(main)


@pytest.mark.parametrize("how", ["key", "pattern", "tag"])
def test_a_computation_begun_before_an_invalidation_is_neither_stored_nor_joined(
    make: Make, how: str
) -> None:
    async def main() -> None:
        old, new = Origin(held=True), Origin(held=True)
        async with make() as cache:
            before = asyncio.create_task(cache.fetch("user:1", old, tags=["users"]))
            await old.started.wait()
            await invalidate(cache, how)
            after = asyncio.create_task(cache.fetch("user:1", new, tags=["users"]))
            await new.started.wait()
            old.open.set()
            assert (await before).value == 1
            assert await cache.get("user:1") is None
            new.open.set()
            assert (await after).value == 1
            assert (await cache.fetch("user:1", old, tags=["users"])).state == "HIT"
            assert (old.calls, new.calls) == (1, 1)

    run(main)


def test_what_is_set_while_it_is_computed_is_not_overwritten(make: Make) -> None:
    async def main() -> None:
        origin = Origin(held=True)
        async with make() as cache:
            call = asyncio.create_task(cache.fetch("k", origin))
            await origin.started.wait()
            await cache.set("k", "set")
            origin.open.set()
            assert (await call).value == 1
            assert await cache.get("k") == "set"

    run(main)


def test_what_is_not_admitted_is_neither_kept_nor_shared(make: Make) -> None:
    async def main() -> None:
        gate, begun = asyncio.Event(), asyncio.Event()

        def private(name: str) -> Callable[[], Awaitable[str]]:
            async def compute() -> str:
                begun.set()
                await gate.wait()
                return name

            return compute

        names = ["ann", "bob", "cid"]
        async with make() as cache:
            calls = [
                asyncio.create_task(cache.fetch("k", private(n), admit=lambda value: None))
                for n in names
            ]
            await begun.wait()
            await asyncio.wait(calls, timeout=0.02)
            gate.set()
            assert [found.value for found in await asyncio.gather(*calls)] == names
            assert await cache.get("k") is None

    run(main)


def test_it_is_used_on_a_function(make: Make) -> None:
    calls: list[int] = []

    async def main() -> None:
        async with make() as cache:

            @cached(cache, tags=["squares"])
            async def square(n: int) -> dict[str, int]:
                calls.append(n)
                return {"n": n * n}

            assert await asyncio.gather(*(square(n % 3) for n in range(9))) == [
                {"n": n * n} for n in (0, 1, 2) * 3
            ]
            assert sorted(calls) == [0, 1, 2]
            await square.invalidate(2)
            assert await square(2) == {"n": 4}
            assert sorted(calls) == [0, 1, 2, 2]
            await cache.invalidate(tag="squares")
            await square(1)
            assert sorted(calls) == [0, 1, 1, 2, 2]

    run(main)


def test_it_can_be_used_on_one_loop_after_another(make: Make) -> None:
    cache = make()
    origin = Origin()

    async def main() -> None:
        async with cache:
            await cache.fetch("k", origin)

    for _ in range(3):
        run(main)
    assert origin.calls == 1


def test_it_says_nothing_when_all_is_well(make: Make, caplog: pytest.LogCaptureFixture) -> None:
    async def main() -> None:
        async with make() as cache:
            await cache.fetch("k", Origin())
            await cache.invalidate(key="k")
            await cache.invalidate(key="k")

    with caplog.at_level(logging.INFO):
        run(main)
    assert caplog.records == []

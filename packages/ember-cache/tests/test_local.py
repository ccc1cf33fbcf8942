"""`TTLCache` and `StaticCache`: what a caller sees."""

import asyncio
import logging
from collections.abc import Awaitable, Callable
from typing import Any

import pytest
from ember.cache import CacheStats, Found, Lifetime, StaticCache, TTLCache, WorkCancelled


class Clock:
    def __init__(self) -> None:
        self.now = 0.0

    def __call__(self) -> float:
        return self.now


class Origin:
    """Computes; can be held back and made to fail."""

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
    async def body() -> None:
        async with asyncio.timeout(120):
            await main()

    asyncio.run(body())


async def turns(n: int = 6) -> None:
    for _ in range(n):
        await asyncio.sleep(0)


def test_a_value_is_computed_once_per_ttl() -> None:
    async def main() -> None:
        clock, origin = Clock(), Origin()
        cache = TTLCache(ttl=1.0, clock=clock)
        for n in range(2500):  # a thousand a second for two and a half seconds
            clock.now = n / 1000
            await cache.fetch("k", origin)
        assert origin.calls == 3

    run(main)


def test_age_and_state_are_told() -> None:
    async def main() -> None:
        clock, origin = Clock(), Origin()
        cache = TTLCache(ttl=10, clock=clock)
        assert await cache.fetch("k", origin) == Found(1, "MISS", 0.0)
        clock.now += 4.5
        assert await cache.fetch("k", origin) == Found(1, "HIT", 4.5)

    run(main)


def test_five_thousand_concurrent_misses_make_one_call() -> None:
    async def main() -> None:
        origin = Origin(held=True)
        cache = TTLCache(ttl=60)
        calls = [asyncio.create_task(cache.fetch("k", origin)) for _ in range(5000)]
        await origin.started.wait()
        await turns()
        origin.open.set()
        assert {found.value for found in await asyncio.gather(*calls)} == {1}
        assert origin.calls == 1
        assert cache.stats().misses == 5000
        assert cache.stats().computed == 1

    run(main)


def test_the_entries_are_bounded() -> None:
    async def main() -> None:
        cache = TTLCache(ttl=60, max_entries=10)
        for n in range(11):
            await cache.fetch(f"k{n}", Origin())
        assert cache.stats().entries == 10
        assert await cache.get("k0") is None
        assert await cache.get("k1") == 1

    run(main)


def test_the_ttl_counts_from_when_the_value_was_ready() -> None:
    async def main() -> None:
        clock, origin = Clock(), Origin(held=True)
        cache = TTLCache(ttl=1.0, clock=clock)
        call = asyncio.create_task(cache.fetch("k", origin))
        await origin.started.wait()
        clock.now += 30  # far longer than the ttl
        origin.open.set()
        assert (await call).value == 1
        clock.now += 0.9
        assert (await cache.fetch("k", origin)).state == "HIT"

    run(main)


def test_an_error_is_not_kept() -> None:
    async def main() -> None:
        origin = Origin()
        cache = TTLCache(ttl=60)
        origin.error = LookupError("gone")
        with pytest.raises(LookupError, match="gone"):
            await cache.fetch("k", origin)
        origin.error = None
        assert (await cache.fetch("k", origin)).value == 2
        assert cache.stats().failed == 1

    run(main)


def test_none_is_a_value_like_any_other() -> None:
    async def main() -> None:
        calls = 0

        async def nothing() -> None:
            nonlocal calls
            calls += 1

        cache = TTLCache(ttl=60)
        for _ in range(3):
            assert (await cache.fetch("k", nothing)).value is None
        assert calls == 1

    run(main)


def invalidations() -> dict[str, Callable[[TTLCache], Awaitable[None]]]:
    return {
        "key": lambda cache: cache.invalidate(key="user:1"),
        "pattern": lambda cache: cache.invalidate(pattern="us*:?"),
        "tag": lambda cache: cache.invalidate(tag="users"),
        "set": lambda cache: cache.set("user:1", "set"),
    }


@pytest.mark.parametrize("how", ["key", "pattern", "tag"])
def test_after_an_invalidation_the_value_is_computed_again(how: str) -> None:
    async def main() -> None:
        origin, other = Origin(), Origin()
        cache = TTLCache(ttl=60)
        await cache.fetch("user:1", origin, tags=["users"])
        await cache.fetch("task:1", other, tags=["tasks"])
        await invalidations()[how](cache)
        assert (await cache.fetch("user:1", origin, tags=["users"])).value == 2
        assert (await cache.fetch("task:1", other)).state == "HIT"

    run(main)


@pytest.mark.parametrize("how", ["key", "pattern", "tag", "set"])
def test_a_computation_begun_before_an_invalidation_is_neither_stored_nor_joined(how: str) -> None:
    async def main() -> None:
        old, new = Origin(held=True), Origin(held=True)
        cache = TTLCache(ttl=60)
        before = asyncio.create_task(cache.fetch("user:1", old, tags=["users"]))
        await old.started.wait()
        await invalidations()[how](cache)
        if how == "set":
            old.open.set()
            assert (await before).value == 1
            assert await cache.get("user:1") == "set"
            return
        after = asyncio.create_task(cache.fetch("user:1", new, tags=["users"]))
        await new.started.wait()
        old.open.set()
        assert (await before).value == 1
        assert await cache.get("user:1") is None
        new.open.set()
        assert (await after).value == 1
        old.calls = 50
        assert (await cache.fetch("user:1", old)).state == "HIT"
        assert old.calls == 50

    run(main)


def test_a_stale_value_is_given_at_once_while_one_call_renews_it() -> None:
    async def main() -> None:
        clock, origin = Clock(), Origin()
        cache = TTLCache(ttl=1, stale_while_revalidate=5, clock=clock)
        await cache.fetch("k", origin)
        clock.now = 2.0
        origin.open.clear()
        origin.started.clear()
        for _ in range(10):
            assert await cache.fetch("k", origin) == Found(1, "STALE", 2.0)
        await origin.started.wait()
        origin.open.set()
        await turns()
        assert await cache.fetch("k", origin) == Found(2, "HIT", 0.0)
        assert origin.calls == 2
        assert cache.stats().stale == 10

    run(main)


def test_past_the_stale_window_callers_wait_for_the_refresh_under_way() -> None:
    async def main() -> None:
        clock, origin = Clock(), Origin()
        cache = TTLCache(ttl=1, stale_while_revalidate=1, clock=clock)
        await cache.fetch("k", origin)
        clock.now = 1.5
        origin.open.clear()
        origin.started.clear()
        assert (await cache.fetch("k", origin)).state == "STALE"
        await origin.started.wait()
        clock.now = 3.0
        call = asyncio.create_task(cache.fetch("k", origin))
        await turns()
        origin.open.set()
        assert (await call).value == 2
        assert origin.calls == 2

    run(main)


def test_a_refresh_that_fails_is_logged_and_not_tried_again_at_once(
    caplog: pytest.LogCaptureFixture,
) -> None:
    async def main() -> None:
        clock, origin = Clock(), Origin()
        cache = TTLCache(ttl=0.5, stale_while_revalidate=60, clock=clock)
        await cache.fetch("k", origin)
        clock.now = 1.0
        origin.error = OSError("database is away")
        for _ in range(5):
            assert (await cache.fetch("k", origin)).value == 1
            await turns()
        assert origin.calls == 2
        clock.now += 0.5
        origin.error = None
        assert (await cache.fetch("k", origin)).state == "STALE"
        await turns()
        assert (await cache.fetch("k", origin)).value == 3

    with caplog.at_level(logging.WARNING, "ember.cache"):
        run(main)
    assert [record.getMessage() for record in caplog.records] == [
        "refreshing 'k' in the background failed"
    ]
    assert "database is away" in caplog.text


def test_when_computing_fails_a_stale_value_is_given_inside_its_window(
    caplog: pytest.LogCaptureFixture,
) -> None:
    async def main() -> None:
        clock, origin = Clock(), Origin()
        cache = TTLCache(ttl=10, stale_if_error=60, clock=clock)
        await cache.fetch("k", origin)
        origin.error = OSError("database is away")
        clock.now = 20.0
        for _ in range(5):
            assert await cache.fetch("k", origin) == Found(1, "STALE", 20.0)
        assert origin.calls == 2
        clock.now = 22.0
        assert (await cache.fetch("k", origin)).state == "STALE"
        assert origin.calls == 3
        clock.now = 70.0
        with pytest.raises(OSError, match="away"):
            await cache.fetch("k", origin)

    with caplog.at_level(logging.WARNING, "ember.cache"):
        run(main)
    assert len(caplog.records) == 2


def test_what_is_not_admitted_is_neither_kept_nor_shared() -> None:
    async def main() -> None:
        gate = asyncio.Event()

        def private(name: str) -> Callable[[], Awaitable[str]]:
            async def compute() -> str:
                await gate.wait()
                return name

            return compute

        cache = TTLCache(ttl=60)
        names = ["ann", "bob", "cid"]
        calls = [
            asyncio.create_task(cache.fetch("k", private(n), admit=lambda value: False))
            for n in names
        ]
        await turns()
        gate.set()
        assert [found.value for found in await asyncio.gather(*calls)] == names
        assert cache.stats().entries == 0
        assert cache.stats().computed == 3

    run(main)


def test_admit_decides_how_long() -> None:
    async def main() -> None:
        clock, origin = Clock(), Origin()
        cache = TTLCache(ttl=60, clock=clock)
        await cache.fetch("short", origin, admit=lambda value: 2)
        await cache.fetch("old", origin, admit=lambda value: Lifetime(ttl=10, age=5))
        await cache.fetch("never", origin, admit=lambda value: 0)
        assert (await cache.fetch("old", origin)).age == 5
        clock.now = 3.0
        assert await cache.get("short") is None
        assert await cache.get("never") is None
        assert await cache.get("old") == 2

    run(main)


def test_an_answer_that_may_not_be_kept_takes_the_stale_one_with_it() -> None:
    async def main() -> None:
        clock, origin = Clock(), Origin()
        cache = TTLCache(ttl=1, stale_while_revalidate=60, clock=clock)
        await cache.fetch("k", origin)
        clock.now = 2.0
        assert (await cache.fetch("k", origin, admit=lambda value: None)).state == "STALE"
        await turns()
        assert cache.stats().entries == 0

    run(main)


def test_closing_cancels_a_refresh_and_the_cache_works_on() -> None:
    async def main() -> None:
        clock, origin = Clock(), Origin()
        async with TTLCache(ttl=1, stale_while_revalidate=5, clock=clock) as cache:
            await cache.fetch("k", origin)
            clock.now = 2.0
            origin.open.clear()
            origin.started.clear()
            await cache.fetch("k", origin)
            await origin.started.wait()
        assert asyncio.all_tasks() == {asyncio.current_task()}
        origin.open.set()
        clock.now = 100.0
        assert (await cache.fetch("k", origin)).value == 3

    run(main)


def test_work_cancelled_by_somebody_else_is_told_to_the_callers() -> None:
    async def main() -> None:
        async def cancels_itself() -> None:
            task = asyncio.current_task()
            assert task is not None
            task.cancel()
            await asyncio.sleep(0)

        cache = TTLCache()
        with pytest.raises(WorkCancelled):
            await cache.fetch("k", cancels_itself)

    run(main)


def test_a_static_cache_keeps_until_it_is_told_otherwise() -> None:
    async def main() -> None:
        origin = Origin()
        cache = StaticCache()
        for _ in range(3):
            assert (await cache.fetch("k", origin)).value == 1
        await cache.invalidate(key="k")
        assert (await cache.fetch("k", origin)).value == 2

    run(main)


def test_the_statistics_add_up() -> None:
    async def main() -> None:
        cache = TTLCache(ttl=60)
        assert cache.stats().hit_rate == 0
        for _ in range(4):
            await cache.fetch("k", Origin())
        await cache.invalidate(tag="none")
        assert cache.stats() == CacheStats(
            hits=3, misses=1, computed=1, stored=1, invalidations=1, entries=1
        )
        assert cache.stats().hit_rate == 0.75

    run(main)


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        ({"ttl": 0}, "TTLCache(ttl=0): more than 0 seconds"),
        ({"ttl": -1}, "TTLCache(ttl=-1): more than 0 seconds"),
        ({"ttl": "1"}, "TTLCache(ttl='1'): a number of seconds"),
        ({"ttl": float("nan")}, "TTLCache(ttl=nan): more than 0 seconds"),
        ({"max_entries": 0}, "TTLCache(max_entries=0): at least 1"),
        ({"max_entries": 1.5}, "TTLCache(max_entries=1.5): a whole number"),
        ({"stale_while_revalidate": -1}, "0 or more seconds"),
        ({"vary_headers": "accept"}, "write ['accept']"),
        ({"vary_headers": ["*"]}, "name the headers"),
        ({"tags": "users"}, "write tags=['users']"),
        ({"key_fn": "x"}, "a function that returns the key"),
    ],
)
def test_a_bad_argument_is_a_clear_error(arguments: dict[str, Any], message: str) -> None:
    with pytest.raises((TypeError, ValueError)) as error:
        TTLCache(**arguments)
    assert message in str(error.value)


@pytest.mark.parametrize("arguments", [{}, {"key": "a", "tag": "b"}, {"key": ""}, {"tag": 1}])
def test_an_invalidation_names_exactly_one_thing(arguments: dict[str, Any]) -> None:
    async def main() -> None:
        with pytest.raises(TypeError, match=r"TTLCache\.invalidate"):
            await TTLCache().invalidate(**arguments)

    run(main)

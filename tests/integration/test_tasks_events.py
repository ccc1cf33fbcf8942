"""The change feed of the task board, without a server."""

import asyncio
from collections.abc import AsyncGenerator

import pytest
from ember import ServerSentEvent

from examples.tasks.events import ChangeFeed

Subscription = AsyncGenerator[ServerSentEvent, None]


async def take(subscription: Subscription, count: int) -> list[ServerSentEvent]:
    async with asyncio.timeout(120):
        return [await anext(subscription) for _ in range(count)]


async def rest(subscription: Subscription) -> list[ServerSentEvent]:
    async with asyncio.timeout(120):
        return [event async for event in subscription]


def names(events: list[ServerSentEvent]) -> list[str | None]:
    return [event.event for event in events]


def numbers(events: list[ServerSentEvent]) -> list[object]:
    return [event.data for event in events]


def test_a_new_subscriber_is_told_to_read_the_list_and_then_gets_each_change() -> None:
    async def test() -> None:
        feed = ChangeFeed()
        feed.publish("created", 1)
        subscription = feed.subscribe()
        assert names(await take(subscription, 1)) == ["resync"]
        feed.publish("updated", 2)
        feed.publish("deleted", 3)
        assert names(await take(subscription, 2)) == ["updated", "deleted"]
        await subscription.aclose()
        assert feed.subscribers == 0

    asyncio.run(test())


def test_one_that_comes_back_gets_exactly_what_it_missed() -> None:
    async def test() -> None:
        feed = ChangeFeed()
        first = feed.subscribe()
        [start] = await take(first, 1)
        for number in range(5):
            feed.publish("updated", number)
        seen = await take(first, 2)
        await first.aclose()
        again = feed.subscribe(seen[-1].id)
        assert numbers(await take(again, 3)) == [2, 3, 4]
        # The id of `resync` is a place to come back to as well.
        whole = feed.subscribe(start.id)
        assert numbers(await take(whole, 5)) == [0, 1, 2, 3, 4]
        # One who missed nothing waits for the next change.
        feed_end = (await take(feed.subscribe(start.id), 5))[-1].id
        current = feed.subscribe(feed_end)
        waiting = asyncio.ensure_future(anext(current))
        await asyncio.sleep(0)
        feed.publish("updated", 5)
        assert (await asyncio.wait_for(waiting, 120)).data == 5

    asyncio.run(test())


def test_the_memory_reaches_back_as_far_as_promised_and_not_one_further() -> None:
    async def test() -> None:
        feed = ChangeFeed(remembered=3)
        subscription = feed.subscribe()
        [start] = await take(subscription, 1)
        feed.publish("updated", 0)
        ids = [start.id, (await take(subscription, 1))[0].id]
        for number in (1, 2, 3):
            feed.publish("updated", number)
        assert numbers(await take(feed.subscribe(ids[1]), 3)) == [1, 2, 3]
        assert names(await take(feed.subscribe(ids[0]), 1)) == ["resync"]

    asyncio.run(test())


@pytest.mark.parametrize("made_up", ["", "1", "nonsense", "{life}-2", "{life}--1", "{life}-x"])
def test_an_id_that_says_nothing_means_resync(made_up: str) -> None:
    async def test() -> None:
        feed = ChangeFeed()
        feed.publish("created", 1)
        [start] = await take(feed.subscribe(), 1)
        life = str(start.id).partition("-")[0]
        [event] = await take(feed.subscribe(made_up.format(life=life)), 1)
        assert event.event == "resync"
        [event] = await take(feed.subscribe(f"{life}-{'9' * 10_000}"), 1)
        assert event.event == "resync"

    asyncio.run(test())


def test_an_id_from_before_a_restart_means_resync() -> None:
    async def test() -> None:
        before, after = ChangeFeed(), ChangeFeed()
        for feed in (before, after):
            feed.publish("created", 1)
        [start] = await take(before.subscribe(), 1)
        assert names(await take(after.subscribe(start.id), 1)) == ["resync"]

    asyncio.run(test())


def test_a_subscriber_may_lag_by_the_queue_and_is_let_go_one_later() -> None:
    async def test() -> None:
        feed = ChangeFeed(queued=3)
        slow, quick = feed.subscribe(), feed.subscribe()
        await take(slow, 1)
        await take(quick, 1)
        for number in range(3):
            feed.publish("updated", number)
        assert numbers(await take(quick, 3)) == [0, 1, 2]
        assert feed.subscribers == 2
        feed.publish("updated", 3)
        assert feed.subscribers == 1
        [last] = await rest(slow)
        assert last.event == "resync"
        # Where it is told to read the list is where it takes up the changes again.
        feed.publish("updated", 4)
        assert numbers(await take(feed.subscribe(last.id), 1)) == [4]
        assert numbers(await take(quick, 2)) == [3, 4]

    asyncio.run(test())


def test_a_queue_too_short_to_say_goodbye_in_is_refused() -> None:
    with pytest.raises(ValueError, match="at least 2, got 1"):
        ChangeFeed(queued=1)

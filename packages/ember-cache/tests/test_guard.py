"""The guard before a store, and the batches that go through it."""

import asyncio
import logging
from collections.abc import Awaitable, Callable, Sequence

import pytest
from ember.cache.backends import batch
from ember.cache.backends.batch import AT_ONCE, LARGEST, Batcher
from ember.cache.backends.guard import FAILED, FIRST_PAUSE, LONGEST_PAUSE, QUIET, Failed, Guard


class Clock:
    def __init__(self) -> None:
        self.now = 0.0

    def __call__(self) -> float:
        return self.now


class Away(Exception):
    """The store is away."""


class Refused(Exception):
    """The store says no."""


class Store:
    def __init__(self) -> None:
        self.asked = 0
        self.error: Exception | None = None

    async def __call__(self) -> str:
        self.asked += 1
        if self.error is not None:
            raise self.error
        return "answer"


def run(main: Callable[[], Awaitable[None]]) -> None:
    async def body() -> None:
        async with asyncio.timeout(120):
            await main()

    asyncio.run(body())


def lines(caplog: pytest.LogCaptureFixture) -> list[tuple[str, str]]:
    return [(r.levelname, r.getMessage()) for r in caplog.records]


def test_an_outage_is_one_line_and_its_end_another(caplog: pytest.LogCaptureFixture) -> None:
    async def main() -> None:
        clock, store = Clock(), Store()
        guard = Guard("the store", 0.5, clock=clock)
        assert await guard.run(store) == "answer"
        store.error = Away("connection refused")
        for _ in range(5):
            assert await guard.run(store) is FAILED
        assert store.asked == 2  # the others were not even tried
        store.error = None
        clock.now += FIRST_PAUSE
        assert await guard.run(store) == "answer"
        assert await guard.run(store) == "answer"
        assert guard.failures == 1

    with caplog.at_level(logging.INFO, "ember.cache"):
        run(main)
    assert lines(caplog) == [
        (
            "WARNING",
            "the store does not answer within 0.5 s (Away: connection refused); "
            "going on without it until it does",
        ),
        ("INFO", "the store answers again after 0.1 s"),
    ]


def test_the_pauses_get_longer_up_to_a_bound() -> None:
    async def main() -> None:
        clock, store = Clock(), Store()
        guard = Guard("s", 1, clock=clock)
        store.error = Away()
        pauses: list[float] = []
        for _ in range(9):
            await guard.run(store)
            pauses.append(round(guard._retry_at - clock.now, 3))
            clock.now = guard._retry_at - 0.001
            assert guard.shut
            clock.now = guard._retry_at
            assert not guard.shut
        assert store.asked == 9
        assert pauses == [0.1, 0.2, 0.4, 0.8, 1.6, 3.2, 5.0, 5.0, 5.0]
        assert LONGEST_PAUSE == 5.0

    run(main)


def test_one_operation_at_a_time_looks_whether_it_is_back() -> None:
    async def main() -> None:
        clock, store = Clock(), Store()
        guard = Guard("s", 5, clock=clock)
        store.error = Away()
        await guard.run(store)
        clock.now += 1
        gate = asyncio.Event()

        async def slow() -> str:
            await gate.wait()
            return "back"

        probe = asyncio.create_task(guard.run(slow))
        await asyncio.sleep(0)
        assert guard.shut
        assert await guard.run(store) is FAILED
        gate.set()
        assert await probe == "back"
        assert not guard.down

    run(main)


def test_operations_begun_before_an_outage_do_not_lengthen_it_or_end_it() -> None:
    async def main() -> None:
        clock, store = Clock(), Store()
        guard = Guard("s", 5, clock=clock)
        gate = asyncio.Event()

        async def late(fails: bool) -> str:
            await gate.wait()
            if fails:
                raise Away
            return "late"

        begun = [asyncio.create_task(guard.run(lambda f=f: late(f))) for f in (True, True, False)]  # type: ignore[misc]
        await asyncio.sleep(0)
        store.error = Away()
        await guard.run(store)
        gate.set()
        assert await asyncio.gather(*begun) == [FAILED, FAILED, "late"]
        assert guard.down
        clock.now += FIRST_PAUSE
        store.error = None
        assert await guard.run(store) == "answer"

    run(main)


def test_what_takes_longer_than_the_deadline_has_failed() -> None:
    async def main() -> None:
        guard = Guard("s", 0.01)

        async def never() -> None:
            await asyncio.Event().wait()

        assert await guard.run(never) is FAILED
        assert guard.down

    run(main)


def test_a_refusal_is_no_outage_and_is_said_once_a_minute(
    caplog: pytest.LogCaptureFixture,
) -> None:
    async def main() -> None:
        clock, store = Clock(), Store()
        guard = Guard("s", 1, refusals=(Refused,), clock=clock)
        store.error = Refused("out of memory")
        for _ in range(3):
            assert await guard.run(store) is FAILED
        assert not guard.down
        clock.now += 60
        await guard.run(store)
        assert store.asked == 4

    run(main)
    line = "s refused an operation (Refused: out of memory); going on without it"
    assert lines(caplog) == [("WARNING", line)] * 2


def test_a_vital_operation_that_is_refused_is_an_outage() -> None:
    async def main() -> None:
        store = Store()
        guard = Guard("s", 1, refusals=(Refused,))
        store.error = Refused()
        assert await guard.run(store, vital=True) is FAILED
        assert guard.down

    run(main)


def test_before_the_first_operation_after_an_outage_it_recovers_or_stays_away() -> None:
    async def main() -> None:
        clock, store, seen = Clock(), Store(), list[str]()
        broken = True

        async def recover() -> None:
            seen.append("recover")
            if broken:
                raise Refused

        guard = Guard("s", 1, refusals=(Refused,), recover=recover, clock=clock)
        store.error = Away()
        await guard.run(store)
        store.error = None
        clock.now += 1
        assert await guard.run(store) is FAILED  # a refusal to recover is an outage
        assert store.asked == 1
        broken = False
        clock.now += 1
        assert await guard.run(store) == "answer"
        assert seen == ["recover", "recover"]

    run(main)


def test_flapping_is_one_line_until_it_has_been_quiet(caplog: pytest.LogCaptureFixture) -> None:
    async def main() -> None:
        clock, store = Clock(), Store()
        guard = Guard("s", 1, clock=clock)
        for _ in range(5):
            store.error = Away()
            await guard.run(store)
            store.error = None
            clock.now += 1
            assert await guard.run(store) == "answer"
        clock.now += QUIET
        store.error = Away()
        await guard.run(store)

    run(main)
    assert [level for level, _ in lines(caplog)] == ["WARNING"] * 2


def test_cancelling_the_caller_is_no_failure_of_the_store() -> None:
    async def main() -> None:
        clock, store = Clock(), Store()
        guard = Guard("s", 5, clock=clock)

        async def never() -> None:
            await asyncio.Event().wait()

        call = asyncio.create_task(guard.run(never))
        await asyncio.sleep(0)
        call.cancel()
        await asyncio.wait([call])
        assert call.cancelled()
        assert not guard.down
        store.error = Away()
        await guard.run(store)
        clock.now += 1
        probe = asyncio.create_task(guard.run(never))
        await asyncio.sleep(0)
        probe.cancel()
        await asyncio.wait([probe])
        store.error = None
        assert await guard.run(store) == "answer"  # the next one may look

    run(main)


class Asked:
    """Answers each number with its square, and remembers the batches."""

    def __init__(self) -> None:
        self.batches: list[list[int]] = []
        self.open = asyncio.Event()
        self.open.set()

    async def __call__(self, questions: Sequence[int]) -> list[int] | Failed:
        self.batches.append(list(questions))
        await self.open.wait()
        return FAILED if 13 in questions else [n * n for n in questions]


def test_questions_of_one_turn_go_out_together_and_equal_ones_once() -> None:
    async def main() -> None:
        asked = Asked()
        batcher = Batcher(asked)
        answers = await asyncio.gather(*(batcher.ask(n % 3, n % 3) for n in range(9)))
        assert answers == [0, 1, 4] * 3
        assert asked.batches == [[0, 1, 2]]

    run(main)


def test_a_batch_is_bounded() -> None:
    async def main() -> None:
        asked = Asked()
        batcher = Batcher(asked)
        await asyncio.gather(*(batcher.ask(n, n + 100) for n in range(LARGEST + 1)))
        assert [len(b) for b in asked.batches] == [LARGEST, 1]

    run(main)


def test_only_so_many_batches_are_under_way_at_once_and_the_rest_wait_together() -> None:
    async def main() -> None:
        asked = Asked()
        asked.open.clear()
        batcher = Batcher(asked)
        calls = []
        for n in range(AT_ONCE + 3):
            calls.append(asyncio.create_task(batcher.ask(n, n)))
            for _ in range(4):
                await asyncio.sleep(0)
        assert len(asked.batches) == AT_ONCE
        asked.open.set()
        assert await asyncio.gather(*calls) == [n * n for n in range(AT_ONCE + 3)]
        assert asked.batches[AT_ONCE:] == [list(range(AT_ONCE, AT_ONCE + 3))]

    run(main)


def test_a_failed_batch_fails_its_questions_and_no_others() -> None:
    async def main() -> None:
        batcher = Batcher(Asked())
        assert set(await asyncio.gather(batcher.ask(13, 13), batcher.ask(1, 1))) == {FAILED}
        assert await batcher.ask(1, 1) == 1

    run(main)


def test_closing_leaves_nobody_waiting() -> None:
    async def main() -> None:
        asked = Asked()
        asked.open.clear()
        batcher = Batcher(asked)
        calls = [asyncio.create_task(batcher.ask(n, n)) for n in range(3)]
        for _ in range(3):
            await asyncio.sleep(0)
        later = asyncio.create_task(batcher.ask(9, 9))
        await asyncio.sleep(0)
        await batcher.close()
        assert await asyncio.gather(*calls, later) == [FAILED] * 4

    run(main)


def test_a_caller_that_leaves_does_not_disturb_the_others() -> None:
    async def main() -> None:
        asked = Asked()
        asked.open.clear()
        batcher = Batcher(asked)
        one, two = (asyncio.create_task(batcher.ask(2, 2)) for _ in range(2))
        for _ in range(3):
            await asyncio.sleep(0)
        one.cancel()
        await asyncio.wait([one])
        asked.open.set()
        assert await two == 4

    run(main)


def test_a_question_asked_while_its_batch_is_out_is_asked_again() -> None:
    """The answer under way may be older than an invalidation."""

    async def main() -> None:
        asked = Asked()
        asked.open.clear()
        batcher = Batcher(asked)
        one = asyncio.create_task(batcher.ask(2, 2))
        for _ in range(3):
            await asyncio.sleep(0)
        two = asyncio.create_task(batcher.ask(2, 2))
        for _ in range(3):
            await asyncio.sleep(0)
        asked.open.set()
        assert set(await asyncio.gather(one, two)) == {4}
        assert asked.batches == [[2], [2]]

    assert batch.AT_ONCE > 1
    run(main)


@pytest.mark.parametrize("missing", [-2, -1, 1])
def test_a_store_with_too_few_or_too_many_answers_hangs_nobody(missing: int) -> None:
    """Which question each of them belongs to, nobody knows: all have failed."""

    async def main() -> None:
        async def op(questions: Sequence[int]) -> Sequence[str]:
            return ["answer"] * (len(questions) + missing)

        batcher = Batcher(op)
        answers = await asyncio.gather(*(batcher.ask(n, n) for n in range(5)))
        assert answers == [FAILED] * 5
        assert await batcher.ask(1, 1) is FAILED  # and it goes on

    run(main)


def test_when_its_tasks_are_cancelled_nobody_is_left_waiting() -> None:
    async def main() -> None:
        async def op(questions: Sequence[int]) -> Sequence[str]:
            await asyncio.Event().wait()
            return []

        batcher = Batcher(op)
        mine = asyncio.current_task()
        asked = [asyncio.create_task(batcher.ask(n, n)) for n in range(AT_ONCE * LARGEST + 5)]
        await asyncio.sleep(0)
        await asyncio.sleep(0)
        for task in asyncio.all_tasks() - {mine, *asked}:
            task.cancel()
        assert set(await asyncio.gather(*asked)) == {FAILED}

    run(main)

"""Single flight: one does the work, nobody ever hangs."""

import asyncio
import gc
import weakref
from collections.abc import Awaitable, Callable
from contextvars import ContextVar
from typing import Any

import pytest
from ember.cache.singleflight import Alone, Flight, SingleFlight, WorkCancelled


def run(main: Callable[[], Awaitable[None]]) -> None:
    """Runs it with a deadline, and with every complaint of the loop as a failure."""
    complaints: list[dict[str, Any]] = []

    async def body() -> None:
        loop = asyncio.get_running_loop()
        loop.set_exception_handler(lambda _, context: complaints.append(context))
        async with asyncio.timeout(120):
            await main()
        gc.collect()

    asyncio.run(body())
    gc.collect()
    assert complaints == []


class Gate:
    """Work that begins, waits until it is let through, and counts."""

    def __init__(self) -> None:
        self.begun = 0
        self.cancelled = 0
        self.started = asyncio.Event()
        self.open = asyncio.Event()

    async def __call__(self, flight: Flight | None) -> str:
        self.begun += 1
        self.started.set()
        try:
            await self.open.wait()
        except asyncio.CancelledError:
            self.cancelled += 1
            raise
        return f"result {self.begun}"


async def turns(n: int = 5) -> None:
    for _ in range(n):
        await asyncio.sleep(0)


def test_five_hundred_concurrent_calls_do_the_work_once() -> None:
    async def main() -> None:
        flights, gate = SingleFlight(), Gate()
        calls = [asyncio.create_task(flights.do("k", gate)) for _ in range(500)]
        await gate.started.wait()
        await turns()
        gate.open.set()
        assert set(await asyncio.gather(*calls)) == {"result 1"}
        assert (gate.begun, flights.started, flights.joined) == (1, 1, 499)
        assert len(flights) == 0

    run(main)


def test_calls_for_different_keys_do_not_wait_for_each_other() -> None:
    async def main() -> None:
        flights, gate, other = SingleFlight(), Gate(), Gate()
        first = asyncio.create_task(flights.do("a", gate))
        await gate.started.wait()
        other.open.set()
        assert await flights.do("b", other) == "result 1"
        gate.open.set()
        assert await first == "result 1"

    run(main)


def test_a_call_after_the_end_does_the_work_again() -> None:
    async def main() -> None:
        flights, gate = SingleFlight(), Gate()
        gate.open.set()
        assert await flights.do("k", gate) == "result 1"
        assert await flights.do("k", gate) == "result 2"

    run(main)


def test_a_failure_reaches_every_waiter_at_once_and_the_next_call_starts_again() -> None:
    async def main() -> None:
        flights, gate = SingleFlight(), Gate()

        async def fail(flight: Flight | None) -> None:
            await gate(flight)
            raise LookupError("no such row")

        calls = [asyncio.create_task(flights.do("k", fail)) for _ in range(20)]
        await gate.started.wait()
        await turns()
        gate.open.set()
        results = await asyncio.gather(*calls, return_exceptions=True)
        assert [repr(r) for r in results] == ["LookupError('no such row')"] * 20
        assert gate.begun == 1
        assert await flights.do("k", gate) == "result 2"

    run(main)


def frames(error: BaseException) -> list[str]:
    names, traceback = [], error.__traceback__
    while traceback is not None:
        names.append(traceback.tb_frame.f_code.co_name)
        traceback = traceback.tb_next
    return names


def test_each_waiter_gets_the_error_with_the_frames_of_the_work_and_its_own() -> None:
    async def main() -> None:
        flights, gate = SingleFlight(), asyncio.Event()
        cause = KeyError("the reason")
        seen: list[list[str]] = []
        causes: list[tuple[BaseException | None, BaseException | None]] = []

        async def fails(flight: Flight | None) -> None:
            await gate.wait()
            try:
                raise cause
            except KeyError as error:
                raise ValueError("broken") from error

        async def wait() -> None:
            try:
                raise LookupError("the waiter's own trouble")
            except LookupError:
                try:
                    await flights.do("k", fails)
                except ValueError as error:
                    seen.append(frames(error))
                    causes.append((error.__cause__, error.__context__))

        waiters = [asyncio.create_task(wait()) for _ in range(20)]
        await turns()
        gate.set()
        await asyncio.gather(*waiters)
        assert len(seen) == 20
        # The work's own, not what one of those who wait was handling just then.
        assert causes == [(cause, cause)] * 20
        assert all(one == seen[0] for one in seen), "the frames of one are in the error of another"
        assert (seen[0][0], seen[0][-1]) == ("wait", "fails")

    run(main)


@pytest.mark.parametrize("waiters", [1, 7])
def test_an_error_keeps_nothing_alive_when_all_have_been_told(waiters: int) -> None:
    class Large:
        pass

    async def main() -> None:
        flights, gate = SingleFlight(), asyncio.Event()
        held: list[weakref.ref[Large]] = []

        async def fails(flight: Flight | None) -> None:
            large = Large()
            held.append(weakref.ref(large))
            await gate.wait()
            raise ValueError("broken")

        async def wait() -> None:
            try:
                await flights.do("k", fails)
            except ValueError:  # `pytest.raises` would keep it
                told.append(1)

        told: list[int] = []
        tasks = [asyncio.create_task(wait()) for _ in range(waiters)]
        tasks.append(asyncio.create_task(wait()))
        await turns()
        tasks[0].cancel()  # one that is not told
        gate.set()
        await asyncio.wait(tasks)
        del tasks
        assert (len(held), len(told)) == (1, waiters)
        assert held[0]() is None, "only the garbage collector would free it"

    gc.disable()
    try:
        run(main)
    finally:
        gc.enable()


def test_when_the_first_caller_is_cancelled_the_others_are_served() -> None:
    async def main() -> None:
        flights, gate = SingleFlight(), Gate()
        leader = asyncio.create_task(flights.do("k", gate))
        await gate.started.wait()
        other = asyncio.create_task(flights.do("k", gate))
        await turns()
        leader.cancel()
        await turns()
        assert leader.cancelled()
        gate.open.set()
        assert await other == "result 1"
        assert (gate.begun, gate.cancelled) == (1, 0)

    run(main)


def test_when_the_last_caller_leaves_the_work_is_cancelled_and_forgotten_at_once() -> None:
    async def main() -> None:
        flights, gate = SingleFlight(), Gate()
        calls = [asyncio.create_task(flights.do("k", gate)) for _ in range(3)]
        await gate.started.wait()
        await turns()
        for call in calls:
            call.cancel()
        await asyncio.wait(calls)
        assert "k" not in flights
        fresh = asyncio.create_task(flights.do("k", gate))
        await turns()
        assert (gate.begun, gate.cancelled) == (2, 1)
        gate.open.set()
        assert await fresh == "result 2"

    run(main)


def test_work_cancelled_from_outside_is_an_error_for_the_waiters_and_not_their_cancellation() -> (
    None
):
    async def main() -> None:
        flights = SingleFlight()
        tasks: list[asyncio.Task[Any]] = []
        started = asyncio.Event()

        async def work(flight: Flight | None) -> None:
            task = asyncio.current_task()
            assert task is not None
            tasks.append(task)
            started.set()
            await asyncio.Event().wait()

        calls = [asyncio.create_task(flights.do("k", work)) for _ in range(3)]
        await started.wait()
        await turns()
        tasks[0].cancel()
        results = await asyncio.gather(*calls, return_exceptions=True)
        assert [type(r) for r in results] == [WorkCancelled] * 3
        assert "'k'" in str(results[0])

    run(main)


def test_work_that_waits_for_itself_runs_without_the_flight_instead_of_hanging() -> None:
    async def main() -> None:
        flights = SingleFlight()
        depth = 0

        async def work(flight: Flight | None) -> str:
            nonlocal depth
            depth += 1
            return "deep" if depth == 3 else await flights.do("k", work)

        assert await flights.do("k", work) == "deep"
        assert depth == 3

    run(main)


def test_two_flights_that_wait_for_each_other_do_not_hang() -> None:
    async def main() -> None:
        flights = SingleFlight()
        both = asyncio.Barrier(2)
        calls: list[str] = []

        async def a(flight: Flight | None) -> str:
            calls.append("a")
            if flight is None:
                return "a alone"
            await both.wait()
            return "a of " + str(await flights.do("b", b))

        async def b(flight: Flight | None) -> str:
            calls.append("b")
            if flight is None:
                return "b alone"
            await both.wait()
            return "b of " + str(await flights.do("a", a))

        results = await asyncio.gather(flights.do("a", a), flights.do("b", b))
        assert sorted(calls) in (["a", "a", "b"], ["a", "b", "b"])
        assert any("alone" in result for result in results)

    run(main)


def test_the_work_runs_in_the_context_of_the_first_caller() -> None:
    async def main() -> None:
        flights, gate = SingleFlight(), Gate()
        who: ContextVar[str] = ContextVar("who", default="nobody")

        async def work(flight: Flight | None) -> str:
            await gate(flight)
            seen = who.get()
            who.set("the work")
            return seen

        async def call(name: str) -> str:
            who.set(name)
            result: str = await flights.do("k", work)
            assert who.get() == name
            return result

        calls = [asyncio.create_task(call(name)) for name in ("first", "second")]
        await gate.started.wait()
        await turns()
        gate.open.set()
        assert await asyncio.gather(*calls) == ["first", "first"]

    run(main)


def test_a_result_for_the_first_caller_alone_makes_the_others_do_their_own_work() -> None:
    async def main() -> None:
        flights, gate = SingleFlight(), Gate()

        def mine(name: str) -> Callable[[Flight | None], Awaitable[Any]]:
            async def work(flight: Flight | None) -> Any:
                await gate(flight)
                return Alone(name)

            return work

        calls = [asyncio.create_task(flights.do("k", mine(n))) for n in ("ann", "bob", "cid")]
        await gate.started.wait()
        await turns()
        gate.open.set()
        assert await asyncio.gather(*calls) == ["ann", "bob", "cid"]

    run(main)


def test_a_result_for_the_first_caller_alone_goes_to_nobody_else_when_that_one_has_left() -> None:
    async def main() -> None:
        flights, gate = SingleFlight(), Gate()

        def mine(name: str) -> Callable[[Flight | None], Awaitable[Any]]:
            async def work(flight: Flight | None) -> Any:
                await gate(flight)
                return Alone(name)

            return work

        ann, bob = (asyncio.create_task(flights.do("k", mine(n))) for n in ("ann", "bob"))
        await gate.started.wait()
        await turns()
        ann.cancel()
        await turns()
        gate.open.set()
        assert await bob == "bob"

    run(main)


def test_after_a_drop_those_who_wait_get_the_result_and_later_calls_start_again() -> None:
    async def main() -> None:
        flights, gate, later = SingleFlight(), Gate(), Gate()
        seen: list[Flight | None] = []

        async def work(flight: Flight | None) -> str:
            seen.append(flight)
            return await gate(flight)

        early = asyncio.create_task(flights.do("k", work, tags=["t"]))
        await gate.started.wait()
        assert flights.drop(lambda flight: "other" in flight.tags) == 0
        assert flights.drop(lambda flight: "t" in flight.tags) == 1
        late = asyncio.create_task(flights.do("k", later))
        await later.started.wait()
        gate.open.set()
        later.open.set()
        assert await early == "result 1"
        assert await late == "result 1"
        assert seen[0] is not None
        assert seen[0].dropped

    run(main)


def test_work_started_for_nobody_goes_on_when_its_only_waiter_leaves() -> None:
    async def main() -> None:
        flights, gate = SingleFlight(), Gate()
        flight = flights.start("k", gate)
        assert flight is not None
        assert flight.task is not None
        assert flights.start("k", gate) is None
        call = asyncio.create_task(flights.do("k", gate))
        await turns()
        call.cancel()
        await asyncio.wait([call])
        gate.open.set()
        assert await flight.task == "result 1"

    run(main)


def test_closing_cancels_what_is_under_way_and_tells_the_waiters() -> None:
    async def main() -> None:
        flights, gate = SingleFlight(), Gate()
        call = asyncio.create_task(flights.do("k", gate))
        await gate.started.wait()
        await flights.close()
        with pytest.raises(WorkCancelled):
            await call
        assert gate.cancelled == 1

    run(main)


def test_the_end_of_the_loop_leaves_nothing_behind_that_a_later_loop_could_join() -> None:
    flights = SingleFlight()

    async def abandon() -> None:
        gate = Gate()
        call = asyncio.create_task(flights.do("k", gate))
        await gate.started.wait()
        assert not call.done()

    async def again() -> None:
        gate = Gate()
        gate.open.set()
        assert await flights.do("k", gate) == "result 1"

    run(abandon)
    run(again)


def test_a_loop_that_was_closed_without_a_word_is_not_joined() -> None:
    flights = SingleFlight()
    loop = asyncio.new_event_loop()

    async def hang() -> None:
        await flights.do("k", Gate())

    task = loop.create_task(hang())
    loop.run_until_complete(turns())
    assert "k" in flights

    async def again() -> None:
        gate = Gate()
        gate.open.set()
        assert await flights.do("k", gate) == "result 1"

    run(again)
    task.cancel()
    loop.run_until_complete(asyncio.wait([task]))
    loop.run_until_complete(turns())
    loop.close()


def test_a_failure_nobody_waits_for_any_more_makes_no_noise() -> None:
    async def main() -> None:
        flights, gate = SingleFlight(), Gate()

        async def fail(flight: Flight | None) -> None:
            try:
                await gate(flight)
            except asyncio.CancelledError:
                raise ValueError("while leaving") from None

        call = asyncio.create_task(flights.do("k", fail))
        await gate.started.wait()
        call.cancel()
        await asyncio.wait([call])
        await turns()

    run(main)


@pytest.mark.skipif(not hasattr(asyncio, "eager_task_factory"), reason="Python 3.12 and newer")
def test_work_that_waits_for_itself_does_not_hang_in_an_eager_task_either() -> None:
    async def main() -> None:
        asyncio.get_running_loop().set_task_factory(asyncio.eager_task_factory)  # type: ignore[attr-defined,unused-ignore]
        flights = SingleFlight()
        depth = 0

        async def work(flight: Flight | None) -> str:
            nonlocal depth
            depth += 1
            return "deep" if depth == 3 else await flights.do("k", work)

        assert await flights.do("k", work) == "deep"
        assert depth == 3
        assert len(flights) == 0

    run(main)


@pytest.mark.parametrize("kind", [SystemExit, KeyboardInterrupt])
def test_what_would_end_the_loop_reaches_those_who_wait_and_nobody_else(
    kind: type[BaseException],
) -> None:
    async def main() -> list[object]:
        flights = SingleFlight()

        async def work(flight: Flight | None) -> None:
            await asyncio.sleep(0)
            raise kind("of the work")

        async def caller() -> object:
            try:
                await flights.do("key", work)
            except kind as error:
                return str(error)
            return None

        flights.start("nobody", work)
        told = await asyncio.gather(caller(), caller())
        await asyncio.sleep(0)  # the loop goes on
        return [*told, len(flights)]

    assert asyncio.run(main()) == ["of the work", "of the work", 0]

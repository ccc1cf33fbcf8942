"""`Interruptible`: an iterator that is waited for in the task that asks, and can be let wait."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Awaitable, Callable, Generator
from contextvars import ContextVar
from typing import Any

import pytest
from ember.concurrency.interruptible import INTERRUPTED, Interruptible
from ember.eventloop import new_event_loop

Main = Callable[[], Awaitable[None]]


def run(main: Main) -> None:
    async def whole() -> None:
        await main()

    with asyncio.Runner(loop_factory=new_event_loop) as runner:
        runner.run(whole())


def interruptible(interval: float | None = None) -> Interruptible:
    return Interruptible(asyncio.get_running_loop(), interval)


async def items_of(queue: asyncio.Queue[Any]) -> AsyncIterator[Any]:
    while True:
        yield await queue.get()


def test_no_item_is_lost_however_often_its_waiting_is_interrupted() -> None:
    async def main() -> None:
        queue: asyncio.Queue[int] = asyncio.Queue()
        source, waiting = items_of(queue), interruptible(0.001)
        for number in range(20):
            for _ in range(3):
                assert await waiting.resume(source) is INTERRUPTED
            queue.put_nowait(number)
            assert await waiting.resume(source) == number
        await waiting.close(source)

    run(main)


def test_an_item_that_came_while_nobody_waited_is_given_next() -> None:
    async def main() -> None:
        queue: asyncio.Queue[str] = asyncio.Queue()
        source, waiting = items_of(queue), interruptible(0.001)
        assert await waiting.resume(source) is INTERRUPTED
        queue.put_nowait("meanwhile")
        for _ in range(3):
            await asyncio.sleep(0)
        assert await waiting.resume(source) == "meanwhile"
        await waiting.close(source)

    run(main)


def test_what_is_entered_in_one_step_is_left_in_another() -> None:
    variable: ContextVar[str] = ContextVar("variable", default="outside")

    async def main() -> None:
        me = asyncio.current_task()

        async def source() -> AsyncIterator[object]:
            token = variable.set("inside")
            async with asyncio.timeout(120), asyncio.TaskGroup() as group:
                yield asyncio.current_task()
                yield await group.create_task(asyncio.sleep(0, "from the group"))
            variable.reset(token)
            yield variable.get()

        items, waiting = source(), interruptible()
        assert [await waiting.resume(items) for _ in range(3)] == [me, "from the group", "outside"]
        with pytest.raises(StopAsyncIteration):
            await waiting.resume(items)

    run(main)


def test_cancelling_the_task_cancels_what_the_iterator_waits_for() -> None:
    async def main() -> None:
        seen: list[str] = []
        inner = asyncio.ensure_future(asyncio.Event().wait())

        async def source() -> AsyncIterator[None]:
            try:
                await inner
                yield
            except asyncio.CancelledError:
                seen.append("cancelled")
                raise
            finally:
                await asyncio.sleep(0)
                seen.append("cleaned up")

        waiting = interruptible()
        task = asyncio.ensure_future(_resume(waiting, source()))
        await asyncio.sleep(0)
        assert task.cancel()
        with pytest.raises(asyncio.CancelledError):
            await task
        assert inner.cancelled()
        assert seen == ["cancelled", "cleaned up"]

    run(main)


def test_a_cancellation_reaches_the_iterator_although_its_item_was_there() -> None:
    async def main() -> None:
        queue: asyncio.Queue[str] = asyncio.Queue()
        waiting = interruptible()
        task = asyncio.ensure_future(_resume(waiting, items_of(queue)))
        await asyncio.sleep(0)
        queue.put_nowait("kept")  # its getter is done, and the task not yet woken
        task.cancel()
        with pytest.raises(asyncio.CancelledError):
            await task
        assert queue.get_nowait() == "kept"

    run(main)


async def _resume(waiting: Interruptible, source: AsyncIterator[Any]) -> Any:
    return await waiting.resume(source)


def test_stopping_wakes_the_task_and_closing_ends_the_step_under_way() -> None:
    async def main() -> None:
        seen: list[str] = []

        async def source() -> AsyncIterator[None]:
            try:
                await asyncio.Event().wait()
                yield
            finally:
                seen.append("closed")

        items, waiting = source(), interruptible(60)
        task = asyncio.ensure_future(_resume(waiting, items))
        await asyncio.sleep(0)
        waiting.stop()
        waiting.stop()
        assert await task is INTERRUPTED
        assert seen == []
        await waiting.close(items)
        assert seen == ["closed"]

    run(main)


@pytest.mark.parametrize("answer", ["yields", "returns", "fails"])
def test_an_iterator_that_does_not_want_to_be_cancelled_is_closed_all_the_same(answer: str) -> None:
    async def main() -> None:
        told: list[Any] = []
        asyncio.get_running_loop().set_exception_handler(lambda _, context: told.append(context))
        closed: list[bool] = []

        async def source() -> AsyncIterator[str]:
            try:
                await asyncio.Event().wait()
            except asyncio.CancelledError:
                await asyncio.sleep(0)
                if answer == "returns":
                    return
                if answer == "fails":
                    raise ValueError("no") from None
                yield "an item that nobody wants"
            finally:
                closed.append(True)

        items, waiting = source(), interruptible()
        task = asyncio.ensure_future(_resume(waiting, items))
        await asyncio.sleep(0)
        waiting.stop()
        assert await task is INTERRUPTED
        await waiting.close(items)
        assert closed == [True]
        assert [str(context["exception"]) for context in told] == ["no"] * (answer == "fails")

    run(main)


def test_an_iterator_may_be_of_any_kind_and_may_let_others_run() -> None:
    class Bare:
        """Awaitable, and no more than the protocol asks."""

        def __await__(self) -> Generator[None, None, str]:
            return (yield from asyncio.sleep(0, "bare").__await__())

    class Source:
        def __init__(self) -> None:
            self.step = 0

        def __aiter__(self) -> Source:
            return self

        def __anext__(self) -> Awaitable[str]:
            self.step += 1
            if self.step == 1:
                return Bare()
            future: asyncio.Future[str] = asyncio.get_running_loop().create_future()
            asyncio.get_running_loop().call_soon(future.set_result, "a future")
            return future

    async def main() -> None:
        source, waiting = Source(), interruptible()
        assert await waiting.resume(source) == "bare"
        assert await waiting.resume(source) == "a future"
        await waiting.close(source)

    run(main)


def test_a_future_of_another_loop_is_refused_as_a_task_does() -> None:
    async def main() -> None:
        other = asyncio.new_event_loop()
        try:

            async def source() -> AsyncIterator[None]:
                await other.create_future()
                yield

            with pytest.raises(RuntimeError, match="attached to a different loop"):
                await interruptible().resume(source())
        finally:
            other.close()

    run(main)

"""call_soon, timers and their handles: lighter than asyncio's, and the same to their users."""

from __future__ import annotations

import asyncio
import contextvars
import gc
import logging
import threading
import weakref
from collections.abc import Callable
from typing import Any

import pytest

from .conftest import DEADLINE, Run

LoopFactory = Callable[[], asyncio.AbstractEventLoop]


def test_callbacks_run_in_the_order_they_were_scheduled(run: Run[None]) -> None:
    async def main() -> None:
        loop = asyncio.get_running_loop()
        order: list[int] = []
        for n in range(1000):
            loop.call_soon(order.append, n)
        await asyncio.sleep(0)
        assert order == list(range(1000))

    run(main())


def test_what_a_callback_schedules_runs_in_the_next_round(run: Run[None]) -> None:
    async def main() -> None:
        loop = asyncio.get_running_loop()
        order: list[str] = []

        def first() -> None:
            order.append("first")
            loop.call_soon(order.append, "third")

        loop.call_soon(first)
        loop.call_soon(order.append, "second")
        await asyncio.sleep(0)
        await asyncio.sleep(0)
        assert order == ["first", "second", "third"]

    run(main())


def test_handles_are_asyncio_handles(run: Run[None]) -> None:
    async def main() -> None:
        loop = asyncio.get_running_loop()
        handle = loop.call_soon(print, 1)
        timer = loop.call_later(60, print, 2)
        assert isinstance(handle, asyncio.Handle)
        assert isinstance(timer, asyncio.TimerHandle)
        assert "print" in repr(handle)
        assert "when=" in repr(timer)
        assert not handle.cancelled()
        handle.cancel()
        timer.cancel()
        assert handle.cancelled()
        assert "cancelled" in repr(handle)
        assert "cancelled" in repr(timer)

    run(main())


def test_a_cancelled_callback_does_not_run(run: Run[None]) -> None:
    async def main() -> None:
        loop = asyncio.get_running_loop()
        ran: list[str] = []
        loop.call_soon(ran.append, "soon").cancel()
        loop.call_later(0, ran.append, "later").cancel()
        done = loop.create_future()
        loop.call_later(0.002, done.set_result, None)
        await done
        assert ran == []

    run(main())


def test_timers_fire_in_the_order_of_their_time(run: Run[None]) -> None:
    async def main() -> None:
        loop = asyncio.get_running_loop()
        start = loop.time()
        order: list[int] = []
        delays = [(n * 7919) % 101 for n in range(101)]
        timers = [loop.call_at(start + d / 10_000, order.append, d) for d in delays]
        for timer, d in zip(timers, delays, strict=True):
            if d % 3 == 0:
                timer.cancel()
        done = loop.create_future()
        loop.call_at(start + 0.0102, done.set_result, None)
        await done
        assert order == [d for d in range(101) if d % 3]
        assert loop.time() >= start + 0.0102

    run(main())


def test_a_cancelled_timer_leaves_at_once(run: Run[None]) -> None:
    async def main() -> None:
        loop: Any = asyncio.get_running_loop()
        kept = len(loop._scheduled)
        timers = [loop.call_later(1000 + n, print) for n in range(1000)]
        assert len(loop._scheduled) == kept + 1000
        for timer in timers[::2] + timers[1::2]:
            timer.cancel()
        assert len(loop._scheduled) == kept

    run(main())


@pytest.mark.parametrize("method", ["call_later", "call_at"])
def test_a_timer_without_a_time_is_refused(run: Run[None], method: str) -> None:
    async def main() -> None:
        with pytest.raises(TypeError):
            getattr(asyncio.get_running_loop(), method)(None, print)

    run(main())


def test_a_callback_runs_in_its_context(run: Run[None]) -> None:
    name: contextvars.ContextVar[str] = contextvars.ContextVar("name", default="none")

    async def main() -> None:
        loop = asyncio.get_running_loop()
        seen: list[str] = []
        name.set("here")
        loop.call_soon(lambda: seen.append(name.get()))
        other = contextvars.copy_context()
        other.run(name.set, "other")
        loop.call_soon(lambda: seen.append(name.get()), context=other)
        name.set("changed")
        await asyncio.sleep(0)
        assert seen == ["here", "other"]

    run(main())


def test_handles_can_be_weakly_referenced(run: Run[None]) -> None:
    async def main() -> None:
        loop = asyncio.get_running_loop()
        for handle in loop.call_soon(int), loop.call_later(3600, int):
            reference = weakref.ref(handle)
            assert reference() is handle
            handle.cancel()
        handles = weakref.WeakSet([loop.call_soon(int)])
        await asyncio.sleep(0)
        await asyncio.sleep(0)
        gc.collect()
        assert not list(handles)
        del handle
        assert reference() is None

    run(main())


def test_an_exception_goes_to_the_handler_and_the_rest_runs(run: Run[None]) -> None:
    async def main() -> None:
        loop = asyncio.get_running_loop()
        reported: list[dict[str, Any]] = []
        ran: list[int] = []
        loop.set_exception_handler(lambda _, context: reported.append(context))
        handle = loop.call_soon(lambda: 1 // 0)
        loop.call_soon(ran.append, 1)
        await asyncio.sleep(0)
        assert ran == [1]
        assert isinstance(reported[0]["exception"], ZeroDivisionError)
        assert reported[0]["handle"] is handle
        assert "Exception in callback" in reported[0]["message"]

    run(main())


def test_another_thread_wakes_the_sleeping_loop(run: Run[None]) -> None:
    async def main() -> None:
        loop = asyncio.get_running_loop()
        for n in range(200):
            future: asyncio.Future[int] = loop.create_future()
            thread = threading.Thread(target=loop.call_soon_threadsafe, args=(future.set_result, n))
            thread.start()
            assert await future == n
            thread.join()

    run(main())


def test_many_threads_at_once_lose_no_callback(run: Run[None]) -> None:
    async def main() -> None:
        loop = asyncio.get_running_loop()
        got: list[int] = []
        done = asyncio.Event()

        def take(n: int) -> None:
            got.append(n)
            if len(got) == 8000:
                done.set()

        def send(start: int) -> None:
            for n in range(start, start + 1000):
                loop.call_soon_threadsafe(take, n)

        threads = [threading.Thread(target=send, args=(k * 1000,)) for k in range(8)]
        for thread in threads:
            thread.start()
        await done.wait()
        for thread in threads:
            thread.join(DEADLINE)
        assert sorted(got) == list(range(8000))

    run(main())


def test_a_closed_loop_refuses_callbacks(new_loop: LoopFactory) -> None:
    loop = new_loop()
    loop.call_soon(print)
    loop.close()
    loop.close()
    with pytest.raises(RuntimeError, match="closed"):
        loop.call_soon(print)
    with pytest.raises(RuntimeError, match="closed"):
        loop.call_later(1, print)
    with pytest.raises(RuntimeError, match="closed"):
        loop.call_soon_threadsafe(print)


def test_debug_mode_names_slow_callbacks_and_where_they_came_from(
    new_loop: LoopFactory, caplog: pytest.LogCaptureFixture
) -> None:
    loop = new_loop()
    loop.set_debug(True)
    loop.slow_callback_duration = 0.0

    async def main() -> None:
        handle: Any = loop.call_soon(len, "x")
        assert handle._source_traceback[-1].name == "main"
        await asyncio.sleep(0)

    with caplog.at_level(logging.WARNING, "asyncio"):
        loop.run_until_complete(main())
    loop.close()
    assert "len" in caplog.text
    assert "took" in caplog.text


def test_debug_mode_refuses_the_wrong_thread_and_coroutines(new_loop: LoopFactory) -> None:
    loop = new_loop()
    loop.set_debug(True)

    async def main() -> None:
        failures: list[BaseException] = []

        def elsewhere() -> None:
            try:
                loop.call_soon(print)
            except RuntimeError as error:
                failures.append(error)

        await asyncio.to_thread(elsewhere)
        assert "Non-thread-safe" in str(failures[0])
        with pytest.raises(TypeError, match="coroutine"):
            loop.call_soon(main)

    loop.run_until_complete(main())
    loop.run_until_complete(loop.shutdown_default_executor())
    loop.close()


def test_the_ready_queue_can_be_looked_at(new_loop: LoopFactory) -> None:
    loop: Any = new_loop()
    handles = [loop.call_soon(print, n) for n in range(100)]
    assert list(loop._ready) == handles
    loop._ready.clear()
    assert len(loop._ready) == 0
    loop.close()


def test_a_selector_without_a_descriptor_is_refused_with_the_reason(backend: str) -> None:
    import selectors

    from ember.eventloop import Loop

    with pytest.raises(TypeError, match="EpollSelector"):
        Loop(selectors.SelectSelector())
    with pytest.raises(ValueError, match="unknown backend"):
        Loop(backend="kqueue")

"""Work after the response: its order, what fails in it, and how a stop waits for it."""

from __future__ import annotations

import asyncio
import logging
import sys
import threading
from typing import Any

import pytest
from ember.concurrency.background import BackgroundTasks, Pending


def test_tasks_run_in_order_those_that_they_add_last() -> None:
    seen: list[str] = []
    tasks = BackgroundTasks()

    async def first(name: str) -> None:
        await asyncio.sleep(0)
        seen.append(name)
        tasks.add_task(seen.append, "added")

    tasks.add_task(first, name="first")
    tasks.add_task(seen.append, "second")
    assert len(tasks) == 2
    asyncio.run(tasks())
    assert seen == ["first", "second", "added"]
    assert len(tasks) == 0


def test_one_that_fails_is_logged_by_its_name_and_the_next_ones_run(
    caplog: pytest.LogCaptureFixture,
) -> None:
    seen: list[str] = []
    tasks = BackgroundTasks()

    async def unlucky() -> None:
        raise KeyError("lost")

    tasks.add_task(unlucky)
    tasks.add_task(seen.append, "next")
    with caplog.at_level(logging.ERROR, "ember.background"):
        asyncio.run(tasks())
    assert seen == ["next"]
    (record,) = caplog.records
    assert "unlucky failed" in record.getMessage()
    assert record.exc_info is not None
    assert record.exc_info[0] is KeyError


def test_plain_functions_run_in_the_threads_that_are_given_and_coroutines_do_not() -> None:
    seen: list[tuple[str, bool]] = []

    def note(name: str) -> None:
        seen.append((name, threading.current_thread() is threading.main_thread()))

    async def note_later(name: str) -> None:
        note(name)

    async def in_thread(function: Any, *args: Any, **kwargs: Any) -> Any:
        return await asyncio.to_thread(function, *args, **kwargs)

    tasks = BackgroundTasks(in_thread)
    tasks.add_task(note, "plain")
    tasks.add_task(note_later, name="async")
    asyncio.run(tasks())
    assert seen == [("plain", False), ("async", True)]


def test_what_is_no_function_is_refused_when_it_is_added() -> None:
    with pytest.raises(TypeError, match=r"add_task\(5\): expected a function"):
        BackgroundTasks().add_task(5)  # type: ignore[arg-type]


def test_a_stop_waits_until_all_is_done() -> None:
    async def main() -> None:
        pending = Pending()
        await pending.wait_idle(0)  # nothing to wait for
        pending.begin()
        pending.begin()
        waiting = asyncio.create_task(pending.wait_idle(60))
        await asyncio.sleep(0)
        pending.end()
        await asyncio.sleep(0)
        assert not waiting.done()
        pending.end()
        await waiting
        assert len(pending) == 0

    asyncio.run(main())


def test_a_stop_gives_up_in_time_and_says_how_many_are_left(
    caplog: pytest.LogCaptureFixture,
) -> None:
    async def main() -> None:
        pending = Pending()
        pending.begin()
        with caplog.at_level(logging.WARNING, "ember.background"):
            await pending.wait_idle(0.01)
        pending.end()  # comes too late, and harms nobody

    asyncio.run(main())
    assert [r.getMessage() for r in caplog.records] == [
        "1 background tasks did not end within 0.01 s"
    ]


def test_one_that_is_cancelled_or_exits_does_not_drop_the_next(
    caplog: pytest.LogCaptureFixture,
) -> None:
    seen: list[str] = []
    tasks = BackgroundTasks()

    async def waits_for_what_is_cancelled() -> None:
        future: asyncio.Future[None] = asyncio.get_running_loop().create_future()
        future.cancel()
        await future

    def interrupts() -> None:
        raise KeyboardInterrupt

    tasks.add_task(waits_for_what_is_cancelled)
    tasks.add_task(sys.exit, 3)
    tasks.add_task(interrupts)
    tasks.add_task(seen.append, "next")
    asyncio.run(tasks())
    assert seen == ["next"]
    assert [record.levelname for record in caplog.records] == ["ERROR", "ERROR", "ERROR"]


def test_when_the_whole_is_cancelled_the_next_ones_do_not_run_and_are_named(
    caplog: pytest.LogCaptureFixture,
) -> None:
    seen: list[str] = []
    tasks = BackgroundTasks()

    async def main() -> None:
        waits = asyncio.Event()

        async def endless() -> None:
            waits.set()
            await asyncio.Event().wait()

        tasks.add_task(endless)
        tasks.add_task(seen.append, "never")
        tasks.add_task(print, "never")
        task = asyncio.ensure_future(tasks())
        await waits.wait()
        task.cancel()
        with pytest.raises(asyncio.CancelledError):
            await task

    asyncio.run(main())
    assert seen == []
    [record] = caplog.records
    assert "endless was cancelled; these did not run: list.append, print" in (record.getMessage())

"""The bound of the queue for threads, and threads that cannot be started."""

from __future__ import annotations

import asyncio
import threading

import pytest
from ember.concurrency.threads import ThreadPool
from ember.exceptions import ServiceUnavailable

pytestmark = pytest.mark.once


def test_one_call_above_the_queue_is_refused_and_one_that_was_given_up_makes_room() -> None:
    async def main() -> None:
        pool, leave = ThreadPool(1, 1), threading.Event()
        running = asyncio.create_task(pool.run_or_refuse(leave.wait, 10))
        waiting = asyncio.create_task(pool.run_or_refuse(leave.wait, 10))
        await asyncio.sleep(0)
        while pool.waiting > 1:
            await asyncio.sleep(0.001)
        with pytest.raises(ServiceUnavailable) as refused:
            await pool.run_or_refuse(print)
        assert refused.value.headers["Retry-After"] == "1"
        waiting.cancel()
        await asyncio.wait([waiting])
        assert pool.waiting == 0
        later = asyncio.create_task(pool.run_or_refuse(lambda: "later"))
        leave.set()
        assert await running
        assert await later == "later"
        pool.close()

    asyncio.run(main())


def test_a_pool_recovers_when_threads_can_be_started_again(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    async def main() -> None:
        pool = ThreadPool(2)

        def refuse(self: threading.Thread) -> None:
            raise RuntimeError("can't start new thread")

        with monkeypatch.context() as patch:
            patch.setattr(threading.Thread, "start", refuse)
            for _ in range(3):
                with pytest.raises(ServiceUnavailable):
                    await pool.run(print)
        assert await pool.run(lambda: "fine") == "fine"
        pool.close()

    asyncio.run(main())

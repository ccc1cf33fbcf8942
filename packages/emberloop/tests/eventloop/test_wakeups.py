"""Waking a loop that sleeps, from other threads; and the receive buffers that it was given."""

from __future__ import annotations

import asyncio
import os
import threading
from collections.abc import Callable
from typing import Any

from tests.support.server import DEADLINE

NewLoop = Callable[[], asyncio.AbstractEventLoop]


def test_a_sleeping_loop_is_woken_every_time(run: Any) -> None:
    async def main() -> None:
        loop = asyncio.get_running_loop()
        for number in range(300):
            assert await loop.run_in_executor(None, abs, number) == number

    run(main())


def test_many_threads_wake_one_loop_and_nothing_is_lost(run: Any) -> None:
    async def main() -> None:
        loop = asyncio.get_running_loop()
        came: list[int] = []
        done = loop.create_future()

        def take(number: int) -> None:
            came.append(number)
            if len(came) == 800:
                done.set_result(None)

        def send(start: int) -> None:
            for number in range(200):
                loop.call_soon_threadsafe(take, start + number)

        threads = [threading.Thread(target=send, args=(n * 200,)) for n in range(4)]
        for thread in threads:
            thread.start()
        await done
        for thread in threads:
            thread.join()
        assert sorted(came) == list(range(800))

    run(main())


def test_after_a_fork_each_process_is_woken_by_its_own_threads(new_loop: NewLoop) -> None:
    async def woken() -> None:
        loop = asyncio.get_running_loop()
        future = loop.create_future()
        thread = threading.Thread(
            target=lambda: loop.call_soon_threadsafe(future.set_result, None), daemon=True
        )
        thread.start()
        await asyncio.wait_for(future, DEADLINE)
        thread.join()

    loop = new_loop()
    loop.run_until_complete(woken())
    child = os.fork()
    if child == 0:
        status = 1
        try:
            loop.run_until_complete(woken())
            status = 0
        finally:
            os._exit(status)
    loop.run_until_complete(woken())
    assert os.waitpid(child, 0)[1] == 0
    loop.close()


def test_a_loop_leaves_no_descriptor_behind(new_loop: NewLoop) -> None:
    def descriptors() -> list[str]:
        return sorted(os.listdir("/proc/self/fd"))

    before = descriptors()
    for _ in range(3):
        loop = new_loop()
        loop.run_until_complete(asyncio.sleep(0))
        loop.close()
    assert descriptors() == before


def test_the_receive_buffers_are_as_asked_for(new_loop: NewLoop, backend: str) -> None:
    loop: Any = new_loop()
    loop._set_receive_buffers(3, 1000)
    sizes: list[int] = []

    class Counting(asyncio.Protocol):
        def __init__(self) -> None:
            self.done = loop.create_future()

        def data_received(self, data: bytes) -> None:
            sizes.append(len(data))

        def connection_lost(self, exc: Exception | None) -> None:
            self.done.set_result(None)

    async def main() -> None:
        made: list[Counting] = []

        def make() -> Counting:
            made.append(Counting())
            return made[-1]

        server = await loop.create_server(make, "127.0.0.1", 0)
        _, writer = await asyncio.open_connection(*server.sockets[0].getsockname())
        writer.write(b"x" * 100_000)
        writer.close()
        await writer.wait_closed()
        while not made:
            await asyncio.sleep(0)
        await asyncio.wait_for(made[0].done, DEADLINE)
        server.close()

    loop.run_until_complete(main())
    loop.close()
    assert sum(sizes) == 100_000
    if backend == "io_uring":
        assert max(sizes) == 1000

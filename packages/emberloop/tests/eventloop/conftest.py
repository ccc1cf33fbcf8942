"""`backend` runs a test on io_uring and on epoll; `run` runs a coroutine on a loop of ours."""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Coroutine
from typing import Any, TypeVar

import pytest
from ember._build import ASKED_PURE

from tests.support.waiting import DEADLINE

T = TypeVar("T")
Run = Callable[[Coroutine[Any, Any, T]], T]

#: Both are tried in one run, whichever EMBER_LOOP chooses.
NAMES = ("io_uring", "epoll")


def pytest_ignore_collect(collection_path: Any) -> bool | None:
    # The pure build has no loop of its own; its choice of another is tested.
    if ASKED_PURE and collection_path.name not in ("eventloop", "test_choose.py"):
        return True
    return None


@pytest.fixture(params=[pytest.param(name, marks=pytest.mark.once) for name in NAMES])
def backend(request: pytest.FixtureRequest) -> str:
    """The name of the backend under test."""
    from ember.eventloop._stream import probe_ring

    name: str = request.param
    if name == "io_uring" and (refusal := probe_ring()) is not None:
        pytest.skip(refusal)
    return name


@pytest.fixture
def new_loop(backend: str) -> Callable[[], asyncio.AbstractEventLoop]:
    """A loop factory for the backend under test."""
    from ember.eventloop import Loop

    return lambda: Loop(backend=backend)


async def leave_nothing() -> None:
    """End the tasks that a test left, and those that connections in the backlog still start.

    Else such a task dies with its loop, and the warning falls on whichever test collects it.
    """
    quiet = 0
    while quiet < 3:
        others = asyncio.all_tasks() - {asyncio.current_task()}
        for task in others:
            task.cancel()
        await asyncio.gather(*others, return_exceptions=True)
        await asyncio.sleep(0)
        quiet = 0 if others else quiet + 1


@pytest.fixture
def run(new_loop: Callable[[], asyncio.AbstractEventLoop]) -> Run[Any]:
    """Runs a coroutine on a new loop, and fails it at the deadline."""

    def runner(main: Coroutine[Any, Any, T]) -> T:
        async def bounded() -> T:
            try:
                async with asyncio.timeout(DEADLINE):
                    return await main
            finally:
                await leave_nothing()

        with asyncio.Runner(loop_factory=new_loop) as one:
            return one.run(bounded())

    return runner

"""Many callers' small questions of one moment, asked together.

Everything asked in one turn of the loop goes out as one operation; equal keys are asked once.
While `AT_ONCE` operations are under way, later questions wait and go out together.
"""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable, Hashable, Sequence
from functools import partial
from typing import Any, Generic, TypeVar, cast

from ember.cache.backends.guard import FAILED, Failed

__all__ = ["Batcher"]

Q = TypeVar("Q")
A = TypeVar("A")

_Asked = tuple[Q, list["asyncio.Future[A | Failed]"]]

AT_ONCE = 4
LARGEST = 256


class Batcher(Generic[Q, A]):
    """`await batcher.ask(key, question)`. `op` answers a list of questions, each in its place, or
    gives FAILED; when it has more or fewer answers than questions, all of them failed."""

    def __init__(self, op: Callable[[Sequence[Q]], Awaitable[Sequence[A] | Failed]]) -> None:
        self._op = op
        self._waiting: dict[Hashable, _Asked[Q, A]] = {}
        self._tasks: set[asyncio.Task[None]] = set()
        self._scheduled = False

    async def ask(self, key: Hashable, question: Q) -> A | Failed:
        loop = asyncio.get_running_loop()
        answer: asyncio.Future[A | Failed] = loop.create_future()
        waiting = self._waiting.get(key)
        if waiting is not None:
            waiting[1].append(answer)
        else:
            self._waiting[key] = (question, [answer])
            if not self._scheduled and len(self._tasks) < AT_ONCE:
                self._scheduled = True
                loop.call_soon(self._send)
        return await answer

    async def close(self) -> None:
        """Whoever still waits gets FAILED."""
        tasks = list(self._tasks)
        for task in tasks:
            task.cancel()
        self._fail_waiting()
        if tasks:
            await asyncio.wait(tasks)

    def _send(self) -> None:
        self._scheduled = False
        while self._waiting and len(self._tasks) < AT_ONCE:
            keys = list(self._waiting)[:LARGEST]
            batch = [self._waiting.pop(key) for key in keys]
            task = asyncio.get_running_loop().create_task(self._ask(batch))
            self._tasks.add(task)
            task.add_done_callback(partial(self._sent, batch))

    def _sent(self, batch: list[_Asked[Q, A]], task: asyncio.Task[None]) -> None:
        self._tasks.discard(task)
        if task.cancelled():  # perhaps before it began; nobody is left waiting
            for _, futures in batch:
                _give(futures, FAILED)
            self._fail_waiting()
        elif self._waiting:
            self._send()

    def _fail_waiting(self) -> None:
        waiting, self._waiting = self._waiting, {}
        for _, answers in waiting.values():
            _give(answers, FAILED)

    async def _ask(self, batch: list[_Asked[Q, A]]) -> None:
        answers: Sequence[A] | Failed = FAILED
        try:
            answers = await self._op([question for question, _ in batch])
        finally:  # also when this task is cancelled, or answers are missing: nobody is left waiting
            if isinstance(answers, Failed) or len(answers) != len(batch):
                answers = cast("Sequence[A]", [FAILED] * len(batch))
            for (_, futures), answer in zip(batch, answers, strict=True):
                _give(futures, answer)


def _give(futures: list[asyncio.Future[Any]], answer: Any) -> None:
    for future in futures:
        if not future.done():
            future.set_result(answer)

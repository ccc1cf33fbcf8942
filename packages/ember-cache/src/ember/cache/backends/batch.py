"""Batches small operations: what many callers ask in one turn of the loop is one operation.

Equal keys are asked once. While `AT_ONCE` operations are under way, later questions wait and go
out together.
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
    """`await batcher.ask(key, question)`. `op` gets a list of questions and returns one reply for
    each, in the same order, or FAILED. If the number of replies is not that of the questions, all
    of them failed."""

    def __init__(self, op: Callable[[Sequence[Q]], Awaitable[Sequence[A] | Failed]]) -> None:
        self._op = op
        self._waiting: dict[Hashable, _Asked[Q, A]] = {}
        self._tasks: set[asyncio.Task[None]] = set()
        self._scheduled = False

    async def ask(self, key: Hashable, question: Q) -> A | Failed:
        loop = asyncio.get_running_loop()
        reply: asyncio.Future[A | Failed] = loop.create_future()
        waiting = self._waiting.get(key)
        if waiting is not None:
            waiting[1].append(reply)
        else:
            self._waiting[key] = (question, [reply])
            if not self._scheduled and len(self._tasks) < AT_ONCE:
                self._scheduled = True
                loop.call_soon(self._send)
        return await reply

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
        for _, futures in waiting.values():
            _give(futures, FAILED)

    async def _ask(self, batch: list[_Asked[Q, A]]) -> None:
        replies: Sequence[A] | Failed = FAILED
        try:
            replies = await self._op([question for question, _ in batch])
        finally:  # also when this task is cancelled, or replies are missing: nobody is left waiting
            if isinstance(replies, Failed) or len(replies) != len(batch):
                replies = cast("Sequence[A]", [FAILED] * len(batch))
            for (_, futures), reply in zip(batch, replies, strict=True):
                _give(futures, reply)


def _give(futures: list[asyncio.Future[Any]], reply: Any) -> None:
    for future in futures:
        if not future.done():
            future.set_result(reply)

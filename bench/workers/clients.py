"""Clients that must not notice a reload: every answer of every one is read to its end."""

from __future__ import annotations

import asyncio
import contextlib
from collections import Counter
from collections.abc import Callable, Coroutine
from typing import Any


class Failed(Exception):
    """An answer that did not come, or not whole."""


class Clients:
    """`counts`: answers, streams that were told to end, and what failed, by kind."""

    def __init__(self, port: int) -> None:
        self._port = port
        self.counts: Counter[str] = Counter()
        self.failures: list[str] = []
        self._over = False
        self._tasks: list[asyncio.Task[None]] = []

    def start(self, plain: int, slow: int, streams: int) -> None:
        """So many clients of each kind, each with a connection of its own."""
        kinds: list[tuple[int, Callable[[], Coroutine[Any, Any, None]]]] = [
            (plain, lambda: self._ask("plain", "/", b"Hello, World!")),
            (slow, lambda: self._ask("slow", "/slow", b"at last")),
            (streams, self._listen),
        ]
        for count, make in kinds:
            for _ in range(count):
                self._tasks.append(asyncio.create_task(make()))

    async def stop(self) -> None:
        """Let everybody finish what it waits for; the streams are left."""
        self._over = True
        _, late = await asyncio.wait(self._tasks, timeout=3)
        for task in late:
            task.cancel()
        await asyncio.gather(*self._tasks, return_exceptions=True)

    async def _ask(self, kind: str, path: str, expected: bytes) -> None:
        while not self._over:
            try:
                reader, writer = await asyncio.open_connection("127.0.0.1", self._port)
            except OSError as error:
                self._fail(kind, error)
                return
            with contextlib.closing(writer):
                try:
                    while not self._over and await self._exchange(
                        kind, reader, writer, path, expected
                    ):
                        pass
                except (OSError, EOFError, Failed) as error:
                    self._fail(kind, error)

    async def _exchange(
        self,
        kind: str,
        reader: asyncio.StreamReader,
        writer: asyncio.StreamWriter,
        path: str,
        expected: bytes,
    ) -> bool:
        """One request; whether the connection can go on."""
        writer.write(f"GET {path} HTTP/1.1\r\nHost: localhost\r\n\r\n".encode())
        head = await reader.readuntil(b"\r\n\r\n")
        body = await reader.readexactly(len(expected))
        if not head.startswith(b"HTTP/1.1 200 ") or body != expected:
            raise Failed(head.partition(b"\r\n")[0].decode())
        self.counts[kind] += 1
        return b"connection: close" not in head.lower()

    async def _listen(self) -> None:
        while not self._over:
            try:
                reader, writer = await asyncio.open_connection("127.0.0.1", self._port)
                with contextlib.closing(writer):
                    writer.write(b"GET /events HTTP/1.1\r\nHost: localhost\r\n\r\n")
                    await reader.readuntil(b"\r\n\r\n")
                    self.counts["streams"] += 1
                    # The last event, and the end of the message: anything else is a broken stream.
                    await reader.readuntil(b"event: close\ndata: \n\n")
                    await reader.readuntil(b"0\r\n\r\n")
                    self.counts["told"] += 1
            except (OSError, EOFError) as error:
                self._fail("stream", error)

    def _fail(self, kind: str, error: BaseException) -> None:
        self.counts["failed"] += 1
        if len(self.failures) < 10:
            self.failures.append(f"{kind}: {type(error).__name__} {error}")

"""Feeds bytes to a connection in memory and reads what comes out."""

from __future__ import annotations

import asyncio
import json
from collections.abc import Iterable
from typing import Any

from ember.limits import RouteLimits
from ember.protocol import MemoryConnection
from ember.request import Request

from tests.support.answers import Answer, read_answers
from tests.support.app import App


async def describe(request: Request) -> dict[str, Any]:
    """Answers with what the application saw."""
    return seen(request, (await request.body()).decode("latin-1"))


async def unread(request: Request) -> str:
    """Does not look at the body."""
    return "unread"


def seen(request: Request, body: str) -> dict[str, Any]:
    """The request as JSON."""
    return {
        "method": request.method,
        "raw_path": request.raw_path.decode("latin-1"),
        "path": request.path,
        "query": request.query_string,
        "version": request.http_version,
        "host": request.host,
        "field_count": len(request.headers.raw),
        "headers": [[n.decode("latin-1"), v.decode("latin-1")] for n, v in request.headers.raw],
        "body": body,
    }


def application() -> App:
    """What the corpus is run against."""
    return App(
        {"*": describe, "/unread": unread},
        route_limits={"/ten": RouteLimits(max_body_size=10)},
    )


class Outcome:
    """What a connection did with some bytes."""

    def __init__(self, sent: bytes, closed: bool) -> None:
        self.sent = sent
        self.closed = closed
        self.answers: list[Answer] = []

    def read(self, methods: Iterable[str]) -> Outcome:
        """Parse the answers; `methods` are those of the requests."""
        self.answers = read_answers(self.sent, methods)
        return self

    def summary(self) -> tuple[bool, list[tuple[int, Any]]]:
        """What must not depend on how the bytes were split, nor on the build."""
        return self.closed, [
            (a.status, json.loads(a.body) if a.body.startswith(b"{") else a.body)
            for a in self.answers
        ]


async def run_pieces(pieces: Iterable[bytes], app: App | None = None) -> Outcome:
    """Feed `pieces` one after the other, each after the work of the one before is done."""
    connection = MemoryConnection(application() if app is None else app)
    sent = b""
    try:
        for piece in pieces:
            if connection.closed:
                break
            connection.feed(piece)
            sent += await wait_idle(connection)
        sent += await wait_idle(connection)
        return Outcome(sent, connection.closed)
    finally:
        connection.lost()
        await asyncio.sleep(0)


async def wait_idle(connection: MemoryConnection) -> bytes:
    """Let handlers go on until nothing more comes out of `connection`."""
    sent = b""
    quiet = 0
    while quiet < 4:
        await asyncio.sleep(0)
        more = connection.take()
        sent += more
        quiet = 0 if more else quiet + 1
    return sent

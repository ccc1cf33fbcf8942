"""Cached routes that count what reaches them, and a clock that stands still, for their tests."""

from __future__ import annotations

from typing import Any

from ember import Ember, Request
from ember.cache import Cache

from tests.support.server import Answer


class Clock:
    """Seconds that pass when the test says so."""

    def __init__(self) -> None:
        self.now = 1000.0

    def __call__(self) -> float:
        return self.now


def counting(app: Ember, path: str, cache: Cache, **options: Any) -> list[str]:
    """A cached route that answers with how often it was called; the list has what for."""
    calls: list[str] = []

    @app.get(path, cache=cache, **options)
    async def counted(request: Request) -> str:
        calls.append(f"{request.method} {request.url}")
        return f"answer {len(calls)}"

    return calls


async def user(request: Request) -> str:
    return request.headers["x-user"]


def state(answer: Answer) -> tuple[str | None, bytes]:
    return answer.header("x-cache"), answer.body

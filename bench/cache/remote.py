"""Hits in Redis without a server around: `python -m bench.cache.remote URL ROUNDS`, JSON.

64 callers on one Ember loop, RedisCache.fetch and redis-py's GET in turns, the same values.
"""

from __future__ import annotations

import asyncio
import json
import statistics
import sys
import time
from collections.abc import Awaitable, Callable
from typing import Any

from ember.cache import BytesSerializer, RedisCache
from ember.eventloop import new_event_loop

from bench.cache.cases import REDIS_BODY

CALLERS, CALLS, KEYS = 64, 100, 256
Get = Callable[[str], Awaitable[Any]]


async def _one(get: Get, unwrap: Callable[[Any], bytes]) -> tuple[float, float]:
    async def caller(n: int) -> None:
        for i in range(CALLS):
            if unwrap(await get(f"k{(n * CALLS + i) % KEYS}")) != REDIS_BODY:
                raise AssertionError("a wrong value, or a miss where all were hits")

    began, cpu = time.perf_counter(), time.process_time()
    await asyncio.gather(*(caller(n) for n in range(CALLERS)))
    count = CALLERS * CALLS
    return count / (time.perf_counter() - began), (time.process_time() - cpu) / count * 1e6


async def measure(url: str, rounds: int) -> dict[str, Any]:
    """Hits per second and CPU of this process per hit, medians of turning rounds."""
    import redis.asyncio

    client = redis.asyncio.Redis.from_url(url, max_connections=CALLERS)
    found: dict[str, list[tuple[float, float]]] = {"RedisCache.fetch": [], "redis-py GET": []}
    async with RedisCache(url, ttl=600, serializer=BytesSerializer(), deadline=30) as cache:

        async def compute() -> bytes:
            raise AssertionError("a miss where all were hits")

        for n in range(KEYS):
            await client.set(f"k{n}", REDIS_BODY)
            await cache.set(f"k{n}", REDIS_BODY)
        contenders: list[tuple[str, Get, Callable[[Any], bytes]]] = [
            ("RedisCache.fetch", lambda key: cache.fetch(key, compute), lambda one: one.value),
            ("redis-py GET", client.get, lambda one: one),
        ]
        for turn in range(-1, rounds):
            for name, get, unwrap in contenders[:: 1 if turn % 2 else -1]:
                one = await _one(get, unwrap)
                if turn >= 0:  # the first connects and is not counted
                    found[name].append(one)
    await client.aclose()
    return {
        name: {
            "rate": round(statistics.median(rate for rate, _ in all_)),
            "cpu_us": round(statistics.median(cpu for _, cpu in all_), 2),
            "cpu_us_rounds": [round(cpu, 2) for _, cpu in all_],
            "rate_rounds": [round(rate) for rate, _ in all_],
        }
        for name, all_ in found.items()
    }


if __name__ == "__main__":
    with asyncio.Runner(loop_factory=new_event_loop) as runner:
        print(json.dumps(runner.run(measure(sys.argv[1], int(sys.argv[2])))))

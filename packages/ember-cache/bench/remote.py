"""Hits in Redis beside redis-py alone: 64 callers, one loop, the same server, side by side.

python packages/ember-cache/bench/remote.py redis://127.0.0.1:6379
"""

import asyncio
import sys
import time
from collections.abc import Awaitable, Callable
from typing import Any

from ember.cache import BytesSerializer, RedisCache

CALLERS, CALLS, KEYS, ROUNDS = 64, 200, 256, 3
VALUE = b"x" * 512


async def measure(name: str, get: Callable[[str], Awaitable[Any]]) -> float:
    async def caller(n: int) -> None:
        for i in range(CALLS):
            if await get(f"k{(n * CALLS + i) % KEYS}") is None:
                raise AssertionError("a miss in a benchmark of hits")

    begin, spent = time.perf_counter(), time.process_time()
    await asyncio.gather(*(caller(n) for n in range(CALLERS)))
    calls = CALLERS * CALLS
    rate = calls / (time.perf_counter() - begin)
    cpu = (time.process_time() - spent) / calls * 1e6
    print(f"  {name:22} {rate:9.0f} hits/s {cpu:7.1f} us of CPU per hit")
    return rate


async def main(url: str) -> None:
    import redis.asyncio

    client = redis.asyncio.Redis.from_url(url, max_connections=CALLERS)
    async with RedisCache(url, ttl=600, serializer=BytesSerializer(), deadline=5) as cache:

        async def compute() -> bytes:
            return VALUE

        async def ours(key: str) -> Any:
            return await cache.fetch(key, compute)

        for n in range(KEYS):
            await client.set(f"k{n}", VALUE, px=600_000)
            await cache.set(f"k{n}", VALUE)
        for turn in range(ROUNDS):
            print(f"round {turn + 1}, {CALLERS} callers")
            alone = await measure("redis-py GET", client.get)
            kept = await measure("RedisCache.fetch", ours)
            print(f"  {kept / alone:.2f} times redis-py")
        await cache.invalidate(pattern="k*")
        await client.delete(*(f"k{n}" for n in range(KEYS)))
    await client.aclose()


if __name__ == "__main__":
    asyncio.run(main(sys.argv[1] if len(sys.argv) > 1 else "redis://127.0.0.1:6379"))

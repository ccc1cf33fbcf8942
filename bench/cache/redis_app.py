"""The same value from Redis by `cache=` and by hand. Arguments: the port, the build."""

from __future__ import annotations

import os
import sys
from collections.abc import AsyncIterator
from typing import Any

from ember import Ember
from ember._build import PURE
from ember.cache import RedisCache

from bench.cache.cases import REDIS_BODY

URL = os.environ["REDIS_URL"]
app = Ember()
clients: list[Any] = []


@app.lifespan
async def by_hand() -> AsyncIterator[None]:
    import redis.asyncio

    client = redis.asyncio.Redis.from_url(URL, max_connections=64)
    await client.set("by-hand", REDIS_BODY)
    clients.append(client)
    yield
    await client.aclose()


@app.get("/cached", cache=RedisCache(URL, ttl=600))
async def cached() -> str:
    return REDIS_BODY.decode()


@app.get("/by-hand")
async def from_redis() -> str:
    value: bytes = await clients[0].get("by-hand")
    return value.decode()


if __name__ == "__main__":
    if (sys.argv[2] == "pure") != PURE:
        raise SystemExit(f"the {sys.argv[2]} build was asked for and is not there: `make build`")
    app.run(port=int(sys.argv[1]), workers=1, startup_message=False)

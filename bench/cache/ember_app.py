"""Cached routes. Arguments: the port, the build."""

from __future__ import annotations

import asyncio
import sys
import time
from collections import Counter
from typing import Any

from ember import Ember
from ember._build import PURE
from ember.cache import StaticCache, TTLCache

from bench.cache.cases import SLOW_SECONDS

app = Ember()
calls: Counter[str] = Counter()
took: list[float] = []


@app.get("/")
async def hello() -> str:
    return "Hello, World!"


@app.get("/static", cache=StaticCache())
async def static() -> str:
    calls["static"] += 1
    return "Hello, World!"


@app.get("/ttl", cache=TTLCache(ttl=600))
async def ttl() -> str:
    calls["ttl"] += 1
    return "Hello, World!"


@app.get("/json", cache=TTLCache(ttl=600))
async def json(page: int) -> dict[str, Any]:
    calls["json"] += 1
    return {"items": ["bread", "butter", "tomatoes"], "total": page + 1}


@app.get("/slow", cache=TTLCache(ttl=600))
async def slow() -> str:
    calls["slow"] += 1
    began = time.perf_counter()
    await asyncio.sleep(SLOW_SECONDS)
    took.append(time.perf_counter() - began)
    return "Hello, World!"


@app.get("/calls")
async def called() -> dict[str, Any]:
    return {"calls": dict(calls), "took": took}


if __name__ == "__main__":
    if (sys.argv[2] == "pure") != PURE:
        raise SystemExit(f"the {sys.argv[2]} build was asked for and is not there: `make build`")
    app.run(port=int(sys.argv[1]), workers=1, startup_message=False)

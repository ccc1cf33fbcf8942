"""One SELECT by key through an asyncpg pool. Arguments: the port, the build."""

from __future__ import annotations

import os
import sys
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from typing import Any

import asyncpg
from ember import Ember
from ember._build import PURE

app = Ember()
pools: list[Any] = []


@app.lifespan
@asynccontextmanager
async def database() -> AsyncIterator[None]:
    url = os.environ["DATABASE_URL"]
    async with asyncpg.create_pool(url, min_size=16, max_size=16) as pool:
        pools.append(pool)
        yield


@app.get("/rows/{item_id:int}")
async def row(item_id: int) -> dict[str, Any]:
    async with pools[0].acquire() as connection:
        found = await connection.fetchrow("SELECT id, title FROM item WHERE id = $1", item_id)
    return {"id": found["id"], "title": found["title"]}


if __name__ == "__main__":
    if (sys.argv[2] == "pure") != PURE:
        raise SystemExit(f"the {sys.argv[2]} build was asked for and is not there: `make build`")
    app.run(port=int(sys.argv[1]), workers=1, startup_message=False)

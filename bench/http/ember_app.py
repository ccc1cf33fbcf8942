"""The application that is measured, as a user would write it. Arguments: the port, the build."""

from __future__ import annotations

import asyncio
import os
import sys
from typing import Any

from ember import Ember, Request
from ember._build import PURE

if os.environ.get("EMBER_BENCH_FAST", "0") == "0":
    # The tests install the extra `fast`; what is measured is a plain installation.
    sys.modules["orjson"] = None  # type: ignore[assignment]

app = Ember()


@app.get("/")
async def hello() -> str:
    return "Hello, World!"


@app.get("/json")
async def message() -> dict[str, str]:
    return {"message": "Hello, World!"}


@app.get("/items/{item_id:int}")
async def item(item_id: int) -> str:
    return f"item {item_id}"


@app.post("/echo")
async def echo(request: Request) -> Any:
    return await request.json()


@app.get("/sleep")
async def sleep() -> str:
    await asyncio.sleep(0)
    return "Hello, World!"


if __name__ == "__main__":
    if (sys.argv[2] == "pure") != PURE:
        raise SystemExit(f"the {sys.argv[2]} build was asked for and is not there: `make build`")
    app.run(port=int(sys.argv[1]), workers=1, startup_message=False)

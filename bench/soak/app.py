"""What is soaked: a route of every kind. `/counted/...` gets whole requests only, so that they can
be compared with what the server counted."""

from __future__ import annotations

import asyncio
import os
from collections.abc import AsyncIterator
from pathlib import Path
from typing import Any

import msgspec
from ember import (
    Ember,
    HTTPError,
    Request,
    ServerLimits,
    SSEResponse,
    StreamingResponse,
    TTLCache,
    UploadFile,
)

#: Made by the driver, once: every worker imports this.
_FOLDER = Path(os.environ["EMBER_SOAK_FOLDER"])

app = Ember(
    metrics=True,
    server_limits=ServerLimits(
        keep_alive_timeout=5, header_timeout=2, body_timeout=2, write_timeout=2
    ),
)
app.static("/files", _FOLDER)


class Task(msgspec.Struct):
    title: str
    done: bool = False


@app.get("/counted/hello")
async def hello() -> str:
    return "Hello, World!"


@app.get("/counted/items/{id:int}")
async def item(id: int) -> dict[str, int]:
    return {"id": id}


@app.post("/counted/tasks", status_code=201)
async def create(task: Task) -> Task:
    return task


@app.get("/counted/slow")
async def slow() -> str:
    await asyncio.sleep(0.05)
    return "slow"


@app.get("/counted/cached/{key}", cache=TTLCache(ttl=0.5, max_entries=64))
async def cached(key: str) -> dict[str, str]:
    await asyncio.sleep(0.005)
    return {"key": key}


@app.get("/counted/fails")
async def fails() -> None:
    raise HTTPError(418, "as it was told to")


@app.get("/threaded")
def threaded() -> str:
    return "from a thread"


@app.get("/events")
async def events() -> SSEResponse:
    async def ticks() -> AsyncIterator[dict[str, int]]:
        for number in range(100_000):
            yield {"number": number}
            await asyncio.sleep(0.02)

    return SSEResponse(ticks(), ping_interval=1)


@app.get("/stream")
async def stream() -> StreamingResponse:
    async def blocks() -> AsyncIterator[bytes]:
        for _ in range(64):
            yield bytes(16_384)

    return StreamingResponse(blocks())


@app.post("/upload")
async def upload(file: UploadFile) -> dict[str, Any]:
    size = 0
    while block := await file.read(65_536):
        size += len(block)
    return {"size": size}


@app.post("/read")
async def read(request: Request) -> str:
    size = 0
    async for block in request.stream:
        size += len(block)
    return str(size)

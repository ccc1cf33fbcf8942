"""What is attacked: a route for everything that a client, or a careless handler, can break."""

from __future__ import annotations

import asyncio
import sys
import time
from collections.abc import AsyncIterator, Iterator
from typing import Annotated, Any

import msgspec
from ember import (
    BackgroundTasks,
    Depends,
    Ember,
    HTTPError,
    Request,
    Response,
    RouteLimits,
    ServerLimits,
    SSEResponse,
    StreamingResponse,
    TTLCache,
    UploadFile,
)

app = Ember(
    metrics=True,
    compression=True,
    server_limits=ServerLimits(
        keep_alive_timeout=5,
        header_timeout=2,
        body_timeout=2,
        write_timeout=2,
        shutdown_timeout=5,
        request_timeout=8,
        max_connections=2_000,
    ),
)


class Item(msgspec.Struct):
    name: str
    price: float = 0.0


async def session() -> AsyncIterator[list[int]]:
    held: list[int] = [1]
    try:
        yield held
    finally:
        await asyncio.sleep(0)
        held.clear()


Session = Annotated[list[int], Depends(session)]


@app.get("/hello")
async def hello() -> str:
    return "Hello, World!"


@app.get("/numbers/{number:int}")
async def number(number: int, q: float = 0.0) -> dict[str, float]:
    return {"number": number, "q": q}


@app.post("/items")
async def create(item: Item, held: Session) -> Item:
    return item


@app.get("/wait")
async def wait(held: Session, seconds: float = 0.2) -> str:
    await asyncio.sleep(min(seconds, 5.0))
    return "waited"


@app.get("/stubborn", limits=RouteLimits(cancel_on_disconnect=False))
async def stubborn() -> str:
    for _ in range(4):
        try:
            await asyncio.sleep(0.1)
        except asyncio.CancelledError:
            continue
    return "stubborn"


@app.get("/thread")
def thread() -> str:
    time.sleep(0.02)
    return "from a thread"


@app.get("/cached/{key}", cache=TTLCache(ttl=0.3, max_entries=32))
async def cached(key: str) -> dict[str, str]:
    await asyncio.sleep(0.01)
    return {"key": key}


@app.post("/text")
async def text(request: Request) -> str:
    return str(len(await request.text()))


@app.post("/json")
async def json(request: Request) -> Any:
    return await request.json()


@app.post("/form")
async def form(request: Request) -> int:
    return len(await request.form())


@app.post("/upload")
async def upload(file: UploadFile, background: BackgroundTasks) -> dict[str, int]:
    background.add_task(asyncio.sleep, 0.01)
    return {"size": len(await file.read())}


@app.post("/read")
async def read(request: Request) -> str:
    size = 0
    async for block in request.stream:
        size += len(block)
    return str(size)


@app.post("/unread")
async def unread() -> str:
    return "not read"


@app.get("/stream")
async def stream() -> StreamingResponse:
    async def blocks() -> AsyncIterator[bytes]:
        for _ in range(256):
            yield bytes(16_384)

    return StreamingResponse(blocks())


@app.get("/lines")
async def lines() -> StreamingResponse:
    def blocks() -> Iterator[str]:
        for line in range(50):
            time.sleep(0.005)
            yield f"{line}\n"

    return StreamingResponse(blocks())


@app.get("/events")
async def events() -> SSEResponse:
    async def ticks() -> AsyncIterator[dict[str, int]]:
        for tick in range(100_000):
            yield {"tick": tick}
            await asyncio.sleep(0.02)

    return SSEResponse(ticks(), ping_interval=1)


class Base(BaseException):
    """Not an Exception."""


@app.get("/broken/{how}")
async def broken(how: str, held: Session) -> Any:
    match how:
        case "error":
            raise HTTPError(418, "as it was told to")
        case "surrogate":
            return "\ud800"
        case "base":
            raise Base("on purpose")
        case "exit":
            sys.exit("on purpose")
        case "generator":
            raise GeneratorExit("on purpose")
        case "205":
            return Response(b"content", 205)
        case "stream":

            async def cut() -> AsyncIterator[bytes]:
                yield b"first"
                raise RuntimeError("on purpose")

            return StreamingResponse(cut())
        case _:
            raise RuntimeError("on purpose")

"""Server-sent events to everybody. Arguments: the port, the build.

`bench/peers/apps/starlette_sse.py` is the same for Starlette.
"""

from __future__ import annotations

import asyncio
import sys
from collections.abc import AsyncIterator

from ember import Ember, ServerSentEvent, SSEResponse
from ember._build import PURE

from bench.sse.feed import Feed

app = Ember()
feed = Feed()


@app.lifespan
async def publishing() -> AsyncIterator[None]:
    task = asyncio.create_task(feed.publish())
    yield
    task.cancel()


async def listen() -> AsyncIterator[ServerSentEvent]:
    queue: asyncio.Queue[tuple[int, str]] = asyncio.Queue()
    feed.queues.add(queue)
    try:
        while True:
            number, data = await queue.get()
            yield ServerSentEvent(data=data, event="tick", id=str(number))
    finally:
        feed.queues.discard(queue)


@app.get("/events")
async def events() -> SSEResponse:
    return SSEResponse(listen())


if __name__ == "__main__":
    if (sys.argv[2] == "pure") != PURE:
        raise SystemExit(f"the {sys.argv[2]} build was asked for and is not there: `make build`")
    app.run(port=int(sys.argv[1]), workers=1, startup_message=False)

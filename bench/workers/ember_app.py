"""Several workers, seen from outside. Arguments: the port, the build, the number of workers."""

from __future__ import annotations

import asyncio
import sys
from collections.abc import AsyncIterator

from ember import Ember, ServerLimits, SSEResponse
from ember._build import PURE

app = Ember(server_limits=ServerLimits(shutdown_timeout=10, worker_timeout=None))


@app.get("/")
async def hello() -> str:
    return "Hello, World!"


@app.get("/slow")
async def slow() -> str:
    await asyncio.sleep(1)
    return "at last"


async def _ticks() -> AsyncIterator[str]:
    while True:
        yield "tick"
        await asyncio.sleep(0.2)


@app.get("/events")
async def events() -> SSEResponse:
    return SSEResponse(_ticks())


@app.get("/board")
async def board() -> list[list[int]]:
    assert app.server is not None
    return [[s.pid, s.state, s.connections, s.requests] for s in app.server.board.slots]


if __name__ == "__main__":
    if (sys.argv[2] == "pure") != PURE:
        raise SystemExit(f"the {sys.argv[2]} build was asked for and is not there: `make build`")
    app.run(port=int(sys.argv[1]), workers=int(sys.argv[3]), startup_message=False)

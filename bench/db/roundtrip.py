"""One connection, queries in sequence, on the loop that is named. Argument: the loop.

Each line of stdin is a number of queries to run; each is answered with a line of JSON.
"""

from __future__ import annotations

import asyncio
import json
import os
import sys
import time

import asyncpg


def new_loop(name: str) -> asyncio.AbstractEventLoop:
    """A loop of `ember`, `uvloop` or `asyncio`."""
    if name == "uvloop":
        import uvloop

        return uvloop.new_event_loop()
    if name == "asyncio":
        return asyncio.SelectorEventLoop()
    from ember.eventloop import new_event_loop

    return new_event_loop()


async def queries(connection: asyncpg.Connection, count: int) -> dict[str, float]:
    """Run `count` queries one after another; microseconds for each, and of this process's CPU."""
    wall, cpu = time.perf_counter_ns(), time.process_time_ns()
    for n in range(count):
        row = await connection.fetchrow("SELECT id, title FROM item WHERE id = $1", n % 100 + 1)
        if row["id"] != n % 100 + 1:
            raise AssertionError(f"asked for {n % 100 + 1}, got {row}")
    wall, cpu = time.perf_counter_ns() - wall, time.process_time_ns() - cpu
    return {"us": wall / count / 1000, "cpu_us": cpu / count / 1000}


def main() -> None:
    """Answer rounds until stdin ends."""
    loop = new_loop(sys.argv[1])
    asyncio.set_event_loop(loop)
    connection = loop.run_until_complete(asyncpg.connect(os.environ["DATABASE_URL"]))
    for line in sys.stdin:
        print(json.dumps(loop.run_until_complete(queries(connection, int(line)))), flush=True)
    loop.run_until_complete(connection.close())
    loop.close()


if __name__ == "__main__":
    main()

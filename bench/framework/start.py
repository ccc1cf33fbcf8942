"""What a fresh process pays: the import, and many routes until the first answer.

`python -m bench.framework.start import|plain|structs`; prints one line of JSON.
"""

# What is imported is what is measured: nothing else may be loaded before.
from __future__ import annotations

import sys
import time
from typing import Any

ROUTES = 500


def importing() -> dict[str, Any]:
    """`import ember` and then what a program needs of it, in milliseconds; and who came along."""
    known = set(sys.modules)
    wall, cpu = time.perf_counter(), time.process_time()
    import ember

    lazy_wall, lazy_cpu = time.perf_counter() - wall, time.process_time() - cpu
    from ember import Ember, Request

    wall, cpu = time.perf_counter() - wall, time.process_time() - cpu
    assert ember.Ember is Ember, Request
    tops = {name.partition(".")[0] for name in set(sys.modules) - known}
    # cython_runtime is no package: compiled modules put it there.
    expected = {*sys.stdlib_module_names, "ember", "msgspec", "cython_runtime"}
    return {
        "lazy_ms": lazy_wall * 1e3,
        "lazy_cpu_ms": lazy_cpu * 1e3,
        "ms": wall * 1e3,
        "cpu_ms": cpu * 1e3,
        "optional": sorted(tops - expected - {name for name in tops if name.startswith("_")}),
        "modules": len(set(sys.modules) - known),
    }


def routes(structs: bool) -> dict[str, Any]:
    """From the first registration to the first answer, in milliseconds."""
    import asyncio

    import msgspec
    from ember import Ember
    from ember.protocol import MemoryConnection

    def handler_of(number: int) -> Any:
        if not structs:

            async def plain(item_id: int) -> str:
                return f"item {item_id}"

            return plain
        fields = [("title", str), ("notes", str), ("priority", int), ("done", bool)]
        body = msgspec.defstruct(f"Body{number}", [*fields, ("tags", list[str])])

        async def typed(item: Any) -> Any:
            return item

        typed.__annotations__ = {"item": body, "return": body}
        return typed

    handlers = [handler_of(number) for number in range(ROUTES)]
    last = ROUTES - 1
    body = b'{"title":"a","notes":"b","priority":1,"done":true,"tags":[]}'
    if structs:
        request = (
            f"POST /group{last}/items HTTP/1.1\r\nHost: a\r\nContent-Type: application/json\r\n"
        )
        asked = f"{request}Content-Length: {len(body)}\r\n\r\n".encode() + body
    else:
        asked = f"GET /group{last}/items/7 HTTP/1.1\r\nHost: a\r\n\r\n".encode()
        body = b"item 7"

    async def ready() -> bytes:
        await app.startup()
        connection = MemoryConnection(app)
        connection.feed(asked)
        sent = connection.take()
        while b"\r\n\r\n" not in sent:
            await asyncio.sleep(0)
            sent += connection.take()
        return sent

    with asyncio.Runner() as runner:
        runner.get_loop()
        wall, cpu = time.perf_counter(), time.process_time()
        app = Ember()
        for number, handler in enumerate(handlers):
            if structs:
                app.post(f"/group{number}/items")(handler)
            else:
                app.get(f"/group{number}/items/{{item_id:int}}")(handler)
        answer = runner.run(ready())
        wall, cpu = time.perf_counter() - wall, time.process_time() - cpu
        if not answer.startswith(b"HTTP/1.1 200 ") or not answer.endswith(b"\r\n\r\n" + body):
            raise SystemExit(f"wrong answer: {answer[:300]!r}")
        runner.run(app.shutdown())
    return {"ms": wall * 1e3, "cpu_ms": cpu * 1e3, "routes": ROUTES}


if __name__ == "__main__":
    what = sys.argv[1]
    measured = importing() if what == "import" else routes(what == "structs")
    import json

    print(json.dumps(measured))

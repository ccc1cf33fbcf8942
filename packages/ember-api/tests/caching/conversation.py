"""A made-up conversation with an application of cached routes: `python conversation.py SEED KIND`
prints every answer as JSON. KIND is `quick`, or `slow`: nothing is left to the connection."""

from __future__ import annotations

import asyncio
import json
import random
import re
import sys
import time

from ember import Ember, Request, Response
from ember.cache import StaticCache, TTLCache
from ember.protocol import MemoryConnection

TARGETS = ["/plain", "/plain?a", "/plain?", "/static", "/varies", "/public", "/private", "/large"]
TARGETS += ["/changed", "/fails", "/none", "http://a/plain", "/pl%61in", "/nowhere"]
METHODS = ["GET"] * 10 + ["HEAD"] * 3 + ["POST", "OPTIONS", "get"]
FIELDS = [
    "Accept-Encoding: gzip",
    "Authorization: Bearer a",
    "Cache-Control: max-age=0",
    "Cache-Control: no-cache",
    "Cache-Control: only-if-cached",
    "Connection: close",
    "Connection: keep-alive",
    "Content-Length: 0",
    "Cookie: a=b",
    "If-Modified-Since: Sat, 21 Nov 2026 00:00:00 GMT",
    "If-None-Match: *",
    'If-None-Match: "x"',
    "Pragma: no-cache",
    "Range: bytes=0-1",
    "X-Kind: one",
    "X-Kind: two",
    "bad field",
]


def application(kind: str) -> Ember:
    app = Ember()
    clock = time.monotonic if kind == "quick" else lambda: time.monotonic()
    calls = [0]

    def cache() -> TTLCache:
        return TTLCache(ttl=3600, clock=clock)

    def answer(request: Request, **headers: str) -> Response:
        calls[0] += 1
        names = {name.replace("_", "-"): value for name, value in headers.items()}
        return Response(f"{request.path} {calls[0]}", headers=names)

    app.get("/plain", cache=cache())(lambda request: answer(request, X_One="1"))
    app.get("/public", cache=cache())(lambda request: answer(request, Cache_Control="public"))
    app.get("/private", cache=cache())(lambda request: answer(request, Cache_Control="private"))
    app.get("/varies", cache=cache())(lambda request: answer(request, Vary="X-Kind"))
    app.get("/changed", cache=cache())(lambda request: answer(request))
    app.post("/changed")(lambda request: answer(request))
    static = StaticCache() if kind == "quick" else cache()
    app.get("/static", cache=static)(lambda request: answer(request))

    @app.get("/large", cache=cache())
    async def large(request: Request) -> Response:
        return Response(b"z" * 20_000)

    @app.get("/fails", cache=cache())
    async def fails(request: Request) -> None:
        raise ValueError("on purpose")

    @app.get("/none", cache=cache())
    async def none() -> None:
        return None

    for route in app.routes:
        route.inline = True
    return app


def requests(seed: int) -> list[bytes]:
    """What is fed, piece by piece; an empty one stands for a new connection."""
    choose = random.Random(seed)
    pieces: list[bytes] = []
    for _ in range(60):
        batch = b""
        for _ in range(choose.choice([1, 1, 1, 2, 5])):
            fields = choose.sample(FIELDS, choose.choice([0, 0, 0, 1, 2]))
            target, method = choose.choice(TARGETS), choose.choice(METHODS)
            version = choose.choice(["1.1"] * 9 + ["1.0"])
            batch += "\r\n".join([f"{method} {target} HTTP/{version}", "Host: a", *fields]).encode()
            batch += b"\r\n\r\n"
        cut = choose.randrange(len(batch) + 1)
        pieces += [b"", *filter(None, [batch[:cut], batch[cut:]])]
    return pieces


async def talk(app: Ember, pieces: list[bytes]) -> list[str]:
    """What came out of each connection."""
    await app.startup()
    began = time.monotonic()
    connection, sent, out = MemoryConnection(app), b"", []
    for piece in [*pieces, b""]:
        if not piece:
            out.append(comparable(sent.decode("latin-1"), time.monotonic() - began))
            connection.lost()
            connection, sent = MemoryConnection(app), b""
        elif not connection.closed:
            connection.feed(piece)
            quiet = 0
            while quiet < 20:
                await asyncio.sleep(0)
                more = connection.take()
                sent += more
                quiet = 0 if more else quiet + 1
    connection.lost()
    await app.shutdown()
    return out


def comparable(text: str, seconds: float) -> str:
    """Without what is different each time; of a broken request only the status counts. An age is
    anything that can be, `seconds` after all began."""

    def age(found: re.Match[str]) -> str:
        return "\r\nAge: possible\r" if int(found[1]) <= seconds else found[0]

    text = re.sub(r"\r\nAge: (\d+)\r", age, text)
    text = re.sub(r"\r\nDate: [^\r]*", "", text)
    text = re.sub(r'"request_id":"[^"]*"', "", text)
    return re.sub(r"(?s)HTTP/1.1 400 .*", "400", text)


if __name__ == "__main__":
    import logging

    logging.disable()
    app = application(sys.argv[2])
    said = asyncio.run(talk(app, requests(int(sys.argv[1]))))
    hits = sum(r.cache_counters.tally.hits for r in app.routes if r.cache_counters is not None)
    print(json.dumps({"said": said, "given": hits}))

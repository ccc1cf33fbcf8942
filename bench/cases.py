"""What is asked and what must be answered: the same for every server, over TCP and from memory."""

from __future__ import annotations

import json
from dataclasses import dataclass

HELLO = b"Hello, World!"
MESSAGE = {"message": "Hello, World!"}
ITEM = 12345
PIPELINE_DEPTH = 16


def _document() -> bytes:
    """1,024 bytes of JSON as an API gets it; compact, so that re-encoding gives the same bytes."""
    document: dict[str, object] = {
        "id": 71,
        "title": "Measure what a request costs",
        "done": False,
        "priority": 2,
        "tags": ["ember", "http", "bench"],
        "assignee": {"id": 9, "name": "Ada", "mail": "ada@example.org"},
        "steps": [{"n": n, "text": f"step number {n}", "hours": n + 0.5} for n in range(1, 4)],
        "note": "",
    }
    bare = len(json.dumps(document, separators=(",", ":")))
    prose = (
        "Send the same request many times, on connections that stay open, and count what the "
        "process spent on it. Look at every answer before the clock runs, and at its body while "
        "it runs. Take turns with the others, so that what disturbs one disturbs all. "
    )
    document["note"] = (prose * 4)[: 1024 - bare]
    return json.dumps(document, separators=(",", ":")).encode()


DOCUMENT = _document()

_BROWSER = """\
Host: localhost:8000
Connection: keep-alive
Cache-Control: max-age=0
sec-ch-ua: "Chromium";v="142", "Google Chrome";v="142", "Not_A Brand";v="99"
sec-ch-ua-mobile: ?0
sec-ch-ua-platform: "Linux"
Upgrade-Insecure-Requests: 1
User-Agent: Mozilla/5.0 (X11; Linux x86_64) AppleWebKit/537.36 (KHTML, like Gecko) \
Chrome/142.0.0.0 Safari/537.36
Accept: text/html,application/xhtml+xml,application/xml;q=0.9,image/avif,image/webp,\
image/apng,*/*;q=0.8
Sec-Fetch-Site: none
Sec-Fetch-Mode: navigate
Accept-Encoding: gzip, deflate, br, zstd
Accept-Language: en-US,en;q=0.9,de;q=0.8
Cookie: theme=dark; session=eyJ1c2VyIjo0MiwiZXhwIjoxNzk1MTk2ODAwfQ.c2lnbmF0dXJl; consent=1; \
_ga=GA1.1.1318526023.1795196800; _ga_8JX2=GS2.1.s1795196800$o3$g1$t1795197013$j60; lang=en
"""


def _get(path: str, headers: str = "Host: localhost:8000\n") -> bytes:
    return f"GET {path} HTTP/1.1\n{headers}\n".replace("\n", "\r\n").encode()


_POST = (
    f"POST /echo HTTP/1.1\nHost: localhost:8000\nContent-Type: application/json\n"
    f"Content-Length: {len(DOCUMENT)}\n\n"
).replace("\n", "\r\n").encode() + DOCUMENT


@dataclass(frozen=True)
class Case:
    """One request and its answer.

    `body` and `content_type` (its beginning) are what every server must give, byte for byte;
    `depth` is how many requests are in flight on each of `connections`.
    """

    name: str
    title: str
    request: bytes
    body: bytes
    content_type: str
    depth: int = 1
    connections: int = 64
    #: Over TCP only 200 counts as an answer.
    status: int = 200
    #: `body` is only how it begins: what follows is another each time.
    begins: bool = False


HTTP = (
    Case("hello", "hello", _get("/"), HELLO, "text/plain"),
    Case(
        "json",
        "JSON from a dict",
        _get("/json"),
        b'{"message":"Hello, World!"}',
        "application/json",
    ),
    Case("param", "path parameter", _get(f"/items/{ITEM}"), f"item {ITEM}".encode(), "text/plain"),
    Case("echo", "1 KB JSON echo", _POST, DOCUMENT, "application/json"),
    Case("pipelined", "hello, pipelined ×16", _get("/"), HELLO, "text/plain", PIPELINE_DEPTH),
    Case("browser", "hello, browser's headers", _get("/", _BROWSER), HELLO, "text/plain"),
)
#: Only where there is no socket: a loop turn inside the handler.
SLEEP = Case("sleep", "handler awaits sleep(0)", _get("/sleep"), HELLO, "text/plain")
MICRO = (*HTTP[:4], SLEEP, *HTTP[4:])

BY_NAME = {case.name: case for case in MICRO}

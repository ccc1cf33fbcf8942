"""What is asked of the framework: typed bodies, dependencies, and what stands around a handler."""

from __future__ import annotations

from bench.cases import HELLO, Case

NEW = (
    b'{"title":"Water the tomatoes","notes":"before it gets hot","priority":2,'
    b'"done":false,"tags":["home","garden"]}'
)
ITEM = b'{"id":71,' + NEW[1:]
#: What the ten dependencies add up to, each adding what it was given: see the applications.
TREE = b"28"
FORMS = {
    "sync-hooks": "10 sync BEFORE_ENDPOINT hooks",
    "sync-after": "10 sync AFTER_ENDPOINT hooks",
    "sync-objects": "10 objects with sync before and after",
    "wrapping": "10 middlewares (request, call_next)",
    "before": "10 before-callables",
    "objects": "10 objects with before and after",
    "hooks-before": "10 BEFORE_ENDPOINT hooks",
    "hooks-after": "10 AFTER_ENDPOINT hooks",
}


def _get(path: str) -> bytes:
    return f"GET {path} HTTP/1.1\r\nHost: localhost:8000\r\n\r\n".encode()


def _post(path: str, body: bytes) -> bytes:
    head = (
        f"POST {path} HTTP/1.1\r\nHost: localhost:8000\r\nContent-Type: application/json\r\n"
        f"Content-Length: {len(body)}\r\n\r\n"
    )
    return head.encode() + body


CASES = (
    Case("hello", "hello", _get("/"), HELLO, "text/plain"),
    Case("structs", "5 fields, Structs", _post("/structs", NEW), ITEM, "application/json"),
    Case("models", "5 fields, pydantic", _post("/models", NEW), ITEM, "application/json"),
    Case("tree", "10 dependencies", _get("/tree"), TREE, "text/plain"),
    *(Case(form, title, _get(f"/{form}"), HELLO, "text/plain") for form, title in FORMS.items()),
)
#: Up to the id, which is another each time.
_NOT_FOUND = (
    b'{"type":"about:blank","title":"Not Found","status":404,"detail":"nothing is at /nothing",'
    b'"request_id":"'
)
#: The same from memory, where nothing hides what stands around a handler.
MICRO = (
    *CASES,
    Case(
        "404",
        "404",
        _get("/nothing"),
        _NOT_FOUND,
        "application/problem+json",
        status=404,
        begins=True,
    ),
)

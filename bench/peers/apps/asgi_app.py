"""Bare ASGI: no framework, the paths compared by hand."""

# mypy: ignore-errors
# (What is imported here lives in the peers' own environment, not in ours.)
import msgspec

_TEXT = [(b"content-type", b"text/plain; charset=utf-8")]
_JSON = [(b"content-type", b"application/json")]


async def app(scope, receive, send):
    if scope["type"] != "http":
        return
    path = scope["path"]
    status, headers = 200, _TEXT
    if path == "/":
        body = b"Hello, World!"
    elif path == "/json":
        headers, body = _JSON, msgspec.json.encode({"message": "Hello, World!"})
    elif path.startswith("/items/"):
        body = b"item %d" % int(path[7:])
    elif path == "/echo":
        data = bytearray()
        more = True
        while more:
            event = await receive()
            data += event.get("body", b"")
            more = event.get("more_body", False)
        headers, body = _JSON, msgspec.json.encode(msgspec.json.decode(data))
    else:
        status, body = 404, b"not found"
    length = (b"content-length", b"%d" % len(body))
    await send({"type": "http.response.start", "status": status, "headers": [*headers, length]})
    await send({"type": "http.response.body", "body": body})

"""Bare RSGI, granian's own interface."""

# mypy: ignore-errors
# (What is imported here lives in the peers' own environment, not in ours.)
import msgspec

_TEXT = [("content-type", "text/plain; charset=utf-8")]
_JSON = [("content-type", "application/json")]


async def app(scope, protocol):
    path = scope.path
    if path == "/":
        protocol.response_str(200, _TEXT, "Hello, World!")
    elif path == "/json":
        protocol.response_bytes(200, _JSON, msgspec.json.encode({"message": "Hello, World!"}))
    elif path.startswith("/items/"):
        protocol.response_str(200, _TEXT, f"item {int(path[7:])}")
    elif path == "/echo":
        document = msgspec.json.decode(await protocol())
        protocol.response_bytes(200, _JSON, msgspec.json.encode(document))
    else:
        protocol.response_empty(404, [])

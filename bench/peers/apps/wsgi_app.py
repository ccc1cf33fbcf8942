"""Bare WSGI for fastpysgi."""

# mypy: ignore-errors
# (What is imported here lives in the peers' own environment, not in ours.)
import sys

import msgspec

_TEXT = "text/plain; charset=utf-8"
_JSON = "application/json"


def app(environ, start_response):
    path = environ["PATH_INFO"]
    status, kind = "200 OK", _TEXT
    if path == "/":
        body = b"Hello, World!"
    elif path == "/json":
        kind, body = _JSON, msgspec.json.encode({"message": "Hello, World!"})
    elif path.startswith("/items/"):
        body = b"item %d" % int(path[7:])
    elif path == "/echo":
        kind, body = _JSON, msgspec.json.encode(msgspec.json.decode(environ["wsgi.input"].read()))
    else:
        status, body = "404 Not Found", b"not found"
    start_response(status, [("Content-Type", kind), ("Content-Length", str(len(body)))])
    return [body]


if __name__ == "__main__":
    import fastpysgi

    fastpysgi.run(app, host="127.0.0.1", port=int(sys.argv[1]))

"""Something small, something large, something to send to. Arguments: the port, the build."""

from __future__ import annotations

import sys

from ember import Ember, Request, Response, ServerLimits
from ember._build import PURE

#: Idle connections stay for the whole run; everything else is as it comes.
app = Ember(server_limits=ServerLimits(keep_alive_timeout=600))
_LARGE = b"x" * (1 << 20)


@app.get("/")
async def hello() -> str:
    return "Hello, World!"


@app.get("/large")
async def large() -> Response:
    return Response(_LARGE)


@app.post("/body")
async def body(request: Request) -> str:
    return str(len(await request.body()))


if __name__ == "__main__":
    if (sys.argv[2] == "pure") != PURE:
        raise SystemExit(f"the {sys.argv[2]} build was asked for and is not there: `make build`")
    app.run(port=int(sys.argv[1]), workers=1, startup_message=False)

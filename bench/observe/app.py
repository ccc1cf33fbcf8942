"""Hello, watched in the way that the second argument names. Arguments: the port, the way."""

from __future__ import annotations

import os
import subprocess
import sys
import tempfile

from ember import Ember
from ember._build import PURE

WAYS = ("plain", "again", "metrics", "log", "pipe", "both")


def read_by_another() -> None:
    """Make standard output a pipe whose reader is no child of ours: its CPU time is not counted."""
    reading, writing = os.pipe()
    subprocess.run(["sh", "-c", "(cat <&3 >/dev/null &) 3<&0"], stdin=reading, check=True)
    os.close(reading)
    os.dup2(writing, 1)
    os.close(writing)


def make(way: str, log: str) -> Ember:
    """The application; "again" is "plain" once more, to see what the noise is."""
    if way not in WAYS:
        raise SystemExit(f"{way!r}: expected one of {', '.join(WAYS)}")
    if way == "pipe":
        read_by_another()
    logs = {"log": log, "both": log, "pipe": "json"}
    app = Ember(metrics=way in ("metrics", "both"), access_log=logs.get(way))

    @app.get("/")
    async def hello() -> str:
        return "Hello, World!"

    return app


if __name__ == "__main__":
    if PURE:
        raise SystemExit("the compiled build was asked for and is not there: `make build`")
    with tempfile.TemporaryDirectory(prefix="ember-bench-") as folder:
        make(sys.argv[2], f"{folder}/access.log").run(
            port=int(sys.argv[1]), workers=1, startup_message=False
        )

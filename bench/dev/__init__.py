"""`ember dev`: from the moment a file is saved to the first answer of the new program."""

from __future__ import annotations

import http.client
import re
import statistics
import subprocess
import sys
import tempfile
import time
from pathlib import Path

from bench import show
from bench.part import Options, Results
from bench.process import ServerFailed

#: Seconds that an edit may take before the run has failed.
DEADLINE = 30.0
#: Seconds between two edits: a person reads what came before. The next process is made meanwhile.
PAUSE = 2.0
PROGRAM = """
from typing import Annotated
from ember import Ember, Query
from msgspec import Struct

app = Ember()

class Item(Struct):
    name: str
    price: float = 0.0

@app.get("/")
async def index() -> str:
    return "{text}"

@app.post("/items")
async def create(item: Item, q: Annotated[int, Query(ge=0)] = 0) -> Item:
    return item
"""
#: How it learns of a change; the file keeps watchfiles from being found.
WAYS = {"told by the kernel (watchfiles)": "", "looking at the files": "raise ImportError"}


def _answer(port: int) -> str:
    connection = http.client.HTTPConnection("127.0.0.1", port, timeout=DEADLINE)
    try:
        connection.request("GET", "/")
        return connection.getresponse().read().decode()
    finally:
        connection.close()


def _until(port: int, text: str) -> None:
    end = time.monotonic() + DEADLINE
    while time.monotonic() < end:
        try:
            if _answer(port) == text:
                return
        except (OSError, http.client.HTTPException):
            continue  # it was on its way to the process that has just ended
    raise ServerFailed(f"ember dev: {text!r} was not served within {DEADLINE:.0f} s")


def _edits(folder: Path, count: int) -> list[float]:
    """Milliseconds of each edit."""
    main = folder / "main.py"
    main.write_text(PROGRAM.format(text="first"))
    with (folder / "log").open("w") as log:
        dev = subprocess.Popen(
            [sys.executable, "-m", "ember", "dev", "--port", "0"], cwd=folder, stderr=log
        )
    try:
        end = time.monotonic() + DEADLINE
        while not (found := re.search(r"127\.0\.0\.1:(\d+)", (folder / "log").read_text())):
            if dev.poll() is not None or time.monotonic() > end:
                raise ServerFailed(f"ember dev did not start: {(folder / 'log').read_text()}")
            time.sleep(0.01)
        port = int(found[1])
        _until(port, "first")
        taken = []
        for number in range(count):
            time.sleep(PAUSE)
            began = time.monotonic()
            main.write_text(PROGRAM.format(text=f"edit {number}"))
            _until(port, f"edit {number}")
            taken.append((time.monotonic() - began) * 1000)
        return taken
    finally:
        dev.terminate()
        dev.wait(DEADLINE)


def run(options: Options) -> Results:
    """The median of ten edits (`rounds`), each way of watching."""
    count = options.turns(10, quick=2)
    ways: Results = {}
    for done, (name, hide) in enumerate(WAYS.items()):
        show.progress(done, len(WAYS), name)
        with tempfile.TemporaryDirectory() as folder:
            if hide:
                (Path(folder) / "watchfiles.py").write_text(hide)
            taken = _edits(Path(folder), count)
        ways[name] = {"median_ms": statistics.median(taken), "edits_ms": taken}
    show.clear()
    return {"edits": count, "ways": ways}

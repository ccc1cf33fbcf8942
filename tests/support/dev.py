"""`ember dev` as a process."""

from __future__ import annotations

import re
import signal
import subprocess
import sys
import threading
import time
from http.client import HTTPConnection, HTTPException
from pathlib import Path

from tests.support.waiting import DEADLINE

APP = """
from ember import Ember
app = Ember()
@app.get("/")
async def index():
    return {text!r}
@app.get("/broken")
async def broken():
    raise KeyError("oops")
@app.get("/pid")
async def pid():
    import os
    return os.getpid()
"""


class Dev:
    """`ember dev` in a folder; `lines` is what it has written."""

    def __init__(self, folder: Path, *arguments: str) -> None:
        self.main = folder / "main.py"
        self.process = subprocess.Popen(
            [sys.executable, "-m", "ember", "dev", "--port", "0", *arguments],
            cwd=folder,
            stdin=subprocess.DEVNULL,
            stderr=subprocess.PIPE,
            text=True,
        )
        self.lines: list[str] = []
        self._more = threading.Condition()
        self._reader = threading.Thread(target=self._read, daemon=True)
        self._reader.start()
        self.port = int(self.wait_for(r"ember dev: http://[\d.]+:(\d+)")[1])

    def _read(self) -> None:
        assert self.process.stderr is not None
        for line in self.process.stderr:
            with self._more:
                self.lines.append(line)
                self._more.notify_all()

    def wait_for(self, pattern: str) -> re.Match[str]:
        """The first match of `pattern` in what it has written or will write soon."""
        end = time.monotonic() + DEADLINE
        with self._more:
            while not (found := re.search(pattern, "".join(self.lines))):
                assert self._more.wait(end - time.monotonic()), "".join(self.lines)
        return found

    def get(self, path: str = "/") -> tuple[int, str]:
        """What a client gets; it waits while the application starts."""
        connection = HTTPConnection("127.0.0.1", self.port, timeout=DEADLINE)
        try:
            connection.request("GET", path, headers={"Accept": "text/html"})
            response = connection.getresponse()
            return response.status, response.read().decode()
        finally:
            connection.close()

    def until(self, text: str) -> float:
        """Seconds until `/` has `text`, asked again and again; no request may be refused."""
        began = time.monotonic()
        while time.monotonic() - began < DEADLINE:
            try:
                if text in self.get()[1]:
                    return time.monotonic() - began
            except (ConnectionResetError, HTTPException):
                continue  # it was on its way to the process that has just ended
        raise AssertionError(f"{text!r} never came: {''.join(self.lines)}")

    def close(self) -> None:
        if self.process.poll() is None:
            self.stop()
        self._reader.join(DEADLINE)
        assert self.process.stderr is not None
        self.process.stderr.close()

    def edit(self, text: str) -> None:
        """Write main.py in one step, as editors do: who looks in between would see two edits."""
        new = self.main.with_suffix(".new")
        new.write_text(text)
        new.replace(self.main)

    def stop(self, number: int = signal.SIGTERM) -> int:
        self.process.send_signal(number)
        return self.process.wait(DEADLINE)

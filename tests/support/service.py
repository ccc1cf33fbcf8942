"""An application served as processes of its own: real workers, real signals."""

from __future__ import annotations

import contextlib
import http.client
import json
import os
import re
import signal
import socket
import subprocess
import sys
import threading
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import Any

import psutil

from tests.support.waiting import DEADLINE, eventually

#: What every test's application has.
APP = """
import asyncio, os, sys, time
from ember import Ember, Events, Request, ServerLimits
app = Ember(server_limits=ServerLimits(shutdown_timeout=20, LIMITS))
def say(text):
    print(text, file=sys.stderr, flush=True)
@app.get("/")
async def index():
    return {"version": 1, "pid": os.getpid()}
@app.get("/board")
async def board():
    names = ("pid", "state", "connections", "requests", "generation")
    return [{name: getattr(slot, name) for name in names} for slot in app.server.board.slots]
"""

READY = 2


class Service:
    """`command` in `folder`; `lines` is what it has written to stderr."""

    def __init__(
        self,
        folder: Path,
        command: Sequence[str],
        environment: Mapping[str, str] | None = None,
        fds: Sequence[int] = (),
    ) -> None:
        self.lines: list[str] = []
        self._said = threading.Condition()
        self.popen = subprocess.Popen(
            command,
            cwd=folder,
            env={**os.environ, **(environment or {})},
            stderr=subprocess.PIPE,
            text=True,
            pass_fds=fds,
            start_new_session=True,
        )
        self._reader = threading.Thread(target=self._read, daemon=True)
        self._reader.start()
        self.port = 0

    def _read(self) -> None:
        assert self.popen.stderr is not None
        for line in self.popen.stderr:
            with self._said:
                self.lines.append(line)
                self._said.notify_all()

    @property
    def text(self) -> str:
        """Everything it wrote."""
        return "".join(self.lines)

    def wait_for(self, text: str, times: int = 1) -> str:
        """Until it has written `text` so often; the last line with it."""
        with self._said:
            found = self._said.wait_for(lambda: self.text.count(text) >= times, DEADLINE)
            assert found, f"not said: {text!r}, but:\n{self.text}"
        return [line for line in self.lines if text in line][-1]

    def wait_until_it_serves(self) -> None:
        line = self.wait_for("Ember serves")
        found = re.search(r"http://[\w.\[\]:]+?:(\d+)", line)
        self.port = int(found[1]) if found else 0

    def connect(self) -> http.client.HTTPConnection:
        return http.client.HTTPConnection("127.0.0.1", self.port, timeout=DEADLINE)

    def get(self, path: str = "/") -> Any:
        """GET on a connection of its own: the JSON, or the text if it is not JSON."""
        connection = self.connect()
        try:
            connection.request("GET", path, headers={"Connection": "close"})
            body = connection.getresponse().read()
        finally:
            connection.close()
        try:
            return json.loads(body)
        except ValueError:
            return body.decode()

    def status(self, path: str) -> int:
        connection = self.connect()
        try:
            connection.request("GET", path, headers={"Connection": "close"})
            return connection.getresponse().status
        finally:
            connection.close()

    def ready(self) -> set[int]:
        """The pids of the workers that serve."""
        return {slot["pid"] for slot in self.get("/board") if slot["state"] == READY}

    def wait_for_workers(self, count: int, without: int = 0) -> set[int]:
        """Until `count` serve, `without` not among them, which has been killed."""

        def there() -> bool:
            try:
                ready = self.ready()
            except (OSError, http.client.HTTPException):
                return False  # it had this connection before it died
            return len(ready) == count and without not in ready

        eventually(there, DEADLINE)
        return self.ready()

    def reload(self) -> None:
        """SIGHUP, and wait until every worker is another one."""
        old = self.ready()
        self.send(signal.SIGHUP)
        eventually(lambda: not self.ready() & old and len(self.ready()) == len(old), DEADLINE)

    def children(self) -> set[int]:
        """The pids below it."""
        return {child.pid for child in psutil.Process(self.popen.pid).children(recursive=True)}

    def send(self, number: int) -> None:
        self.popen.send_signal(number)

    def send_all(self, number: int) -> None:
        """To every process of it, as systemd does."""
        os.killpg(self.popen.pid, number)

    def stop(self, number: int = signal.SIGTERM) -> int:
        """Ask it to end; its exit status."""
        self.send(number)
        return self.wait()

    def wait(self) -> int:
        """Its exit status, when it has ended."""
        code = self.popen.wait(DEADLINE)
        self._reader.join(DEADLINE)
        return code

    def kill(self) -> None:
        """End everything of it, whatever its state."""
        with contextlib.suppress(ProcessLookupError):
            os.killpg(self.popen.pid, signal.SIGKILL)
        self.popen.wait(DEADLINE)
        self._reader.join(DEADLINE)
        assert self.popen.stderr is not None
        self.popen.stderr.close()


class Load:
    """Clients that ask a service without a pause, on connections that are kept.

    `failures` is what failed on connections that were not `victim`'s, `answers` the 200s.
    """

    def __init__(self, service: Service, clients: int, path: str = "/") -> None:
        self.victim = 0
        self.failures: list[str] = []
        self.answers = 0
        self._service = service
        self._path = path
        self._over = threading.Event()
        self._lock = threading.Lock()
        self._threads = [threading.Thread(target=self._ask, daemon=True) for _ in range(clients)]

    def __enter__(self) -> Load:
        for thread in self._threads:
            thread.start()
        return self

    def __exit__(self, *exc: object) -> None:
        self.stop()

    def wait_for_answers(self, count: int) -> None:
        """Until there are so many more."""
        wanted = self.answers + count
        eventually(lambda: self.answers >= wanted, DEADLINE)

    def stop(self) -> None:
        """No more requests; those under way are answered."""
        self._over.set()
        for thread in self._threads:
            thread.join(DEADLINE)
            assert not thread.is_alive(), "a request has no answer"

    def _ask(self) -> None:
        lost = 0
        while not self._over.is_set():
            connection, owner = self._service.connect(), 0
            try:
                while not self._over.is_set():
                    connection.request("GET", self._path)
                    response = connection.getresponse()
                    owner = json.loads(response.read())["pid"]
                    with self._lock:
                        self.answers += response.status == 200
            except (OSError, http.client.HTTPException, ValueError) as error:
                # Whose a connection without an answer was is not known; it happens once.
                lost += 1
                if (owner or self.victim) != self.victim or not self.victim or lost > 1:
                    self.failures.append(f"worker {owner}: {error!r}")
            finally:
                connection.close()


Serve = Callable[..., Service]


def write(folder: Path, text: str = "", *, limits: str = "", app: str = APP) -> None:
    """main.py: the common application and `text`."""
    (folder / "main.py").write_text(app.replace("LIMITS", limits) + text)


def start(folder: Path, *options: str) -> list[str]:
    """The command that serves main.py."""
    return [sys.executable, "-m", "ember", "start", "--port", "0", *options]


def unix_get(path: str) -> bytes:
    """The whole answer to GET / on a unix socket."""
    with socket.socket(socket.AF_UNIX) as client:
        client.settimeout(DEADLINE)
        client.connect(path)
        client.sendall(b"GET / HTTP/1.1\r\nHost: x\r\nConnection: close\r\n\r\n")
        data = b""
        while more := client.recv(4096):
            data += more
        return data

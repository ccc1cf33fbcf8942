"""Resident memory: idle, with many connections, and after them."""

from __future__ import annotations

import os
import random
import socket
import sys
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any
from urllib.request import urlopen

from bench import machine, process, show
from bench.cases import BY_NAME
from bench.http import verify
from bench.http.targets import EMBER, RING
from bench.process import Server, ServerFailed

_CASE = BY_NAME["hello"]
#: Files that the server keeps for itself, and this process too.
_SPARE = 200
_BENCH = Path(__file__).parents[1]


def _wait(what: str, true: Callable[[], bool], timeout: float = 30) -> None:
    deadline = time.monotonic() + timeout
    while not true():
        if time.monotonic() > deadline:
            raise ServerFailed(f"{what}: not within {timeout:.0f} s")
        time.sleep(0.02)


def _files(server: Server) -> int:
    return sum(len(os.listdir(f"/proc/{pid}/fd")) for pid in server.pids())


def _open(server: Server, count: int, source: str) -> list[socket.socket]:
    """Open `count` connections, each with one right answer, and leave them idle."""
    found: list[socket.socket] = []
    answer_size = 0
    for number in range(count):
        s = socket.create_connection(
            ("127.0.0.1", server.port), timeout=10, source_address=(source, 0)
        )
        found.append(s)
        s.sendall(_CASE.request)
        data = s.recv(4096)
        while len(data) < answer_size:
            data += s.recv(4096)
        if number == 0:
            answer = verify.read_answer(data)
            if answer is None:
                raise ServerFailed(f"no whole answer in one segment: {data[:100]!r}")
            verify.check(_CASE, answer[0])
            answer_size = len(data)
        elif len(data) != answer_size or not data.endswith(_CASE.body):
            raise ServerFailed(f"connection {number}: wrong answer {data[:100]!r}")
        if number % 1000 == 0:
            show.progress(number, count, "connections opened")
    return found


def _close(server: Server, held: list[socket.socket], files: int) -> None:
    for s in held:
        s.close()
    _wait("closing all connections", lambda: _files(server) <= files)


def _measure(server: Server, count: int, churned: int, wave: int) -> dict[str, Any]:
    before = _files(server)
    verify.verify(server, _CASE)
    _wait("closing the first connections", lambda: _files(server) <= before)
    files, idle = _files(server), server.rss()
    # Waves come from addresses of their own: closed connections keep their ports for a while.
    net = f"127.{random.randint(1, 250)}.{random.randint(1, 250)}"
    for number in range(churned // wave):
        _close(server, _open(server, wave, f"{net}.{2 + number // 10}"), files)
    left = server.rss()
    held = _open(server, count, f"{net}.100")
    full = server.rss()
    _close(server, held, files)
    return {
        "connections": count,
        "churned": churned,
        "wave": wave,
        "idle_mb": round(idle, 2),
        "left_mb": round(left - idle, 2),
        "full_mb": round(full, 2),
        "connection_kb": round((full - left) / count * 1024, 3),
        "left_after_full_mb": round(server.rss() - idle, 2),
    }


#: Programs that are only measured idle, and what each is asked first. The last one imports asyncio
#: before Ember, and with it OpenSSL.
_IDLE = {
    "json": ("memory/json_app.py", ("/", "/list", "/list", "/items/3")),
    "asyncio_first": ("http/ember_app.py", ("/",)),
}


@contextmanager
def _started(program: str) -> Iterator[Server]:
    """A server on the ring. The first start may have compiled modules; what a start costs every
    day is the second. By its path: as a module it would load the package of the bench too."""
    port = process.free_port()
    command = [sys.executable, str(_BENCH / program), str(port), "compiled"]
    env = next(target.env for target in EMBER if target.name == RING)
    server = process.start("memory", command, port=port, env=env)
    try:
        server.restart()
        yield server
    finally:
        server.stop()


def _idle(program: str, asked: tuple[str, ...]) -> float:
    with _started(program) as server:
        for path in asked:
            with urlopen(f"http://127.0.0.1:{server.port}{path}", timeout=10) as answer:
                if answer.status != 200:
                    raise ServerFailed(f"{path}: {answer.status}")
        return round(server.rss(), 2)


def run(*, connections: int, churned: int, wave: int = 500) -> dict[str, Any]:
    """Measure on the ring; fewer connections where fewer are allowed."""
    count = min(connections, machine.open_files() - _SPARE)
    try:
        with _started("memory/hello.py") as server:
            found = _measure(server, count, churned, wave)
        return found | {f"{name}_mb": _idle(*what) for name, what in _IDLE.items()}
    except (ServerFailed, OSError) as reason:
        show.warn(f"memory: {reason}")
        return {"failed": str(reason)}
    finally:
        show.clear()

"""Metrics and log of several workers: the sums are right after one was killed."""

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
from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.support.waiting import eventually

pytestmark = pytest.mark.skipif(not hasattr(os, "fork"), reason="needs fork")

APP = """
import os
from ember import Ember

app = Ember()

@app.get("/pid")
async def pid() -> str:
    return str(os.getpid())
"""


@pytest.fixture
def server(tmp_path: Path) -> Iterator[tuple[int, Path, int]]:
    """Port, log and pid of `ember start --workers 4 --metrics --access-log log`."""
    (tmp_path / "main.py").write_text(APP)
    sock = socket.socket()
    sock.bind(("127.0.0.1", 0))
    sock.listen(128)
    port: int = sock.getsockname()[1]
    log = tmp_path / "log"
    options = ["--workers", "4", "--metrics", "--access-log", str(log)]
    process = subprocess.Popen(
        [sys.executable, "-m", "ember", "start", *options, "--fd", str(sock.fileno())],
        cwd=tmp_path,
        pass_fds=[sock.fileno()],
        stdin=subprocess.DEVNULL,
        stdout=subprocess.DEVNULL,
        stderr=subprocess.PIPE,
    )
    sock.close()
    try:
        yield port, log, process.pid
    finally:
        process.terminate()
        assert process.stderr is not None
        process.stderr.read()
        process.stderr.close()
        process.wait(30)


def ask(port: int, path: str) -> bytes:
    connection = http.client.HTTPConnection("127.0.0.1", port, timeout=3)
    try:
        connection.request("GET", path)
        return connection.getresponse().read()
    finally:
        connection.close()


def number(page: bytes, name: str) -> int:
    (found,) = re.findall(rf"^{re.escape(name)} (\d+)$", page.decode(), re.MULTILINE)
    return int(found)


def sees(port: int, name: str, count: int) -> bool:
    """Whether a scrape says so; a worker that was killed takes its connections with it."""
    try:
        page = ask(port, "/metrics")
        return number(page, name) == count
    except (OSError, http.client.HTTPException):
        return False


def pids(port: int, count: int) -> list[int]:
    """Who answered so many requests; what a dead worker's ring still accepted does not count."""
    found: list[int] = []
    while len(found) < count:
        with contextlib.suppress(OSError, http.client.HTTPException):
            found.append(int(ask(port, "/pid")))
    return found


COUNTED = 'ember_http_requests_total{route="/pid",method="GET",status="200"}'


def test_sums_are_right_after_a_worker_was_killed_and_the_log_can_be_moved(
    server: tuple[int, Path, int],
) -> None:
    port, log, supervisor = server
    answered = pids(port, 60)
    eventually(lambda: sees(port, COUNTED, 60), 30)
    victim = answered[-1]
    os.kill(victim, signal.SIGKILL)
    eventually(lambda: sees(port, "ember_worker_restarts_total", 1), 30)
    eventually(lambda: sees(port, "ember_workers", 4), 30)
    answered += pids(port, 60)
    assert victim not in answered[60:]
    eventually(lambda: sees(port, COUNTED, 120), 30)
    eventually(lambda: log.read_bytes().count(b'"/pid","path"') == 120, 30)
    found = [json.loads(line) for line in log.read_bytes().splitlines()]
    workers = {line["worker"] for line in found}
    assert len(workers) >= len(set(answered)) - 1
    moved = log.with_name("moved")
    log.rename(moved)
    os.kill(supervisor, signal.SIGUSR1)
    eventually(log.exists, 30)
    pids(port, 1)
    eventually(lambda: (log.read_bytes() + moved.read_bytes()).count(b'"/pid","path"') == 121, 30)

"""`ember start --access-log PATH --metrics`, and SIGUSR1 after a rotation, in processes."""

from __future__ import annotations

import json
import signal
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from tests.integration.test_cli import APP, EMBER, Process, write
from tests.support.waiting import eventually


def lines(path: Path) -> list[Any]:
    return [json.loads(line) for line in path.read_text().splitlines()] if path.exists() else []


@pytest.fixture(params=[1, 2])
def workers(request: pytest.FixtureRequest) -> int:
    return int(request.param)


@pytest.fixture
def server(tmp_path: Path, workers: int) -> Iterator[Process]:
    write(tmp_path, main=APP)
    options = ["--port", "0", "--workers", str(workers), "--access-log", "access.log", "--metrics"]
    process = Process(tmp_path, [*EMBER, "start", *options])
    yield process
    process.stop(signal.SIGKILL if process.popen.poll() is None else 0)
    assert process.popen.stderr is not None
    process.popen.stderr.close()


def test_after_sigusr1_every_worker_writes_to_the_new_file(
    tmp_path: Path, server: Process, workers: int
) -> None:
    path, old = tmp_path / "access.log", tmp_path / "access.log.1"
    everybody, asked = set(range(workers)), 0

    def all_write() -> bool:
        nonlocal asked
        server.get(f"/users/{asked}")
        asked += 1
        return {line["worker"] for line in lines(path)} == everybody

    eventually(all_write)
    path.rename(old)
    server.popen.send_signal(signal.SIGUSR1)
    eventually(all_write)
    counted = f'{{route="/users/{{id:int}}",method="GET",status="200"}} {asked}\n'
    # Another worker may be about to count its last one.
    eventually(lambda: f"ember_http_requests_total{counted}" in server.get("/metrics").decode())
    assert server.stop() == 0
    paths = [line["path"] for line in lines(old) + lines(path) if line["path"] != "/metrics"]
    assert sorted(paths) == sorted(f"/users/{n}" for n in range(asked))

"""Two judges of the description: openapi-spec-validator reads it, schemathesis believes it and
sends what it promises to take, and what it promises to refuse.

schemathesis runs in a process of its own, since it loads half a second of modules, and on one build
and one loop: it judges the framework, which is the same on all of them.
"""

from __future__ import annotations

import json
import re
import subprocess
import sys
from collections.abc import Iterator
from http.client import HTTPConnection
from pathlib import Path
from typing import Any

import pytest
from openapi_spec_validator import validate

from tests.support.board import ROOT, Board
from tests.support.every_annotation import app as forty

DEADLINE = 200.0

#: RFC 9110 section 5.1: a server ignores header fields that it does not know. schemathesis takes
#: them for mistakes, as it does in a body, where they are.
CONFIG = """
[[operations]]
include-name = "GET /query/headers"
generation.allow-extra-parameters = false
"""

MAIN = """
from tests.support.every_annotation import app
app.run(port=0)
"""

pytestmark = pytest.mark.once


class Forty:
    """The application of forty routes in a process of its own."""

    def __init__(self, folder: Path) -> None:
        self.log = folder / "log"
        with self.log.open("w") as log:
            self.process = subprocess.Popen(
                [sys.executable, "-c", MAIN], cwd=ROOT, stdout=log, stderr=subprocess.STDOUT
            )

    def address(self) -> str:
        """Where it listens, once it does."""
        import time

        end = time.monotonic() + DEADLINE
        while not (found := re.search(r"serves (\S+:\d+)", self.log.read_text())):
            assert self.process.poll() is None, self.log.read_text()
            assert time.monotonic() < end, "it did not start"
        return found[1]


@pytest.fixture
def forty_url(tmp_path: Path) -> Iterator[str]:
    running = Forty(tmp_path)
    try:
        yield running.address()
    finally:
        running.process.terminate()
        assert running.process.wait(DEADLINE) == 0
    assert "Traceback" not in running.log.read_text()


def judge(url: str, folder: Path, *arguments: str) -> None:
    """Let schemathesis look for anything that is not as described."""
    (folder / "schemathesis.toml").write_text(CONFIG)
    done = subprocess.run(
        [
            sys.executable, "-m", "schemathesis.cli", "--config-file", "schemathesis.toml", "run",
            f"{url}/openapi.json", "--generation-deterministic", "--max-examples", "3",
            "--phases", "examples,coverage,fuzzing", "--checks", "all", "--no-shrink",
            "--continue-on-failure", "--no-color", *arguments,
        ],
        cwd=folder,
        capture_output=True,
        text=True,
        timeout=DEADLINE,
        check=False,
    )  # fmt: skip
    report = done.stdout.partition("FAILURES")[2] or done.stdout
    assert done.returncode == 0, f"{report}\n{done.stderr}"
    tested = re.search(r"Tested: (\d+)", done.stdout)
    selected = re.search(r"Selected: (\d+)/(\d+)", done.stdout)
    assert tested
    assert selected
    assert (
        int(tested[1]) == int(selected[1]) >= int(selected[2]) - arguments.count("--exclude-path")
    )


def document_at(url: str) -> Any:
    host, _, port = url.partition("://")[2].partition(":")
    connection = HTTPConnection(host, int(port), timeout=DEADLINE)
    try:
        connection.request("GET", "/openapi.json")
        return json.loads(connection.getresponse().read())
    finally:
        connection.close()


def test_the_application_has_forty_routes_and_a_valid_description() -> None:
    from ember.openapi import document

    assert len(forty.routes) >= 40
    validate(document(forty))


@pytest.mark.slow
@pytest.mark.timeout(300)
def test_schemathesis_finds_nothing_on_forty_routes(forty_url: str, tmp_path: Path) -> None:
    validate(document_at(forty_url))
    judge(forty_url, tmp_path)


@pytest.mark.slow
@pytest.mark.timeout(300)
def test_schemathesis_finds_nothing_on_the_task_board(tmp_path: Path) -> None:
    with Board(tmp_path, {}) as board:
        validate(document_at(board.url))
        # An event stream has no end that could be waited for.
        judge(board.url, tmp_path, "--exclude-path", "/events")
        assert "Traceback" not in board.output

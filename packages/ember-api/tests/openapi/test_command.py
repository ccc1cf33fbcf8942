"""`ember openapi` prints the document (E94)."""

from __future__ import annotations

import json
import subprocess
import sys
from pathlib import Path

import pytest

pytestmark = pytest.mark.once

APP = """
from ember import Ember
app = Ember(title="Printed")
@app.get("/users/{id}")
async def user(id: int) -> dict[str, int]:
    return {"id": id}
app.run()
"""


def openapi(folder: Path, *arguments: str) -> subprocess.CompletedProcess[str]:
    return subprocess.run(
        [sys.executable, "-m", "ember", "openapi", *arguments],
        cwd=folder,
        capture_output=True,
        text=True,
        timeout=120,
        check=False,
    )


def test_the_document_is_printed_or_written(tmp_path: Path) -> None:
    (tmp_path / "main.py").write_text(APP)
    done = openapi(tmp_path, "--json")
    assert done.returncode == 0, done.stderr
    printed = json.loads(done.stdout)
    assert (printed["info"]["title"], list(printed["paths"])) == ("Printed", ["/users/{id}"])
    assert openapi(tmp_path, "--output", "spec.json").stdout == ""
    assert json.loads((tmp_path / "spec.json").read_text()) == printed


def test_what_cannot_be_done_is_one_line(tmp_path: Path) -> None:
    done = openapi(tmp_path)
    assert (done.returncode, done.stdout) == (1, "")
    assert done.stderr.startswith("ember: no application found")
    (tmp_path / "main.py").write_text(APP)
    done = openapi(tmp_path, "-o", "missing/spec.json")
    assert done.returncode == 1
    assert done.stderr == "ember: missing/spec.json cannot be written: No such file or directory\n"

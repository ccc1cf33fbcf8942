"""The programs in the documentation run, and print what the page says they print."""

from __future__ import annotations

import ast
import asyncio
import contextlib
import inspect
import io
import re
from pathlib import Path
from typing import Any

import pytest

ROOT = Path(__file__).resolve().parents[1]
BLOCK = re.compile(r"^```python\n(.*?)^```", re.MULTILINE | re.DOTALL)


async def run(source: str, name: str) -> str:
    """Run `source`, which may await at its top level; returns what it printed."""
    code = compile(source, name, "exec", flags=ast.PyCF_ALLOW_TOP_LEVEL_AWAIT)
    out = io.StringIO()
    names: dict[str, Any] = {"__name__": "page"}
    with contextlib.redirect_stdout(out):
        waits = eval(code, names)
        if inspect.isawaitable(waits):
            await waits
    return out.getvalue()


#: How-tos with programs that say what comes out; those of the others are fragments.
PROGRAMS = [ROOT / "docs" / "howto" / "observability.md"]


@pytest.mark.parametrize(
    "page", [*sorted((ROOT / "docs" / "tutorial").glob("*.md")), *PROGRAMS], ids=str
)
def test_a_page_runs_as_one_program(page: Path) -> None:
    source = "".join(BLOCK.findall(page.read_text()))
    said = [line.strip() for line in re.findall(r"# > (.*)", source)]
    assert said, "the page says of nothing what comes out"
    printed = asyncio.run(run(source, page.name)).splitlines()
    assert [line.strip() for line in printed] == said


def test_the_program_of_the_readme_answers() -> None:
    from ember.protocol import MemoryConnection

    (source,) = BLOCK.findall((ROOT / "README.md").read_text())
    names: dict[str, Any] = {"__name__": "main"}
    exec(source.replace("app.run(port=8000)", ""), names)
    connection = MemoryConnection(names["app"])
    connection.feed(b"GET /hello/ada HTTP/1.1\r\nHost: x\r\n\r\n")
    assert connection.take().endswith(b'\r\n\r\n{"hello":"ada"}')

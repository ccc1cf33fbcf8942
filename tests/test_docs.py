"""The programs in the documentation run and print what the page says; links and names hold."""

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


DOCS = ROOT / "docs"
#: Pages beside the tutorials whose programs say what comes out; those of the others are fragments.
PROGRAMS = [
    DOCS / "howto" / "observability.md",
    DOCS / "internals" / "request-path.md",
    DOCS / "internals" / "binding.md",
]
#: The pages that explain the source to those who change it.
TOUR = [ROOT / "CONTRIBUTING.md", *sorted((DOCS / "internals").glob("*.md"))]
PAGES = [ROOT / "README.md", ROOT / "CONTRIBUTING.md", *sorted(DOCS.rglob("*.md"))]
#: Where the path of a file in the tour may begin.
PACKAGES = ROOT / "packages"
DISTRIBUTIONS = ("emberloop", "ember-cache", "ember-api")
CORE = PACKAGES / "emberloop" / "src" / "ember"
STARTS = [
    ROOT,
    DOCS,
    *(PACKAGES / name for name in DISTRIBUTIONS),
    *(PACKAGES / name / "src" for name in DISTRIBUTIONS),
    *(PACKAGES / name / "src" / "ember" for name in DISTRIBUTIONS),
    *(CORE / name for name in ("eventloop", "protocol", "protocol/server", "protocol/http1")),
    PACKAGES / "ember-api" / "src" / "ember" / "server",
    PACKAGES / "ember-cache" / "src" / "ember" / "cache",
]
SHORT = {
    "API": "packages/ember-api/src/ember",
    "LOOP": "packages/emberloop/src/ember",
    "CACHE": "packages/ember-cache/src/ember/cache",
}
LINK = re.compile(r"\]\(([^)#\s]+)(?:#[\w-]*)?\)")
NAMED = re.compile(r"`([\w./-]+/[\w.-]*\.(?:pyx|pxi|pxd|py|md|h|txt)|(?:[\w.-]+/)+)`")


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


@pytest.mark.parametrize("page", PAGES, ids=str)
def test_links_lead_somewhere(page: Path) -> None:
    text = re.sub(r"^```.*?^```", "", page.read_text(), flags=re.MULTILINE | re.DOTALL)
    lost = [
        link
        for link in LINK.findall(text)
        if not link.startswith(("http:", "https:", "mailto:")) and not (page.parent / link).exists()
    ]
    assert not lost


def found(name: str) -> Path | None:
    """The file or folder that a page means by a path, which may be below any of STARTS."""
    first, _, rest = name.partition("/")
    paths = [ROOT / SHORT[first] / rest] if first in SHORT else [start / name for start in STARTS]
    return next((path for path in paths if path.exists()), None)


@pytest.mark.once
@pytest.mark.parametrize("page", TOUR, ids=str)
def test_files_that_the_tour_names_exist(page: Path) -> None:
    names = {n for n in NAMED.findall(page.read_text()) if not n.startswith(("/", "build/"))}
    assert not [name for name in sorted(names) if found(name) is None]


@pytest.mark.once
def test_functions_on_the_path_of_a_request_are_in_the_files_that_it_names() -> None:
    rows = [
        line.split("|")[1:-1]
        for line in (DOCS / "internals" / "request-path.md").read_text().splitlines()
        if line.startswith("|") and line.count("|") >= 5
    ]
    checked = 0
    for _, functions, files, *_ in rows:
        paths = [path for name in NAMED.findall(files) if (path := found(name)) is not None]
        source = "".join(path.read_text() for path in paths)
        for function in re.findall(r"`([\w.]+)`", functions) if source else ():
            name = function.rpartition(".")[2]
            defined = rf"(?:def|static|inline) [^\n=]*\b{name}\("
            assert re.search(defined, source), f"{function} is not in {files}"
            checked += 1
    assert checked > 30


@pytest.mark.once
@pytest.mark.parametrize("page", [p for p in TOUR if p.name != "benchmarks.md"], ids=str)
def test_lines_of_the_tour_are_at_most_120_columns_wide(page: Path) -> None:
    # A row of a table cannot be broken.
    lines = [line for line in page.read_text().splitlines() if not line.startswith("|")]
    assert not [line for line in lines if len(line) > 120]

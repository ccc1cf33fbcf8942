"""The rooms of the house: imports point strictly downward, nothing runs in a circle, files stay
small.

Reads the sources of every distribution, compiled ones too. Every import counts: also those inside
of functions and those under TYPE_CHECKING. See docs/internals/README.md.
"""

from __future__ import annotations

import ast
import re
from collections.abc import Iterator
from pathlib import Path

import pytest

pytestmark = pytest.mark.once

ROOT = Path(__file__).parent.parent

#: The rooms below `ember`, the lowest first. A room may import from those before it.
ROOMS: list[set[str]] = [
    {"_build", "_interrupts", "_json", "_logs", "constants", "exceptions", "limits"},
    {"eventloop"},
    {"protocol.message", "headers", "request", "response"},
    {"protocol.http1"},
    {"protocol.telemetry"},
    {"protocol.server", "protocol"},
    {"cache"},
    {"concurrency", "forms", "schema"},
    {"responses"},
    {"routing"},
    {"binding", "middleware"},
    {"openapi", "route_cache", "server"},
    {"observability", "testing"},
    {"application"},
    {"cli"},
]
#: The lazy table of public names, and what starts the command line, may know everything.
EXEMPT = {"", "__main__"}
#: The distributions, and what each may see of the others.
PACKAGES = {
    "emberloop": {"emberloop"},
    "ember-cache": {"ember-cache"},
    "ember-api": {"ember-api", "emberloop", "ember-cache"},
}
#: Lines of a source file. A file of tests is a list, and may be twice as long.
MAX_LINES = {".py": 400, ".pyx": 600, ".pxi": 600, ".pxd": 600, ".h": 600}
#: Files that may be longer, by how much, and why.
EXCEPTIONS = {
    "packages/emberloop/src/ember/eventloop/_core.pxi": 1250,  # one cdef class, which is one file
}

IMPORT = re.compile(r"\s*(?:from|cimport|import) (ember[\w.]*)(?: c?import ([^#\n]*))?")


def sources(package: str) -> Iterator[tuple[str, Path]]:
    """Every module of a distribution, by its name below `ember`; some have several files."""
    base = ROOT / "packages" / package / "src" / "ember"
    for path in sorted(base.rglob("*")):
        if path.suffix in (".py", ".pyi", ".pyx", ".pxd"):
            parts = path.relative_to(base).with_suffix("").parts
            yield ".".join(parts[:-1] if parts[-1] == "__init__" else parts), path


ALL = {name: package for package in PACKAGES for name, _ in sources(package)}


def imports(source: str, module: str, *, is_package: bool, cython: bool) -> set[str]:
    """The `ember` modules that a source imports, wherever in it."""
    found: set[str] = set()

    def add(origin: str, names: list[str]) -> None:
        if origin == "ember" or origin.startswith("ember."):
            below = [f"{origin[6:]}.{name}".strip(".") for name in names]
            found.update(full if full in ALL else origin[6:] for full in below)
            if not names:
                found.add(origin[6:])

    if cython:
        for line in source.splitlines():
            match = IMPORT.match(line)
            if match:
                names = re.findall(r"(\w+)(?: as \w+)?", match[2] or "")
                add(match[1], names)
        return found - {module, ""}
    for node in ast.walk(ast.parse(source)):
        if isinstance(node, ast.Import):
            for alias in node.names:
                add(alias.name, [])
        elif isinstance(node, ast.ImportFrom):
            origin = node.module or ""
            if node.level:
                base = module.split(".") if is_package else module.split(".")[:-1]
                base = base[: len(base) - node.level + 1]
                origin = ".".join(["ember", *base, *filter(None, [node.module])])
            add(origin, [alias.name for alias in node.names])
    return found - {module, ""}


def graph() -> dict[str, set[str]]:
    """Every module with all that it imports."""
    found: dict[str, set[str]] = {name: set() for name in ALL}
    for package in PACKAGES:
        for module, path in sources(package):
            found[module] |= imports(
                path.read_text(),
                module,
                is_package=path.stem == "__init__",
                cython=path.suffix in (".pyx", ".pxd"),
            )
    return {module: found[module] for module in found if module not in EXEMPT}


GRAPH = graph()


def room(module: str) -> tuple[int, str]:
    """How high a module is, and the name of its room: the longest that contains it."""
    found = [
        (len(name), height, name)
        for height, names in enumerate(ROOMS)
        for name in names
        if module == name or module.startswith(name + ".")
    ]
    assert found, f"{module} is in no room: name it in {Path(__file__).name}"
    _, height, name = max(found)
    return height, name


@pytest.mark.parametrize("package", PACKAGES)
def test_a_distribution_sees_only_what_it_depends_on(package: str) -> None:
    wrong = [
        f"{module} imports {target} of {ALL[target]}"
        for module, targets in GRAPH.items()
        if ALL[module] == package
        for target in targets
        if target in ALL and ALL[target] not in PACKAGES[package]
    ]
    assert not wrong


def upward(own: str, targets: set[str]) -> list[str]:
    """What a module imports from rooms that are not below its own."""
    height, home = room(own)
    return [
        f"{own} imports {target}, which is not below it"
        for target in sorted(targets)
        if room(target)[1] != home and room(target)[0] > height
    ]


def test_imports_point_downward() -> None:
    wrong = [line for module, targets in GRAPH.items() for line in upward(module, targets)]
    assert not wrong


def circles(edges: dict[str, set[str]]) -> list[str]:
    """A circle of each knot, as text."""
    done: set[str] = set()
    found: list[str] = []

    def visit(node: str, way: tuple[str, ...]) -> None:
        if node in way:
            found.append(" -> ".join([*way[way.index(node) :], node]))
        elif node not in done:
            for target in sorted(edges.get(node, ())):
                visit(target, (*way, node))
            done.add(node)

    for node in sorted(edges):
        visit(node, ())
    return found


def test_modules_have_no_circle() -> None:
    assert not circles(GRAPH)


def test_rooms_have_no_circle() -> None:
    edges: dict[str, set[str]] = {}
    for module, targets in GRAPH.items():
        home = room(module)[1]
        edges.setdefault(home, set()).update({room(t)[1] for t in targets} - {home})
    assert not circles(edges)


def test_files_stay_small() -> None:
    large = []
    for folder in ("packages", "tests", "examples", "bench", "fuzz"):
        for suffix, most in MAX_LINES.items():
            for path in sorted((ROOT / folder).rglob(f"*{suffix}")):
                relative = path.relative_to(ROOT)
                if {"build", "node_modules"} & set(relative.parts):
                    continue
                lines = path.read_text().count("\n")
                allowed = most * 2 if "tests" in relative.parts else most
                allowed = EXCEPTIONS.get(str(relative), allowed)
                if lines > allowed:
                    large.append(f"{relative}: {lines} lines, at most {allowed}")
    assert not large


PLANTED = """
from ember.cli import main
from ember.eventloop import Loop

TYPE_CHECKING = False
if TYPE_CHECKING:
    from ember.application.application import Ember

def later():
    import ember.protocol
"""


def test_a_planted_import_is_seen_wherever_it_stands() -> None:
    found = imports(PLANTED, "routing.planted", is_package=False, cython=False)
    assert found == {"cli", "eventloop", "application.application", "protocol"}
    assert [line.split()[2] for line in upward("routing.planted", found)] == [
        "application.application,",
        "cli,",
    ]
    compiled = "from ember.routing.tree cimport Node, Tree as T\ncimport ember.eventloop._stream\n"
    assert imports(compiled, "middleware.planted", is_package=False, cython=True) == {
        "routing.tree",
        "eventloop._stream",
    }


def test_a_planted_circle_is_seen() -> None:
    assert circles({"a": {"b"}, "b": {"c"}, "c": {"b"}}) == ["b -> c -> b"]

"""The layers of the design: imports point strictly downward, and files stay small.

Reads the sources of every package; see docs/internals/design.md.
"""

from __future__ import annotations

import ast
from collections.abc import Iterator
from pathlib import Path

import pytest

pytestmark = pytest.mark.once

ROOT = Path(__file__).parent.parent

#: Modules below `ember`, the lowest layer first. A module may import from its own and lower layers;
#: what is not named is found by its package.
LAYERS: list[set[str]] = [
    {"_build", "_json", "_logs", "constants", "exceptions", "limits"},
    {
        "protocol.charsets",
        "protocol.cookies",
        "protocol.dates",
        "protocol.decoding",
        "protocol.forms",
        "protocol.forwarded",
        "protocol.query",
        "protocol.text",
        "protocol.values",
        "protocol.backlog",
        "protocol.application",
        "protocol.pure",
        "protocol",
        "headers",
        "request",
        "response",
    },
    {"eventloop"},
    {"protocol.listening", "protocol.sharing"},
    {"protocol.server"},
    {"cache"},
    {
        "background",
        "certificates",
        "components",
        "delimiters",
        "executor",
        "interruptible",
        "options",
        "overrides",
        "params",
        "router",
        "schema",
        "terminal",
        "threads",
        "upload",
        "watching",
    },
    {"conditional", "encoders", "given_up", "negotiation", "request_ids", "telemetry"},
    {"compression"},
    {"caching.answer", "caching.counters", "caching.wire"},
    {"caching.check"},
    {"binding", "hooks", "middleware", "multipart", "signature"},
    {"files"},
    {"static"},
    {"debug_page", "errors", "into_response", "mounting", "routes", "routing"},
    {"blueprint", "health", "sse", "templates", "token_stream"},
    {"bound", "dispatch", "invoke", "openapi"},
    {"caching"},
    {"middleware.chain", "table"},
    {"access_log", "metrics"},
    {"observed", "serving"},
    {"application"},
    {"testing"},
    {"workers"},
    {"server"},
    {"cli"},
]
#: The lazy table of names may know everything.
EXEMPT = {"", "__init__", "__main__"}
#: The distributions, and what each may see of the others.
PACKAGES = {
    "emberloop": {"emberloop"},
    "ember-cache": {"ember-cache"},
    "ember-api": {"ember-api", "emberloop", "ember-cache"},
}
#: Of a source file: about 400. A file of tests is a list, and may be twice as long.
MAX_LINES = {".py": 420, ".pyx": 1000}


def sources(package: str) -> Iterator[tuple[str, Path]]:
    base = ROOT / "packages" / package / "src" / "ember"
    for path in sorted(base.rglob("*.py")):
        parts = path.relative_to(base).with_suffix("").parts
        if parts[-1] == "__init__":
            parts = parts[:-1]
        yield ".".join(parts), path


ALL = {name: (package, path) for package in PACKAGES for name, path in sources(package) if name}


def imports(path: Path, module: str) -> Iterator[str]:
    """The `ember` modules that a file imports when it runs, those under TYPE_CHECKING left out."""
    package = module if path.stem == "__init__" else module.rpartition(".")[0]
    for node in run_time_nodes(ast.parse(path.read_text())):
        if isinstance(node, ast.Import):
            for alias in node.names:
                if alias.name.startswith("ember."):
                    yield alias.name[6:]
        elif isinstance(node, ast.ImportFrom):
            origin = node.module or ""
            if node.level:
                base = package.split(".")
                base = base[: len(base) - node.level + 1]
                origin = ".".join(["ember", *filter(None, base), *filter(None, [node.module])])
            if origin == "ember":
                yield from (alias.name for alias in node.names if alias.name in ALL)
            elif origin.startswith("ember."):
                name = origin[6:]
                below = [f"{name}.{alias.name}" for alias in node.names]
                yield from (full if full in ALL else name for full in below)


def run_time_nodes(tree: ast.AST) -> Iterator[ast.AST]:
    for node in ast.iter_child_nodes(tree):
        if isinstance(node, ast.If):
            test = ast.unparse(node.test)
            if test == "TYPE_CHECKING" or test == "typing.TYPE_CHECKING":
                for other in node.orelse:
                    yield other
                    yield from run_time_nodes(other)
                continue
        yield node
        yield from run_time_nodes(node)


def top_level(path: Path, module: str) -> set[str]:
    """The modules that a file imports while it is being imported itself."""
    tree = ast.parse(path.read_text())
    for node in ast.walk(tree):
        if isinstance(node, ast.FunctionDef | ast.AsyncFunctionDef):
            node.body = [ast.Pass()]
    source = ast.unparse(ast.fix_missing_locations(tree))
    return set(imports_of_source(source, path, module))


def imports_of_source(source: str, path: Path, module: str) -> Iterator[str]:
    package = module if path.stem == "__init__" else module.rpartition(".")[0]
    for node in run_time_nodes(ast.parse(source)):
        if isinstance(node, ast.ImportFrom) and not node.level and node.module:
            if node.module.startswith("ember."):
                name = node.module[6:]
                for alias in node.names:
                    full = f"{name}.{alias.name}"
                    yield full if full in ALL else name
        elif isinstance(node, ast.ImportFrom) and node.level:
            yield ".".join([*package.split(".")[: node.level], *filter(None, [node.module])])


def layer(module: str) -> int | None:
    """The number of the layer of a module: that of the longest name that contains it."""
    best: tuple[int, int] | None = None
    for number, names in enumerate(LAYERS):
        for name in names:
            if module == name or module.startswith(name + "."):
                best = max(best or (-1, -1), (len(name), number))
    return None if best is None else best[1]


@pytest.mark.parametrize("package", PACKAGES)
def test_a_distribution_sees_only_what_it_depends_on(package: str) -> None:
    wrong = [
        f"{module} imports {target} of {ALL[target][0]}"
        for module, path in sources(package)
        for target in imports(path, module)
        if target in ALL and ALL[target][0] not in PACKAGES[package]
    ]
    assert not wrong


def test_imports_point_downward() -> None:
    wrong = []
    for module, (_, path) in ALL.items():
        own = layer(module)
        if own is None or module in EXEMPT:
            continue
        for target in top_level(path, module):
            theirs = layer(target)
            if theirs is not None and theirs > own:
                wrong.append(f"{module} imports {target}, which is above it")
    assert not wrong


def test_every_module_of_the_framework_has_a_layer() -> None:
    homeless = [module for module in ALL if module not in EXEMPT and layer(module) is None]
    assert not homeless, f"name their layer in {Path(__file__).name}"


def test_imports_have_no_circle() -> None:
    graph = {module: top_level(path, module) & ALL.keys() for module, (_, path) in ALL.items()}
    done: set[str] = set()

    def visit(module: str, way: tuple[str, ...]) -> None:
        assert module not in way, " -> ".join([*way[way.index(module) :], module])
        if module not in done:
            for target in sorted(graph[module]):
                if target != module:
                    visit(target, (*way, module))
            done.add(module)

    for module in graph:
        visit(module, ())


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
                if lines > allowed:
                    large.append(f"{relative}: {lines} lines, at most {allowed}")
    assert not large


def test_a_planted_upward_import_is_seen(tmp_path: Path) -> None:
    planted = tmp_path / "planted.py"
    planted.write_text("from ember.cli import main\n\ndef later():\n    import ember.protocol\n")
    assert top_level(planted, "router.planted") == {"cli"}
    assert layer("router.planted") is not None
    assert set(imports(planted, "router.planted")) == {"cli", "protocol"}

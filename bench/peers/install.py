"""Get the peers: Python ones into an environment of their own, others where Go and Node are.

Nothing is installed into Ember's environment, and everything lands below `build/`.
"""

from __future__ import annotations

import json
import os
import shutil
import subprocess
import sys
from collections.abc import Sequence
from pathlib import Path

from bench import show
from bench.paths import HERE, PEERS_VENV, WORK, relative

PYTHON = PEERS_VENV / "bin" / "python"
_NODE = WORK / "node"
FIBER = WORK / "fiber"


class NotInstalled(Exception):
    """A peer that cannot be had here; the text is the reason."""


def _run(command: Sequence[str], **env: str) -> str:
    try:
        done = subprocess.run(
            command,
            capture_output=True,
            text=True,
            check=False,
            timeout=600,
            env={**os.environ, **env},
        )
    except (OSError, subprocess.TimeoutExpired) as error:
        raise NotInstalled(relative(str(error))) from error
    if done.returncode:
        lines = [line for line in (done.stderr or done.stdout).splitlines() if line.strip()]
        raise NotInstalled(
            relative(lines[-1].strip())[:200] if lines else f"status {done.returncode}"
        )
    return done.stdout


def _uv() -> list[str]:
    found = shutil.which(
        "uv", path=f"{Path(sys.executable).parent}{os.pathsep}{os.environ.get('PATH', '')}"
    )
    if not found:
        raise NotInstalled("uv was not found; `make setup` installs it")
    return [found]


def versions() -> dict[str, str]:
    """What is installed in the peers' environment, by normalised name."""
    if not PYTHON.exists():
        return {}
    code = (
        "import json,importlib.metadata as m;"
        "print(json.dumps({d.name.lower().replace('_','-'):d.version for d in m.distributions()}))"
    )
    found: dict[str, str] = json.loads(_run([str(PYTHON), "-c", code]))
    return found


def python(*packages: str) -> str:
    """Make sure that `packages` are in the peers' environment; return their versions as text."""
    if not PYTHON.exists():
        show.note("making an environment for the peers")
        _run([*_uv(), "venv", "-q", "--python", sys.executable, str(PEERS_VENV)])
    have = versions()
    if wanted := [name for name in packages if name not in have]:
        show.note(f"installing {' '.join(wanted)}")
        _run([*_uv(), "pip", "install", "-q", *wanted], VIRTUAL_ENV=str(PEERS_VENV))
        have = versions()
    return ", ".join(f"{name} {have.get(name, '?')}" for name in packages)


def node(*packages: str) -> str:
    """Make sure that Node and its `packages` are there; return the versions as text."""
    if not shutil.which("node"):
        raise NotInstalled("Node was not found")
    parts = [f"node {_run(['node', '--version']).strip().lstrip('v')}"]
    for name in packages:
        described = _NODE / "node_modules" / name / "package.json"
        if not described.exists():
            if not shutil.which("npm"):
                raise NotInstalled("npm was not found")
            show.note("installing the Node peers")
            _NODE.mkdir(parents=True, exist_ok=True)
            shutil.copy(HERE / "peers" / "node" / "package.json", _NODE)
            _run(["npm", "install", "--silent", "--no-audit", "--no-fund", "--prefix", str(_NODE)])
        parts.append(f"{name} {json.loads(described.read_text())['version']}")
    return ", ".join(parts)


def node_path() -> str:
    """Where Node looks for the packages that were installed."""
    return str(_NODE / "node_modules")


def go() -> str:
    """Build the Fiber application where Go is found; return the versions as text."""
    if not shutil.which("go"):
        raise NotInstalled("Go was not found")
    source = HERE / "peers" / "fiber"
    if not FIBER.exists() or FIBER.stat().st_mtime < (source / "main.go").stat().st_mtime:
        show.note("building the Fiber application")
        WORK.mkdir(parents=True, exist_ok=True)
        _run(["go", "build", "-C", str(source), "-o", str(FIBER), "."])
    fiber = _run(
        ["go", "list", "-C", str(source), "-m", "-f", "{{.Version}}", "github.com/gofiber/fiber/v3"]
    )
    return f"fiber {fiber.strip().lstrip('v')}, {_run(['go', 'env', 'GOVERSION']).strip()}"

"""Every peer on equal terms: one worker, keep-alive, no access log, the same answers."""

from __future__ import annotations

import shutil
from collections.abc import Callable
from dataclasses import dataclass, replace

from bench import show
from bench.http.targets import Target
from bench.paths import HERE
from bench.peers import install

_APPS = "bench.peers.apps"


@dataclass(frozen=True)
class Peer:
    """A target, and what makes it available (returns its versions, raises NotInstalled)."""

    target: Target
    install: Callable[[], str]


def uvicorn(app: str, http: str, loop: str = "") -> Callable[[int], list[str]]:
    """The command of an application on uvicorn; its fast parser goes with the fast loop."""
    loop = loop or ("uvloop" if http == "httptools" else "asyncio")
    return lambda port: [
        *(str(install.PYTHON), "-m", "uvicorn", f"{_APPS}.{app}:app", "--host", "127.0.0.1"),
        *("--port", str(port), "--workers", "1", "--no-access-log", "--log-level", "warning"),
        *("--http", http, "--loop", loop),
    ]


def granian(app: str, interface: str) -> Callable[[int], list[str]]:
    """The command of an application on granian."""
    return lambda port: [
        *(str(install.PYTHON), "-m", "granian", "--interface", interface, "--host", "127.0.0.1"),
        *("--port", str(port), "--workers", "1", "--loop", "uvloop", "--http", "1", "--no-ws"),
        *("--no-access-log", "--log-level", "warning", f"{_APPS}.{app}:app"),
    ]


def _script(module: str) -> Callable[[int], list[str]]:
    return lambda port: [str(install.PYTHON), "-m", f"{_APPS}.{module}", str(port)]


def _bolt(port: int) -> list[str]:
    return [
        *(str(install.PYTHON), "-m", "django", "runbolt", "--settings", f"{_APPS}.bolt.settings"),
        *(
            "--host",
            "127.0.0.1",
            "--port",
            str(port),
            "--processes",
            "1",
            "--workers",
            "1",
            "--no-admin",
        ),
    ]


def node(script: str) -> Callable[[int], list[str]]:
    """The command of a script of `bench/peers/node`."""
    program = shutil.which("node") or "node"
    return lambda port: [program, str(HERE / "peers" / "node" / script), str(port)]


def _python(name: str, command: Callable[[int], list[str]], *packages: str) -> Peer:
    return Peer(Target(name, "python", command), lambda: install.python(*packages))


def _js(name: str, script: str, *packages: str) -> Peer:
    env = {"NODE_PATH": install.node_path(), "NODE_ENV": "production"}
    return Peer(Target(name, "other", node(script), env), lambda: install.node(*packages))


PEERS = (
    _python("fastpysgi (bare WSGI)", _script("wsgi_app"), "fastpysgi", "msgspec"),
    _python("socketify", _script("socketify_app"), "socketify", "msgspec"),
    _python("django-bolt", _bolt, "django-bolt", "django"),
    _python("granian (bare RSGI)", granian("rsgi_app", "rsgi"), "granian", "uvloop", "msgspec"),
    _python("granian (bare ASGI)", granian("asgi_app", "asgi"), "granian", "uvloop", "msgspec"),
    _python(
        "blacksheep/granian", granian("blacksheep_app", "asgi"), "blacksheep", "granian", "uvloop"
    ),
    _python(
        "starlette/uvicorn",
        uvicorn("starlette_app", "httptools"),
        "starlette",
        "uvicorn",
        "uvloop",
        "httptools",
    ),
    _python(
        "starlette/uvicorn-h11", uvicorn("starlette_app", "h11"), "starlette", "uvicorn", "h11"
    ),
    _python(
        "fastapi/uvicorn",
        uvicorn("fastapi_app", "httptools"),
        "fastapi",
        "uvicorn",
        "uvloop",
        "httptools",
    ),
    Peer(
        Target(
            "fiber (1 core)",
            "other",
            lambda port: [str(install.FIBER), str(port)],
            {"GOMAXPROCS": "1"},
        ),
        install.go,
    ),
    _js("node http", "http.js"),
    _js("fastify", "fastify.js", "fastify"),
    _js("express", "express.js", "express"),
)


def available() -> tuple[list[Target], dict[str, str]]:
    """Install what can be: the targets with their versions, and the others with the reason."""
    targets: list[Target] = []
    missing: dict[str, str] = {}
    for number, peer in enumerate(PEERS):
        show.progress(number, len(PEERS), f"looking for {peer.target.name}")
        try:
            targets.append(replace(peer.target, version=peer.install()))
        except install.NotInstalled as reason:
            missing[peer.target.name] = f"not installed: {reason}"
            show.warn(f"{peer.target.name}: {reason}")
    show.clear()
    return targets, missing

"""CRUD on PostgreSQL: examples/tasks beside the same API of FastAPI and of Express."""

from __future__ import annotations

import asyncio
import json
import statistics
import subprocess
import tempfile
from dataclasses import replace
from typing import Any

from bench import machine, native, process, show
from bench.crud import script
from bench.crud.statements import POOL, ROWS, STATEMENTS, count, fill
from bench.db import postgres
from bench.http.targets import Target, ember
from bench.part import Options
from bench.peers import catalogue, install
from bench.process import Server, ServerFailed

EMBER, EPOLL = "ember", "ember epoll"
#: Not a comparison of like with like: the others ask the database each time.
CACHED = "ember, lists in TTLCache(1.0)"
FASTAPI, EXPRESS = "fastapi + asyncpg", "express + pg"
CONNECTIONS = 64
_APP = "bench.crud.ember_app"


def _install(group: str) -> str:
    if group == "python":
        return install.python("fastapi", "uvicorn", "uvloop", "httptools", "pydantic", "asyncpg")
    return install.node("express", "pg")


def _targets(missing: dict[str, str]) -> list[Target]:
    found = [
        Target(EMBER, "ember", ember(_APP, "compiled"), {"EMBER_LOOP": "io_uring"}),
        Target(EPOLL, "ember", ember(_APP, "compiled"), {"EMBER_LOOP": "epoll"}),
        Target(
            CACHED,
            "ember",
            ember(_APP, "compiled"),
            {"EMBER_LOOP": "io_uring", "CRUD_CACHE": "1.0"},
        ),
    ]
    python = Target(FASTAPI, "python", catalogue.uvicorn("fastapi_tasks", "httptools"))
    javascript = Target(
        EXPRESS,
        "other",
        catalogue.node("express_tasks.js"),
        {"NODE_PATH": install.node_path(), "NODE_ENV": "production"},
    )
    for target in (python, javascript):
        try:
            found.append(replace(target, version=_install(target.group)))
        except install.NotInstalled as reason:
            missing[target.name] = f"not installed: {reason}"
            show.warn(f"{target.name}: {reason}")
    return found


def _window(server: Server, of: bytes, warmup: float, seconds: float) -> dict[str, Any]:
    program = native.build("mix")
    with tempfile.NamedTemporaryFile(prefix="ember-bench-") as file:
        file.write(of)
        file.flush()
        numbers = (server.port, CONNECTIONS, warmup, seconds, file.name, *server.pids())
        done = subprocess.run(
            machine.pin_command(machine.LOAD_CPU, [str(program), *(str(x) for x in numbers)]),
            capture_output=True,
            text=True,
            check=False,
            timeout=warmup + seconds + 120,
        )
    if done.returncode:
        reason = " ".join(done.stderr.split())[:300]
        raise ServerFailed(f"under load: {reason or server.last_words()}")
    window: dict[str, Any] = json.loads(done.stdout)
    if not window["answers"]:
        raise ServerFailed("under load: not one answer in the measured window")
    return window


def _summary(windows: list[dict[str, Any]]) -> dict[str, Any]:
    cpu = [w["server_cpu"] / w["answers"] * 1e6 for w in windows]
    return {
        "cpu_us": round(statistics.median(cpu), 2),
        "cpu_us_rounds": [round(x, 2) for x in cpu],
        "rate": round(statistics.median(w["answers"] / w["seconds"] for w in windows)),
        "busy": round(statistics.median(w["server_cpu"] / w["seconds"] for w in windows), 3),
        "p50_us": round(statistics.median(w["p50_us"] for w in windows)),
        "p99_us": round(statistics.median(w["p99_us"] for w in windows)),
        "answers": {
            kind: sum(w["by_kind"][number] for w in windows)
            for number, kind in enumerate(script.KINDS)
        },
        "p50_by_kind": {
            kind: round(statistics.median(w["p50_by_kind"][number] for w in windows))
            for number, kind in enumerate(script.KINDS)
        },
    }


def _measure(
    url: str, turns: int, seconds: float, missing: dict[str, str]
) -> tuple[dict[str, Any], dict[str, str]]:
    shared = {
        "DATABASE_URL": url,
        "CRUD_STATEMENTS": json.dumps(STATEMENTS),
        "CRUD_POOL": str(POOL),
    }
    running: list[tuple[str, Server, bytes]] = []
    windows: dict[str, list[dict[str, Any]]] = {}
    targets = _targets(missing)
    made = 0
    try:
        for number, target in enumerate(targets):
            show.progress(number, len(targets), f"starting and checking {target.name}")
            port = process.free_port()
            try:
                env = {**target.env, **shared}
                server = process.start(
                    f"crud-{target.name}", target.command(port), port=port, env=env
                )
                running.append((target.name, server, b""))
                written, posted = script.checked(server)
            except ServerFailed as reason:
                missing[target.name] = str(reason)
                show.warn(f"{target.name}: {reason}")
                continue
            running[-1] = (target.name, server, written)
            made += posted
        able = [one for one in running if one[2]]
        for turn in range(turns):
            shift = turn % max(len(able), 1)
            for number, (name, server, of) in enumerate(able[shift:] + able[:shift]):
                show.progress(turn * len(able) + number, turns * len(able), f"the mix, {name}")
                if name in missing:
                    continue
                try:
                    window = _window(server, of, 0.5 if turn else 2 * seconds, seconds)
                except ServerFailed as reason:
                    missing[name] = str(reason)
                    show.warn(f"{name}: {reason}")
                    continue
                made += window["sent_by_kind"][script.CREATE]
                windows.setdefault(name, []).append(window)
        if not missing and (there := asyncio.run(count(url))) != ROWS + made:
            raise ServerFailed(f"{made} tasks were created, and {there - ROWS} are there")
    finally:
        for _, server, _ in running:
            server.stop()
    versions = {target.name: target.version for target in targets if target.version}
    return {name: _summary(all_) for name, all_ in windows.items()}, versions


def run(options: Options) -> dict[str, Any]:
    """Turning rounds of the mix; without PostgreSQL the part is missing, with the reason."""
    missing: dict[str, str] = {}
    turns, window = options.turns(7), options.window(3.0, quick=0.5)
    try:
        with postgres.running() as url:
            show.note(f"{ROWS:,} rows")
            asyncio.run(fill(url))
            servers, versions = _measure(url, turns, window, missing)
    except (postgres.NoDatabase, ServerFailed) as reason:
        show.warn(f"crud: {reason}")
        return {"failed": str(reason), "missing": missing}
    show.clear()
    cached = {name: servers.pop(name) for name in (CACHED,) if name in servers}
    return {
        "servers": servers,
        "cached": cached,
        "versions": versions,
        "rows": ROWS,
        "pool": POOL,
        "connections": CONNECTIONS,
        "rounds": turns,
        "seconds": window,
        "missing": missing,
    }

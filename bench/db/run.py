"""The database part: one SELECT in a handler, and the bare round trip on each loop."""

from __future__ import annotations

import asyncio
import json
import os
import statistics
import subprocess
import sys
from typing import Any

from bench import machine, native, process, show
from bench.cases import Case
from bench.db import postgres
from bench.http import verify
from bench.http.run import Figure
from bench.http.targets import Target, ember
from bench.paths import ROOT, relative
from bench.peers import catalogue, install
from bench.process import Server, ServerFailed

_REQUEST = b"GET /rows/7 HTTP/1.1\r\nHost: localhost\r\n\r\n"
_CASE = Case("row", "one SELECT", _REQUEST, b'{"id":7,"title":"item 7"}', "application/json")
_APP = "bench.db.ember_app"
SERVERS = (
    Target("ember", "ember", ember(_APP, "compiled"), {"EMBER_LOOP": "io_uring"}),
    Target("ember epoll", "ember", ember(_APP, "compiled"), {"EMBER_LOOP": "epoll"}),
    Target("starlette/uvicorn", "python", catalogue.uvicorn("starlette_app", "httptools")),
)
#: Name in the tables, argument of the round-trip program, environment.
LOOPS: tuple[tuple[str, str, dict[str, str]], ...] = (
    ("ember io_uring", "ember", {"EMBER_LOOP": "io_uring"}),
    ("ember epoll", "ember", {"EMBER_LOOP": "epoll"}),
    ("uvloop", "uvloop", {}),
    ("asyncio", "asyncio", {}),
)


async def _fill(url: str) -> None:
    import asyncpg

    connection = await asyncpg.connect(url)
    await connection.execute("CREATE TABLE item (id int PRIMARY KEY, title text NOT NULL)")
    rows = [(n, f"item {n}") for n in range(1, 1001)]
    await connection.executemany("INSERT INTO item VALUES ($1, $2)", rows)
    await connection.execute("VACUUM ANALYZE item")
    await connection.close()


def _requests(
    url: str, rounds: int, seconds: float, missing: dict[str, str]
) -> dict[str, dict[str, Any]]:
    running: list[tuple[str, Server]] = []
    figures: dict[str, Figure] = {}
    try:
        for target in SERVERS:
            try:
                if target.group != "ember":
                    install.python("starlette", "uvicorn", "uvloop", "httptools", "asyncpg")
                port = process.free_port()
                env = {**target.env, "DATABASE_URL": url}
                name = f"db-{target.name}"
                server = process.start(name, target.command(port), port=port, env=env)
                running.append((target.name, server))
                verify.verify(server, _CASE)
                figures[target.name] = Figure()
            except (ServerFailed, install.NotInstalled) as reason:
                missing[f"db, {target.name}"] = str(reason)
                show.warn(f"db, {target.name}: {reason}")
        for turn in range(rounds):
            shift = turn % max(len(running), 1)
            for name, server in running[shift:] + running[:shift]:
                show.progress(turn, rounds, f"one SELECT in a handler, {name}")
                if name not in figures:
                    continue
                try:
                    load = native.load(server, _CASE.request, _CASE.body, seconds=seconds)
                except ServerFailed as reason:
                    missing[f"db, {name}"] = str(reason)
                    show.warn(f"db, {name}: {reason}")
                    del figures[name]
                    continue
                figures[name].rounds.append(load)
    finally:
        for _, server in running:
            server.stop()
    return {name: figure.summary() for name, figure in figures.items()}


def _loop_process(argument: str, env: dict[str, str], url: str) -> subprocess.Popen[str]:
    clean = {k: v for k, v in os.environ.items() if not k.startswith("EMBER_")}
    command = [sys.executable, "-m", "bench.db.roundtrip", argument]
    return subprocess.Popen(
        machine.pin_command(machine.SERVER_CPU, command),
        env={**clean, **env, "DATABASE_URL": url, "PYTHONPATH": str(ROOT)},
        cwd=ROOT,
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
    )


def _ask(child: subprocess.Popen[str], count: int) -> dict[str, float]:
    """One round of a loop; raises ServerFailed with its last words when it gives none."""
    assert child.stdin is not None
    assert child.stdout is not None
    assert child.stderr is not None
    try:
        child.stdin.write(f"{count}\n")
        child.stdin.flush()
        line = child.stdout.readline()
    except BrokenPipeError:
        line = ""
    if not line:
        child.kill()
        lines = child.stderr.read().strip().splitlines() or ["it said nothing"]
        raise ServerFailed(relative(lines[-1])[:200])
    round_trip: dict[str, float] = json.loads(line)
    return round_trip


def _round_trips(
    url: str, rounds: int, count: int, missing: dict[str, str]
) -> dict[str, dict[str, Any]]:
    children = {name: _loop_process(argument, env, url) for name, argument, env in LOOPS}
    costs: dict[str, list[dict[str, float]]] = {name: [] for name in children}
    try:
        for turn in range(-1, rounds):  # the first warms and is not counted
            for name, child in children.items():
                show.progress(max(turn, 0), rounds, f"round trips on {name}")
                if name not in costs:
                    continue
                try:
                    cost = _ask(child, count)
                except ServerFailed as reason:
                    missing[f"db round trip, {name}"] = str(reason)
                    show.warn(f"db round trip, {name}: {reason}")
                    del costs[name]
                    continue
                if turn >= 0:
                    costs[name].append(cost)
    finally:
        for child in children.values():
            if child.stdin is not None:
                child.stdin.close()
            try:
                child.wait(5)
            except subprocess.TimeoutExpired:
                child.kill()
                child.wait()
            for pipe in (child.stdout, child.stderr):
                if pipe is not None:
                    pipe.close()
    return {
        name: {
            "us": round(statistics.median(cost["us"] for cost in all_), 2),
            "cpu_us": round(statistics.median(cost["cpu_us"] for cost in all_), 2),
            "us_rounds": [round(cost["us"], 2) for cost in all_],
        }
        for name, all_ in costs.items()
        if all_
    }


def run(*, rounds: int, seconds: float, queries: int) -> dict[str, Any]:
    """Both halves; without PostgreSQL the part is missing, with the reason."""
    missing: dict[str, str] = {}
    try:
        with postgres.running() as url:
            asyncio.run(_fill(url))
            request = _requests(url, rounds, seconds, missing)
            round_trip = _round_trips(url, rounds * 8, queries, missing)
    except postgres.NoDatabase as reason:
        show.warn(f"db: {reason}")
        return {"failed": str(reason)}
    show.clear()
    return {"request": request, "roundtrip": round_trip, "missing": missing}

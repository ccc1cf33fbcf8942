"""The framework: what comfort costs over hello, and what a start costs."""

from __future__ import annotations

import json
import os
import statistics
import subprocess
import sys
from dataclasses import replace
from typing import Any

from bench import machine, micro, show
from bench.framework.cases import CASES, FORMS
from bench.http import run as http
from bench.http.targets import Target, ember
from bench.part import Options
from bench.paths import ROOT, relative
from bench.peers import catalogue, install

EMBER, FASTAPI = "ember io_uring", "fastapi/uvicorn"
_FRESH = {"import": "import ember", "plain": "500 routes", "structs": "500 routes with Structs"}


def _targets(missing: dict[str, str]) -> list[Target]:
    found = [
        Target(
            EMBER,
            "ember",
            ember("bench.framework.ember_app", "compiled"),
            {"EMBER_LOOP": "io_uring"},
            cases=("hello", "structs", "models", "tree", *FORMS),
        )
    ]
    peer = Target(
        FASTAPI,
        "python",
        catalogue.uvicorn("fastapi_typed", "httptools"),
        cases=("hello", "models", "tree"),
    )
    try:
        version = install.python("fastapi", "uvicorn", "uvloop", "httptools", "pydantic")
        found.append(replace(peer, version=version))
    except install.NotInstalled as reason:
        missing[FASTAPI] = f"not installed: {reason}"
        show.warn(f"{FASTAPI}: {reason}")
    return found


def _fresh(what: str) -> dict[str, Any]:
    clean = {k: v for k, v in os.environ.items() if not k.startswith(("EMBER_", "PYTHON"))}
    done = subprocess.run(
        machine.pin_command(
            machine.SERVER_CPU, [sys.executable, "-m", "bench.framework.start", what]
        ),
        env={**clean, "PYTHONPATH": str(ROOT)},
        cwd=ROOT,
        capture_output=True,
        text=True,
        check=False,
        timeout=120,
    )
    if done.returncode:
        lines = (done.stderr or done.stdout).strip().splitlines() or ["it said nothing"]
        raise RuntimeError(relative(lines[-1])[:200])
    measured: dict[str, Any] = json.loads(done.stdout)
    return measured


def _start(processes: int, missing: dict[str, str]) -> dict[str, Any]:
    """Medians over fresh processes, taken in turns; the first of each compiles and is dropped."""
    runs: dict[str, list[dict[str, Any]]] = {what: [] for what in _FRESH}
    for turn in range(processes + 1):
        for what, title in _FRESH.items():
            if what in missing:
                continue
            show.progress(turn, processes + 1, f"fresh processes: {title}")
            try:
                one = _fresh(what)
            except RuntimeError as reason:
                missing[what] = f"{title}: {reason}"
                show.warn(missing[what])
                continue
            if turn:
                runs[what].append(one)
    found: dict[str, Any] = {}
    for what, all_ in runs.items():
        if all_:
            found[what] = {"title": _FRESH[what], "processes": len(all_)} | {
                key: round(statistics.median(one[key] for one in all_), 2)
                for key in all_[0]
                if key.endswith("ms")
            }
    if "import" in found:
        found["import"]["modules"] = runs["import"][0]["modules"]
        found["import"]["optional"] = sorted({n for one in runs["import"] for n in one["optional"]})
    return found


def run(options: Options) -> dict[str, Any]:
    """Cases over TCP beside the floor and FastAPI, then from memory, then fresh processes."""
    quick = options.quick
    missing: dict[str, str] = {}
    served = http.run(
        _targets(missing),
        rounds=options.turns(9),
        seconds=options.window(0.8),
        of=CASES,
    )
    fed = micro.run(
        seconds=0.2 if quick else 1.0,
        of=("bench.framework.ember_app", "bench.framework.cases"),
        builds=("compiled",),
    )
    start = _start(2 if quick else 15, missing)
    show.clear()
    missing |= served.pop("missing") | fed.pop("missing")
    return {"http": served, "micro": fed, "start": start, "missing": missing}

"""The cache: hits beside the floor, the store beside others, a stampede, and Redis."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from collections.abc import Callable
from typing import Any

from bench import machine, micro, process, show
from bench.cache import redis_server
from bench.cache.burst import burst
from bench.cache.cases import BROWSER, HITS, REDIS, UNCACHED, WAITERS
from bench.http import run as http
from bench.http import verify
from bench.http.targets import Target, ember
from bench.part import Options
from bench.paths import ROOT, relative
from bench.process import ServerFailed

EMBER = "ember io_uring"
_APP = "bench.cache.ember_app"
_RING = {"EMBER_LOOP": "io_uring"}


def _asked(module: str, *arguments: str) -> dict[str, Any]:
    """What a program of this part prints, run on the server's core."""
    command = [sys.executable, "-m", module, *arguments]
    clean = {k: v for k, v in os.environ.items() if not k.startswith("EMBER_")}
    done = subprocess.run(
        machine.pin_command(machine.SERVER_CPU, command),
        env={**clean, "PYTHONPATH": str(ROOT)},
        cwd=ROOT,
        capture_output=True,
        text=True,
        check=False,
        timeout=900,
    )
    if done.returncode:
        lines = (done.stderr or done.stdout).strip().splitlines() or ["it said nothing"]
        raise ServerFailed(relative(lines[-1])[:200])
    found: dict[str, Any] = json.loads(done.stdout)
    return found


def _hits(rounds: int, seconds: float) -> dict[str, Any]:
    _are_hits()
    target = Target(EMBER, "ember", ember(_APP, "compiled"), _RING)
    return http.run([target], rounds=rounds, seconds=seconds, of=(UNCACHED, *HITS, BROWSER))


def _are_hits() -> None:
    """The measured answers came from the cache: they say so, and the handlers ran once."""
    port = process.free_port()
    server = process.start("cache-look", ember(_APP, "compiled")(port), port=port, env=_RING)
    try:
        for case in (*HITS, BROWSER):
            answers = [verify.exchange(port, case.request, 2) for _ in range(3)][-1]
            for answer in answers:
                verify.check(case, answer)
                if answer.headers.get("x-cache") != "HIT":
                    raise ServerFailed(f"{case.title}: X-Cache {answer.headers.get('x-cache')}")
    finally:
        server.stop()


def _burst(rounds: int, waiters: int) -> dict[str, Any]:
    """The burst with the middle 99th percentile, each on a server that was started for it."""
    found = []
    machine.open_files()
    for turn in range(rounds):
        show.progress(turn, rounds, f"{waiters} misses at once")
        port = process.free_port()
        server = process.start("cache-burst", ember(_APP, "compiled")(port), port=port, env=_RING)
        try:
            found.append(burst(server, waiters))
        finally:
            server.stop()
    return sorted(found, key=lambda one: float(one["p99_ms"]))[len(found) // 2]


def _redis(rounds: int, seconds: float) -> dict[str, Any]:
    with redis_server.running() as url:
        show.progress(0, 2, "hits in Redis, without a server around")
        alone = _asked("bench.cache.remote", url, str(rounds))
        target = Target(
            EMBER,
            "ember",
            ember("bench.cache.redis_app", "compiled"),
            {**_RING, "REDIS_URL": url},
        )
        served = http.run([target], rounds=rounds, seconds=seconds, of=REDIS, floor=False)
    return {"alone": alone, "http": served}


def run(options: Options) -> dict[str, Any]:
    """The four halves; what fails is missing, with the reason."""
    quick = options.quick
    missing: dict[str, str] = {}
    found: dict[str, Any] = {}
    turns, window = options.turns(9), options.window(0.8)
    fed = micro.run(
        seconds=0.2 if quick else 1.0,
        of=(_APP, "bench.cache.cases"),
        builds=("compiled",),
    )
    missing |= fed.pop("missing")
    found["micro"] = fed
    halves: dict[str, Callable[[], dict[str, Any]]] = {
        "http": lambda: _hits(turns, window),
        "store": lambda: _asked("bench.cache.store", "1" if quick else "5"),
        "burst": lambda: _burst(1 if quick else 5, 500 if quick else WAITERS),
        "redis": lambda: _redis(turns, window),
    }
    for name, half in halves.items():
        show.progress(0, 1, name)
        try:
            found[name] = half()
        except (ServerFailed, OSError) as reason:
            missing[f"cache, {name}"] = str(reason)
            show.warn(f"cache, {name}: {reason}")
    for served in (found.get("http"), found.get("redis", {}).get("http")):
        missing |= served.pop("missing") if served else {}
    show.clear()
    return found | {"missing": missing}

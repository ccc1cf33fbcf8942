"""Fan-out of server-sent events: one worker, many streams, every event of every stream counted."""

from __future__ import annotations

import json
import statistics
import subprocess
import tempfile
import threading
import time
from dataclasses import replace
from pathlib import Path
from typing import Any

from bench import machine, native, process, show
from bench.http.targets import Target, ember
from bench.part import Options
from bench.peers import catalogue, install
from bench.process import Server, ServerFailed
from bench.sse.feed import TEXT

EMBER, EPOLL, PEER = "ember io_uring", "ember epoll", "sse-starlette/uvicorn"
#: The peer with uvicorn's other parser; its `[standard]` has httptools, where it can be built.
PEER_H11 = "sse-starlette/uvicorn-h11"
_APP = "bench.sse.ember_app"
_REQUEST = b"GET /events HTTP/1.1\r\nHost: localhost:8000\r\nAccept: text/event-stream\r\n\r\n"
TARGETS = (
    Target(EMBER, "ember", ember(_APP, "compiled"), {"EMBER_LOOP": "io_uring"}),
    Target(EPOLL, "ember", ember(_APP, "compiled"), {"EMBER_LOOP": "epoll"}),
    Target(PEER, "python", catalogue.uvicorn("starlette_sse", "httptools")),
    Target(PEER_H11, "python", catalogue.uvicorn("starlette_sse", "h11", loop="uvloop")),
)


def _sample(server: Server, done: threading.Event, found: list[tuple[float, float]]) -> None:
    while not done.wait(0.25):
        found.append((time.monotonic(), server.rss()))


def _slope(samples: list[tuple[float, float]], began: float) -> float:
    """MiB per minute by least squares, over what was sampled since `began`."""
    kept = [(at, rss) for at, rss in samples if at >= began]
    if len({at for at, _ in kept}) < 2:
        return 0.0
    return statistics.linear_regression(*zip(*kept, strict=True)).slope * 60


def _window(server: Server, streams: int, warmup: float, seconds: float) -> dict[str, Any]:
    """One run of the listener, with the server's memory watched meanwhile."""
    program = native.build("streams")
    samples: list[tuple[float, float]] = []
    done = threading.Event()
    watch = threading.Thread(target=_sample, args=(server, done, samples))
    with tempfile.TemporaryDirectory(prefix="ember-bench-") as folder:
        request = Path(folder, "request")
        request.write_bytes(_REQUEST)
        numbers = (server.port, streams, warmup, seconds, request, TEXT, *server.pids())
        command = [str(program), *(str(x) for x in numbers)]
        watch.start()
        try:
            finished = subprocess.run(
                machine.pin_command(machine.LOAD_CPU, command),
                capture_output=True,
                text=True,
                check=False,
                timeout=warmup + seconds + 240,
            )
        finally:
            done.set()
            watch.join()
    if finished.returncode:
        reason = " ".join(finished.stderr.split())[:200]
        raise ServerFailed(f"{reason or 'the listener failed'}; {server.last_words()}")
    figure: dict[str, Any] = json.loads(finished.stdout)
    if not figure["events"]:
        raise ServerFailed("not one event in the measured window")
    figure["rss_mb"] = max(rss for _, rss in samples)
    # The window ended just now: memory is judged over it, not over the connecting.
    figure["rss_slope"] = _slope(samples, time.monotonic() - seconds)
    return figure


def _summary(windows: list[dict[str, Any]]) -> dict[str, Any]:
    cpu = [w["server_cpu"] / w["events"] * 1e6 for w in windows]
    middle = {
        key: round(statistics.median(w[key] for w in windows), 3)
        for key in ("p50_ms", "p99_ms", "max_ms", "rss_mb", "rss_slope")
    }
    return middle | {
        "cpu_us": round(statistics.median(cpu), 3),
        "cpu_us_rounds": [round(x, 3) for x in cpu],
        "rate": round(statistics.median(w["events"] / w["seconds"] for w in windows)),
        "busy": round(statistics.median(w["server_cpu"] / w["seconds"] for w in windows), 3),
        **{key: sum(w[key] for w in windows) for key in ("lost", "disorder", "wrong", "events")},
        "slopes": [round(w["rss_slope"], 2) for w in windows],
    }


def _available(missing: dict[str, str]) -> list[Target]:
    found = []
    for target in TARGETS:
        if target.group == "ember":
            found.append(target)
            continue
        try:
            packages = ("sse-starlette", "starlette", "uvicorn", "uvloop", "httptools", "h11")
            found.append(replace(target, version=install.python(*packages)))
        except install.NotInstalled as reason:
            missing[target.name] = f"not installed: {reason}"
            show.warn(f"{target.name}: {reason}")
    return found


def run(options: Options) -> dict[str, Any]:
    """Turning rounds; each server is started afresh for each, and alone while it is measured."""
    quick = options.quick
    missing: dict[str, str] = {}
    streams = 100 if quick else 1000
    turns, window = options.turns(3), options.window(15, quick=2)
    targets = _available(missing)
    windows: dict[str, list[dict[str, Any]]] = {target.name: [] for target in targets}
    for turn in range(turns):
        shift = turn % len(targets)
        for number, target in enumerate(targets[shift:] + targets[:shift]):
            show.progress(turn * len(targets) + number, turns * len(targets), target.name)
            port, server = process.free_port(), None
            try:
                name = f"sse-{target.name}"
                server = process.start(name, target.command(port), port=port, env=target.env)
                warmup = 1.0 if quick else 4.0
                windows[target.name].append(_window(server, streams, warmup, window))
            except ServerFailed as reason:  # a busy machine: the other rounds may tell
                missing[f"{target.name}, round {turn + 1}"] = str(reason)
                show.warn(f"{target.name}, round {turn + 1}: {reason}")
            finally:
                if server is not None:
                    server.stop()
    show.clear()
    return {
        "servers": {name: _summary(all_) for name, all_ in windows.items() if all_},
        "versions": {target.name: target.version for target in targets},
        "streams": streams,
        "seconds": window,
        "rounds": turns,
        "missing": missing,
    }

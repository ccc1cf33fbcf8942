"""Several workers: even, as cheap as one, replaced without a failed request, gone when told."""

from __future__ import annotations

import asyncio
import http.client
import json
import os
import signal
import socket
import statistics
import sys
import time
from collections.abc import Callable
from typing import Any

from bench import native, process, show
from bench.cases import BY_NAME
from bench.part import Options
from bench.process import Server, ServerFailed
from bench.workers.clients import Clients

_CASE = BY_NAME["hello"]
#: As the scoreboard has it (ember.server.workers.State).
_READY = 2
BUILDS = {
    "ember io_uring": ("compiled", {"EMBER_LOOP": "io_uring"}),
    "ember epoll": ("compiled", {"EMBER_LOOP": "epoll"}),
    "ember pure": ("pure", {"EMBER_PURE": "1"}),
}
#: Connections that the load of one worker and of two comes on.
SCALING = (64, 256, 1024)


def _start(build: str, workers: int, name: str = "workers") -> Server:
    kind, environment = BUILDS[build]
    port = process.free_port()
    command = [sys.executable, "-m", "bench.workers.ember_app", str(port), kind, str(workers)]
    server = process.start(
        f"{name}-{build}-{workers}", command, port=port, env=environment, cpu=None
    )
    _until(lambda: len(_ready(server)) == workers, "the workers did not come up")
    return server


def _until(true: Callable[[], object], otherwise: str, timeout: float = 60) -> None:
    deadline = time.monotonic() + timeout
    while not true():
        if time.monotonic() > deadline:
            raise ServerFailed(otherwise)
        time.sleep(0.002)


def _board(server: Server) -> list[list[int]]:
    connection = http.client.HTTPConnection("127.0.0.1", server.port, timeout=30)
    try:
        connection.request("GET", "/board", headers={"Connection": "close"})
        found: list[list[int]] = json.loads(connection.getresponse().read())
        return found
    except (OSError, http.client.HTTPException):
        return []  # the worker that was asked has just been killed
    finally:
        connection.close()


def _ready(server: Server) -> set[int]:
    return {pid for pid, state, _, _ in _board(server) if state == _READY}


def _balance(build: str, connections: int, workers: int) -> dict[str, Any]:
    """Keep-alive connections opened one after the other as fast as they come, a request on each."""
    server = _start(build, workers)
    opened: list[socket.socket] = []
    try:
        for _ in range(connections):
            client = socket.create_connection(("127.0.0.1", server.port), timeout=30)
            opened.append(client)
            client.sendall(_CASE.request)
        for client in opened:
            client.recv(4096)
        time.sleep(1.5)  # a heartbeat, which counts the requests
        board = [line for line in _board(server) if line[1] == _READY]
        counts = sorted(line[2] for line in board)
        requests = sorted(line[3] for line in board)
        return {
            "connections": counts,
            "requests": requests,
            "ratio": counts[-1] / max(1, counts[0]),
        }
    finally:
        for client in opened:
            client.close()
        server.stop()


def _scaling(rounds: int, seconds: float) -> list[dict[str, Any]]:
    """CPU per request of two workers and of one, in turns, all processes of each counted.

    With 64 connections one worker is busy all the time, and the generator, on its one core, cannot
    keep two so: they sleep and are woken, which is the kernel's time and theirs. With 1,024 both
    always have something to do.
    """
    servers = {workers: _start("ember io_uring", workers, "scaling") for workers in (1, 2)}
    found = []
    try:
        for connections in SCALING:
            loads: dict[int, list[native.Load]] = {1: [], 2: []}
            for turn in range(rounds):
                for workers in (1, 2) if turn % 2 else (2, 1):
                    load = native.load(
                        servers[workers],
                        _CASE.request,
                        _CASE.body,
                        connections=connections,
                        warmup=0.3,
                        seconds=seconds,
                    )
                    loads[workers].append(load)
            found.append({"connections": connections, **_two_beside_one(loads[1], loads[2])})
    finally:
        for server in servers.values():
            server.stop()
    return found


def _two_beside_one(one: list[native.Load], two: list[native.Load]) -> dict[str, Any]:
    cpu = [[load.server_cpu / load.answers * 1e6 for load in loads] for loads in (one, two)]
    rate = [[load.answers / load.seconds for load in loads] for loads in (one, two)]
    return {
        "one_us": round(statistics.median(cpu[0]), 2),
        "two_us": round(statistics.median(cpu[1]), 2),
        "one_rate": round(statistics.median(rate[0])),
        "two_rate": round(statistics.median(rate[1])),
        "ratio": statistics.median(b / a for a, b in zip(*cpu, strict=True)),
    }


def _reload(build: str, times: int, streams: int, slow: int) -> dict[str, Any]:
    """SIGHUP after SIGHUP, each once the one before is through, under load."""
    server = _start(build, 2, "reload")

    async def drive() -> dict[str, Any]:
        clients = Clients(server.port)
        clients.start(20, slow, streams)
        await asyncio.sleep(1)
        began = time.monotonic()
        for _ in range(times):
            old = await asyncio.to_thread(_ready, server)
            os.kill(server.process.pid, signal.SIGHUP)

            def replaced(old: set[int] = old) -> bool:
                ready = _ready(server)
                return len(ready) == 2 and not ready & old

            await asyncio.to_thread(_until, replaced, "the workers were not replaced")
        took = time.monotonic() - began
        # The last old ones are gone when what they had is finished.
        gone = time.monotonic()
        await asyncio.to_thread(_until, lambda: len(server.pids()) == 3, "old workers stayed")
        gone = time.monotonic() - gone
        await clients.stop()
        return {
            **{
                kind: clients.counts[kind]
                for kind in ("plain", "slow", "streams", "told", "failed")
            },
            "failures": clients.failures,
            "seconds": round(took / times, 2),
            "gone": round(gone, 2),
            "times": times,
        }

    try:
        return asyncio.run(drive())
    finally:
        server.stop()


def _killed(build: str, times: int) -> list[float]:
    """Seconds from kill -9 until another worker serves."""
    server = _start(build, 2, "killed")
    found = []
    try:
        for _ in range(times):
            before = _ready(server)
            victim = min(before)
            began = time.monotonic()
            os.kill(victim, signal.SIGKILL)

            def replaced(victim: int = victim) -> bool:
                ready = _ready(server)
                return len(ready) == 2 and victim not in ready

            _until(replaced, "a killed worker was not replaced")
            found.append(time.monotonic() - began)
            time.sleep(10)  # longer ago than what counts as a crash loop
        return found
    finally:
        server.stop()


def _stopped(build: str, workers: int, times: int) -> list[float]:
    """Seconds from SIGTERM to the end, with ten idle connections open."""
    found = []
    for _ in range(times):
        server = _start(build, workers, "stopped")
        idle = []
        for _ in range(10):
            client = socket.create_connection(("127.0.0.1", server.port), timeout=30)
            client.sendall(_CASE.request)
            client.recv(4096)
            idle.append(client)
        began = time.monotonic()
        os.kill(server.process.pid, signal.SIGTERM)
        status = server.process.wait(30)
        found.append(time.monotonic() - began)
        for client in idle:
            client.close()
        server.stop()
        if status:
            raise ServerFailed(f"SIGTERM: exit status {status}; {server.last_words()}")
    return found


def run(options: Options) -> dict[str, Any]:
    """Every measurement, one after the other."""
    quick = options.quick
    builds = ["ember io_uring"] if quick else list(BUILDS)
    connections, times = (100, 2) if quick else (400, 20)
    result: dict[str, Any] = {"connections": connections, "workers": 4, "missing": {}}
    balance: dict[str, Any] = {}
    reloads: dict[str, Any] = {}
    for build in builds:
        show.progress(0, 4, f"balance, {build}")
        # The least even of three: it is chance that is to be excluded.
        tries = [_balance(build, connections, 4) for _ in range(1 if quick else 3)]
        balance[build] = max(tries, key=lambda one: float(one["ratio"]))
    show.progress(1, 4, "scaling")
    result["scaling"] = _scaling(options.turns(7, quick=2), options.window(1.0))
    for build in builds:
        show.progress(2, 4, f"{times} reloads, {build}")
        count = 20 if quick else 200
        reloads[build] = _reload(build, times, count, count)
    show.progress(3, 4, "kill -9, SIGTERM")
    killed = _killed("ember io_uring", 1 if quick else 5)
    result["killed"] = {"median": statistics.median(killed), "most": max(killed)}
    stops = {w: _stopped("ember io_uring", w, 1 if quick else 5) for w in (1, 4)}
    result["stopped"] = {
        str(workers): {"median": statistics.median(found), "most": max(found)}
        for workers, found in stops.items()
    }
    show.clear()
    return {**result, "balance": balance, "reload": reloads}

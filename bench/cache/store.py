"""Feeds the in-process stores a Zipf load: `python -m bench.cache.store ROUNDS`, one line of JSON.

The contenders and the loads are those of the cache's own distribution.
"""

from __future__ import annotations

import gc
import importlib.util
import json
import os
import statistics
import sys
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

from bench.paths import ROOT

_SOURCE = ROOT / "packages" / "ember-cache" / "bench" / "stores.py"
#: Distinct keys put one after another, for the memory that each has when it is full.
ROOM, FILLED, MORE = 20_000, 60_000, 300_000


def contenders() -> Any:
    """The module that knows them."""
    spec = importlib.util.spec_from_file_location("stores", _SOURCE)
    assert spec is not None
    assert spec.loader is not None
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


def _run(make: Callable[[], Any], keys: list[str]) -> tuple[float, float]:
    """Nanoseconds of CPU per operation (a get, and a put where it missed), and the hit rate."""
    get, put = make()
    hits = 0
    gc.collect()
    began = time.thread_time_ns()
    for key in keys:
        if get(key) is None:
            put(key)
        else:
            hits += 1
    return (time.thread_time_ns() - began) / len(keys), hits / len(keys)


def _gets(make: Callable[[], Any]) -> float:
    """Nanoseconds of CPU per get that hits."""
    get, put = make()
    keys = [f"key:{n}" for n in range(512)] * 40
    for key in keys[:512]:
        put(key)
    if any(get(key) is None for key in keys):
        raise AssertionError("a key is gone, and there was room for it")
    began = time.thread_time_ns()
    for key in keys:
        get(key)
    return (time.thread_time_ns() - began) / len(keys)


def _rss() -> float:
    line = next(x for x in Path("/proc/self/status").read_text().splitlines() if "VmRSS" in x)
    return int(line.split()[1]) / 1024


def _memory(stores: Any, make: Callable[[], Any]) -> dict[str, float]:
    """In a process of its own: MiB when it is full, and what far more keys add to that."""
    stores.ROOM = ROOM
    reading, writing = os.pipe()
    child = os.fork()
    if not child:
        get, put = make()
        before = _rss()
        for n in range(FILLED):
            put(f"key:{n}")
        full = _rss()
        for n in range(FILLED, FILLED + MORE):
            put(f"key:{n}")
        kept = sum(get(f"key:{n}") is not None for n in range(FILLED + MORE))
        found = {"full_mb": full - before, "grown_mb": _rss() - full, "kept": kept}
        os.write(writing, json.dumps(found).encode())
        os._exit(0)
    os.close(writing)
    with os.fdopen(reading, "rb") as pipe:
        told = pipe.read()
    if os.waitpid(child, 0)[1] or not told:
        raise AssertionError("the process that filled a store failed")
    memory: dict[str, float] = json.loads(told)
    if memory["kept"] > ROOM:
        raise AssertionError(f"{memory['kept']} keys are kept, and there is room for {ROOM}")
    return memory


def measure(rounds: int) -> dict[str, Any]:
    """Every contender under every load, in turning rounds."""
    stores = contenders()
    loads = {
        "Zipf 1.0": stores.zipf(1.0),
        "Zipf 0.8": stores.zipf(0.8),
        "Zipf 1.0, scan": stores.with_scan(stores.zipf(1.0)),
    }
    makes: list[tuple[str, Callable[[], Any]]] = list(stores.CONTENDERS.items())
    found: dict[str, Any] = {
        name: {"gets": [], "loads": {load: [] for load in loads}} for name, _ in makes
    }
    for turn in range(rounds):
        shift = turn % len(makes)
        for name, make in makes[shift:] + makes[:shift]:
            found[name]["gets"].append(_gets(make))
            for load, keys in loads.items():
                ns, rate = _run(make, keys)
                found[name]["loads"][load].append(ns)
                found[name].setdefault("hits", {})[load] = round(rate, 4)
    for name, make in makes:
        one = found[name]
        one["gets"] = round(statistics.median(one["gets"]), 1)
        one["loads"] = {load: round(statistics.median(ns)) for load, ns in one["loads"].items()}
        one["memory"] = {key: round(mb, 2) for key, mb in _memory(stores, make).items()}
    return {
        "stores": found,
        "room": 1024,
        "filled": ROOM,
        "operations": stores.OPERATIONS,
        "versions": f"cachebox {stores.cachebox.__version__}, "
        f"cachetools {stores.cachetools.__version__}",
    }


if __name__ == "__main__":
    print(json.dumps(measure(int(sys.argv[1]))))

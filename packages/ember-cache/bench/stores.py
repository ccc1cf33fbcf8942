"""The map of this process beside cachebox and cachetools: hit rate and time under a Zipf load.

    python packages/ember-cache/bench/stores.py

100,000 keys, room for 1,024, 300,000 operations: a get and, when it misses, a put. The same
sequence for all, one after the other in one process; ratios under 1.5 mean nothing.
"""

import itertools
import platform
import random
import time
from collections.abc import Callable
from typing import Any

import cachebox
import cachetools
from ember.cache import store
from ember.cache.store import Store

KEYS, ROOM, OPERATIONS, TTL = 100_000, 1024, 300_000, 60.0

Get = Callable[[str], Any]
Put = Callable[[str], Any]


def zipf(exponent: float) -> list[str]:
    weights = itertools.accumulate(1 / (rank + 1) ** exponent for rank in range(KEYS))
    chosen = random.Random(1).choices(range(KEYS), cum_weights=list(weights), k=OPERATIONS)
    return [f"key:{n}" for n in chosen]


def with_scan(keys: list[str]) -> list[str]:
    """Every tenth key is one that is asked for once and never again."""
    return [f"once:{i}" if i % 10 == 9 else key for i, key in enumerate(keys)]


def ours() -> tuple[Get, Put]:
    kept = Store(ROOM, time.monotonic)
    return kept.hit, lambda key: kept.put(key, 1, TTL)


def of_cachebox(kind: Any, *more: Any) -> Callable[[], tuple[Get, Put]]:
    def make() -> tuple[Get, Put]:
        kept = kind(ROOM, *more)
        return kept.get, lambda key: kept.insert(key, 1)

    return make


def of_cachetools(kind: Any, *more: Any) -> Callable[[], tuple[Get, Put]]:
    def make() -> tuple[Get, Put]:
        kept = kind(ROOM, *more)
        return kept.get, lambda key: kept.__setitem__(key, 1)

    return make


CONTENDERS: dict[str, Callable[[], tuple[Get, Put]]] = {
    "ember.cache (TTL, SIEVE)": ours,
    "cachebox TTL": of_cachebox(cachebox.TTLCache, TTL),
    "cachebox LRU, no TTL": of_cachebox(cachebox.LRUCache),
    "cachebox LFU, no TTL": of_cachebox(cachebox.LFUCache),
    "cachetools TTL": of_cachetools(cachetools.TTLCache, TTL),
    "cachetools LRU, no TTL": of_cachetools(cachetools.LRUCache),
}


def main() -> None:
    build = "source" if store.__file__.endswith(".py") else "compiled"
    print(
        f"Python {platform.python_version()}, ember.cache {build}, cachebox "
        f"{cachebox.__version__}, cachetools {cachetools.__version__}"
    )
    loads = {"Zipf 1.0": zipf(1.0), "Zipf 0.8": zipf(0.8), "Zipf 1.0, scan": with_scan(zipf(1.0))}
    for name, keys in loads.items():
        print(name)
        for contender, make in CONTENDERS.items():
            get, put = make()
            hits = 0
            begin = time.perf_counter()
            for key in keys:
                if get(key) is None:
                    put(key)
                else:
                    hits += 1
            spent = (time.perf_counter() - begin) / len(keys) * 1e9
            print(f"  {contender:26} {hits / len(keys):6.1%} hits {spent:7.0f} ns per operation")


if __name__ == "__main__":
    main()

"""The cache part: its bars, tables and panels."""

from __future__ import annotations

import statistics
from collections.abc import Callable

from bench.bar import Bar, path, ratio
from bench.cache import EMBER, run
from bench.cache.cases import HITS
from bench.http.run import FLOOR
from bench.http.tables import http_tables
from bench.micro.tables import micro_tables
from bench.part import Part, Results, Table

OURS, BEST = "ember.cache (TTL, SIEVE)", "cachebox TTL"


def _hit(case: str) -> Callable[[Results], float | None]:
    def measure(results: Results) -> float | None:
        by_name = results.get("cache", {}).get("http", {}).get("cases", {}).get(case, {})
        ours, floor = by_name.get(EMBER), by_name.get(FLOOR)
        return ratio(ours, floor) if ours and floor else None

    return measure


def _store(what: str) -> Callable[[Results], float | None]:
    def measure(results: Results) -> float | None:
        stores = results.get("cache", {}).get("store", {}).get("stores", {})
        if OURS not in stores or BEST not in stores:
            return None
        ours, best = stores[OURS], stores[BEST]
        if what == "gets":
            return float(ours["gets"] / best["gets"])
        return float(best["hits"][what] / ours["hits"][what])

    return measure


def _redis(results: Results) -> float | None:
    alone = results.get("cache", {}).get("redis", {}).get("alone")
    if not alone:
        return None
    ours, theirs = alone["RedisCache.fetch"]["rate_rounds"], alone["redis-py GET"]["rate_rounds"]
    return float(statistics.median(b / a for a, b in zip(ours, theirs, strict=True)))


def _waiters(results: Results) -> float | None:
    one = results.get("cache", {}).get("burst")
    return float(one["p99_ms"] / one["handler_ms"]) if one else None


BARS = (
    *(Bar("cache", f"{c.title} against the floor", 1.1, "×", _hit(c.name)) for c in HITS[:2]),
    *(
        Bar(
            "cache",
            f"{c.title}, from memory",
            0.5,
            "µs",
            path("cache", "micro", "compiled", c.name, "us"),
        )
        for c in HITS[:2]
    ),
    Bar("cache", "handler calls of many misses", 1.0, "", path("cache", "burst", "calls")),
    Bar("cache", "99th of the waiters against the handler", 2.0, "×", _waiters),
    # Compiled Rust with a time to live beside ours: under 1.5 says nothing on a shared machine.
    Bar("cache", "a get that hits, against cachebox", 1.5, "×", _store("gets")),
    Bar("cache", "hit rate of cachebox against ours, Zipf 1.0", 1.0, "×", _store("Zipf 1.0")),
    Bar("cache", "redis-py's hits a second against ours, 64 callers", 1.0, "×", _redis),
)


def _store_table(store: Results) -> Table:
    loads = next(iter(store["stores"].values()))["loads"]
    rows = [
        [
            name,
            f"{one['gets']:.0f}",
            *(f"{one['hits'][load]:.1%} / {one['loads'][load]:,}" for load in loads),
            f"{one['memory']['full_mb']:.1f}",
            f"{one['memory']['grown_mb']:+.1f}",
        ]
        for name, one in store["stores"].items()
    ]
    title = (
        f"The store of this process: room for {store['room']:,}, {store['operations']:,} gets, "
        f"a put where they miss ({store['versions']})"
    )
    head = [
        *("store", "ns per get that hits", *(f"{load}: hits / ns" for load in loads)),
        *(f"MiB with {store['filled']:,}", "MiB after 15 × as many"),
    ]
    return title, head, rows


def _burst_table(one: Results) -> Table:
    rows = [
        ["handler calls", f"{one['calls']}"],
        ["the handler's own time (ms)", f"{one['handler_ms']:.0f}"],
        ["all had asked after (ms)", f"{one['asked_ms']:.0f}"],
        ["waiters: median (ms)", f"{one['p50_ms']:.0f}"],
        ["waiters: 99th percentile (ms)", f"{one['p99_ms']:.0f}"],
        ["waiters: longest (ms)", f"{one['max_ms']:.0f}"],
        ["the last was answered after (ms)", f"{one['last_ms']:.0f}"],
        ["CPU of the server for each (µs)", f"{one['cpu_us']:.1f}"],
    ]
    return f"{one['waiters']:,} misses of one key at once", ["what", "figure"], rows


def tables(part: Results) -> list[Table]:
    """Hits, the store, the burst, Redis."""
    found: list[Table] = []
    if "http" in part:
        found += http_tables(part["http"])
    if part["micro"].get("compiled"):
        found += micro_tables(part["micro"])
    if "store" in part:
        found.append(_store_table(part["store"]))
    if "burst" in part:
        found.append(_burst_table(part["burst"]))
    if "redis" in part:
        alone, served = part["redis"]["alone"], part["redis"]["http"]
        rows = [[name, f"{one['rate']:,}", f"{one['cpu_us']:.1f}"] for name, one in alone.items()]
        rows += [
            [f"over HTTP: {served['titles'][case]}", f"{f['rate']:,}", f"{f['cpu_us']:.1f}"]
            for case, by_name in served["cases"].items()
            for f in by_name.values()
        ]
        title = "Hits in Redis, 64 at once, values of 512 bytes: ours beside redis-py alone"
        found.append((title, ["how", "hits/s", "CPU µs per hit"], rows))
    return found


def panels(part: Results) -> list[tuple[str, Results]]:
    """Hits beside the floor, and hits in Redis."""
    found = []
    if "http" in part:
        cases, titles = part["http"]["cases"], part["http"]["titles"]
        shown = {f"ember {name}": by[EMBER] for name, by in cases.items() if EMBER in by}
        if "ttl" in cases and FLOOR in cases["ttl"]:
            shown |= {FLOOR: cases["ttl"][FLOOR]}
        found.append((f"{titles['ttl']} and others, beside the floor of the TTL hit", shown))
    if "redis" in part:
        alone = part["redis"]["alone"].items()
        shown = {f"ember {n}" if n.startswith("RedisCache") else n: one for n, one in alone}
        found.append(("A hit in Redis, 64 callers, CPU of the client", shown))
    return found


PART = Part("Cache: hits, the store, a stampede, Redis", run, BARS, tables, panels)

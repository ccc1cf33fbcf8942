"""The part with server-sent events: its bars, tables and panels."""

from __future__ import annotations

from bench.bar import Bar, path, ratio
from bench.part import Part, Results, Table
from bench.sse import EMBER, PEER, run


def _against(results: Results) -> float | None:
    servers = results.get("sse", {}).get("servers", {})
    ours, theirs = servers.get(EMBER), servers.get(PEER)
    return ratio(ours, theirs) if ours and theirs else None


BARS = (
    Bar("sse", "events lost", 0.0, "", path("sse", "servers", EMBER, "lost")),
    Bar("sse", "events out of order", 0.0, "", path("sse", "servers", EMBER, "disorder")),
    Bar("sse", "CPU per event against sse-starlette", 1.0, "×", _against),
    Bar("sse", "memory, slope", 1.0, "MiB/min", path("sse", "servers", EMBER, "rss_slope")),
)


def tables(part: Results) -> list[Table]:
    """CPU per event, lateness, memory; and what was lost."""
    rows = [
        [
            name,
            f"{f['cpu_us']:.2f}",
            f"{f['rate']:,}",
            f"{f['busy']:.0%}",
            f"{f['p50_ms']:.1f} / {f['p99_ms']:.1f} / {f['max_ms']:.0f}",
            f"{f['rss_mb']:.1f}",
            f"{f['rss_slope']:+.2f}",
            f"{f['lost']:,} / {f['disorder']:,}",
        ]
        for name, f in part["servers"].items()
    ]
    title = (
        f"Fan-out: {part['streams']:,} streams × 10 events a second, one worker "
        f"({part['rounds']} rounds of {part['seconds']:g} s)"
    )
    head = [
        *("server", "CPU µs per event", "events/s", "busy", "late: median / p99 / max ms"),
        *("RSS MiB", "MiB/min", "lost / out of order"),
    ]
    versions = [[name, text] for name, text in part["versions"].items() if text]
    return [(title, head, rows), ("Versions of the peers", ["server", "versions"], versions)]


def panels(part: Results) -> list[tuple[str, Results]]:
    """CPU per event."""
    return [(f"One event of {part['streams']:,} streams, CPU per event", part["servers"])]


PART = Part("Server-sent events: one worker, many streams", run, BARS, tables, panels)

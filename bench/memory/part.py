"""The part about memory: idle, with many connections, and after them."""

from __future__ import annotations

from bench import memory
from bench.bar import Bar, path
from bench.part import Options, Part, Results, Table


def _run(options: Options) -> Results:
    quick = options.quick
    return memory.run(connections=1000 if quick else 10_000, churned=2000 if quick else 20_000)


def tables(part: Results) -> list[Table]:
    """Resident memory in each state."""
    count, churned = f"{part['connections']:,}", f"{part['churned']:,}"
    rows = [
        ["idle, after one request (MiB)", f"{part['idle_mb']:.1f}"],
        [
            f"left over after {churned} opened and closed, {part['wave']} at a time (MiB)",
            f"{part['left_mb']:.1f}",
        ],
        [f"with {count} idle keep-alive connections (MiB)", f"{part['full_mb']:.1f}"],
        ["each of these (KB)", f"{part['connection_kb']:.2f}"],
        [f"left over after all {count} closed (MiB)", f"{part['left_after_full_mb']:.1f}"],
        ["JSON, six routes, one cached: idle (MiB)", f"{part['json_mb']:.1f}"],
        [
            "hello where asyncio is imported before Ember: idle (MiB)",
            f"{part['asyncio_first_mb']:.1f}",
        ],
    ]
    return [
        (
            "Resident memory, one process; hello where nothing else is said",
            ["state", "figure"],
            rows,
        )
    ]


PART = Part(
    "Memory: idle, with many connections, and after them",
    _run,
    (
        Bar("memory", "idle RSS of hello", 22.0, "MiB", path("memory", "idle_mb")),
        Bar("memory", "idle RSS of JSON, one route cached", 25.0, "MiB", path("memory", "json_mb")),
        Bar("memory", "per idle connection", 3.0, "KB", path("memory", "connection_kb")),
        Bar("memory", "left after 20,000 connections", 5.0, "MiB", path("memory", "left_mb")),
    ),
    tables,
    place=4,
)

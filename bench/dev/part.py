"""The part about `ember dev`: its bars and table."""

from __future__ import annotations

from bench.bar import Bar, path
from bench.dev import WAYS, run
from bench.part import Part, Results, Table

BARS = tuple(
    Bar(
        "dev",
        f"from an edit to its answer, {name}",
        500.0,
        "ms",
        path("dev", "ways", name, "median_ms"),
    )
    for name in WAYS
)


def tables(part: Results) -> list[Table]:
    """Each way: median, best, worst."""
    rows = [
        [name, *(f"{x:.0f}" for x in (f["median_ms"], min(f["edits_ms"]), max(f["edits_ms"])))]
        for name, f in part["ways"].items()
    ]
    head = ["how it learns of an edit", "median ms", "best", "worst"]
    return [(f"ember dev: from an edit to its answer, {part['edits']} edits", head, rows)]


PART = Part("ember dev: from an edit to its answer", run, BARS, tables)

"""The part with slow and broken clients: its bars and tables."""

from __future__ import annotations

from bench.bar import Bar, path
from bench.part import Part, Results, Table
from bench.slow import run

BARS = (
    *(
        Bar("slow", f"p99 beside {name}", 5.0, "×", path("slow", "clients", name, "ratio"))
        for name in ("idle", "slow headers", "slow body", "slow read", "resets")
    ),
    Bar(
        "slow",
        "memory, from the first round's end to the last's",
        5.0,
        "MiB",
        path("slow", "left_mb"),
    ),
)


def tables(part: Results) -> list[Table]:
    """The normal client's 99th percentile, and the server's memory."""
    titles = {
        "idle": f"{part['idle']:,} idle connections",
        "resets": f"{part['many']:,} resets a second",
    }
    rows = [
        [
            titles.get(name, f"{name}, {part['many']:,} connections"),
            f"{f['p99_us']:,.0f}",
            f"{f['ratio']:.2f}×",
            f"{f['rate']:,}",
            f"{f['rss_mb']:.1f}",
        ]
        for name, f in {"alone": part["quiet"], **part["clients"]}.items()
    ]
    rows[0][0] = "nobody"
    title = (
        f"A normal client (8 connections, every answer checked) beside slow and broken ones "
        f"({part['rounds']} rounds of {part['seconds']:g} s)"
    )
    rows.append(["left over after the first round", "", "", "", f"{part['first_mb']:+.1f}"])
    rows.append(["and after the last, beside the first", "", "", "", f"{part['left_mb']:+.1f}"])
    return [(title, ["beside", "p99 µs", "beside quiet", "answers/s", "server's RSS, MiB"], rows)]


PART = Part("Slow and broken clients: what a normal one sees of them", run, BARS, tables)

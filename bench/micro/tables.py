"""The figures of what was fed from memory as a table."""

from __future__ import annotations

from bench.part import Results, Table


def micro_tables(micro: Results) -> list[Table]:
    """The median and the best tenth of each build."""
    builds = [name for name in ("compiled", "pure") if name in micro]
    cases = list(dict.fromkeys(case for build in builds for case in micro[build]))
    rows = []
    for case in cases:
        row = [micro[builds[0]].get(case, {}).get("title", case)]
        for build in builds:
            figure = micro[build].get(case)
            row += (
                [f"{figure['us']:.2f}", f"{figure['best_us']:.2f}"]
                if figure
                else ["missing", "missing"]
            )
        rows.append(row)
    head = [text for build in builds for text in (f"{build}: median", "best tenth")]
    return [
        (
            "The core fed from memory: CPU µs per request, the feeding loop taken off",
            ["request", *head],
            rows,
        )
    ]

"""The part with static files: its bars, tables and panels."""

from __future__ import annotations

from collections.abc import Callable

from bench.bar import Bar, ratio
from bench.part import Part, Results, Table
from bench.static import NGINX, PLAIN, RING, run


def _against(case: str, name: str = RING) -> Callable[[Results], float | None]:
    """Beside nginx at its best in that case, whichever way that is."""

    def measure(results: Results) -> float | None:
        figures = results.get("static", {}).get("cases", {}).get(case, {})
        theirs = [figures[other] for other in (NGINX, PLAIN) if other in figures]
        if name not in figures or not theirs:
            return None
        return ratio(figures[name], min(theirs, key=lambda figure: float(figure["cpu_us"])))

    return measure


BARS = (
    Bar("static", "a file of 10 KB against nginx", 2.0, "×", _against("small")),
    Bar("static", "a file of 10 MB against nginx", 1.2, "×", _against("large")),
)


def tables(part: Results) -> list[Table]:
    """CPU per file with its ratio to the better nginx; rates and latencies."""
    rows = []
    for name in part["targets"]:
        row = [name]
        for case in part["cases"]:
            figure = part["cases"][case].get(name)
            if figure is None:
                row += ["missing", ""]
                continue
            against = _against(case, name)({"static": part})
            row.append(f"{figure['cpu_us']:.2f}" + (f" ({against:.2f}×)" if against else ""))
            row.append(f"{figure['rate']:,} / {figure['p50_us']:,.0f} / {figure['p99_us']:,.0f}")
        rows.append(row)
    head = ["server"]
    for title in part["titles"].values():
        head += [f"{title}: CPU µs per file", "files/s, median and 99 % latency µs"]
    title = f"Static files ({part['rounds']} interleaved rounds of {part['seconds']:g} s)"
    return [(title, head, rows)]


def panels(part: Results) -> list[tuple[str, Results]]:
    """CPU per file."""
    return [
        (f"A file of {title}, CPU per request", part["cases"][case])
        for case, title in part["titles"].items()
    ]


PART = Part("Static files, beside nginx", run, BARS, tables, panels)

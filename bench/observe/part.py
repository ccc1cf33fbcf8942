"""The part about being watched: what metrics and an access log cost; its bars and tables."""

from __future__ import annotations

from collections.abc import Callable

from bench.bar import Bar, ratio
from bench.observe import run
from bench.part import Part, Results, Table

TITLES = {
    "plain": "not watched",
    "again": "not watched, once more: the noise of this run",
    "metrics": "metrics",
    "log": "access log to a file",
    "pipe": "access log to standard output, a pipe",
    "both": "metrics and access log",
}


def _more(way: str) -> Callable[[Results], float | None]:
    """Per cent of CPU per request on top of what hello takes when nobody watches."""

    def measure(results: Results) -> float | None:
        figures = results.get("observe", {}).get("cases", {}).get("hello", {})
        if way not in figures or "plain" not in figures:
            return None
        return (ratio(figures[way], figures["plain"]) - 1) * 100

    return measure


def _fewer(results: Results) -> float | None:
    """Per cent fewer answers of a core that has nothing else to do, with the access log.

    From CPU time: the generator leaves the server half idle, so that the answers a second of a run
    say nothing about it.
    """
    more = _more("log")(results)
    return None if more is None else (1 - 1 / (1 + more / 100)) * 100


BARS = (
    Bar("observe", "hello with metrics, more than without", 3.0, "%", _more("metrics")),
    Bar("observe", "hello with an access log, more than without", 3.0, "%", _more("log")),
    Bar("observe", "answers of a full core that an access log takes", 2.0, "%", _fewer),
)


def tables(part: Results) -> list[Table]:
    """Each way: CPU per request, how much more than plain, answers a second."""
    figures = part["cases"]["hello"]
    rows = []
    for way, title in TITLES.items():
        figure, more = figures.get(way), _more(way)({"observe": part})
        if figure is None:
            rows.append([title, "missing", "", ""])
            continue
        rows.append(
            [
                title,
                f"{figure['cpu_us']:.2f}",
                "" if way == "plain" else "missing" if more is None else f"{more:+.1f} %",
                f"{figure['rate']:,}",
            ]
        )
    note = f"{part['rounds']} interleaved rounds of {part['seconds']:g} s"
    head = ["hello, one worker", "CPU µs per request", "beside not watched", "answers/s"]
    return [(f"What it costs to be watched ({note})", head, rows)]


PART = Part("Being watched: metrics and access log beside neither", run, BARS, tables)

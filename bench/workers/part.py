"""The part with several workers: its bars and tables."""

from __future__ import annotations

from bench.bar import Bar, path
from bench.part import Part, Results, Table
from bench.workers import SCALING, run


def _balance(build: str) -> Bar:
    text = f"400 connections on 4 workers, most against least, {build}"
    return Bar("workers", text, 1.3, "×", path("workers", "balance", build, "ratio"))


def _failed(build: str) -> Bar:
    text = f"failed requests in 20 reloads, {build}"
    return Bar("workers", text, 0.0, "", path("workers", "reload", build, "failed"))


def _scaling(connections: int) -> Bar:
    def measure(results: Results) -> float | None:
        found = results.get("workers", {}).get("scaling", ())
        return next((one["ratio"] for one in found if one["connections"] == connections), None)

    text = f"CPU per request, 2 workers against 1, {connections:,} connections"
    return Bar("workers", text, 1.1, "×", measure)


_NAMES = ("ember io_uring", "ember epoll", "ember pure")
BARS = (
    *map(_balance, _NAMES),
    *map(_scaling, SCALING),
    *map(_failed, _NAMES),
    Bar("workers", "kill -9 until replaced", 1.0, "s", path("workers", "killed", "most")),
    Bar("workers", "idle stop, 1 worker", 0.3, "s", path("workers", "stopped", "1", "median")),
    Bar("workers", "idle stop, 4 workers", 0.3, "s", path("workers", "stopped", "4", "median")),
)


def tables(part: Results) -> list[Table]:
    """Evenness, scaling, reloads, ends."""
    even = [
        [build, " ".join(map(str, f["connections"])), f"{f['ratio']:.2f}"]
        for build, f in part["balance"].items()
    ]
    reloads = [
        [
            build,
            str(f["failed"]),
            f"{f['plain']:,}",
            f"{f['slow']:,}",
            f"{f['told']:,} of {f['streams']:,}",
            f"{f['seconds']:.2f}",
            f"{f['gone']:.1f}",
        ]
        for build, f in part["reload"].items()
    ]
    times = next(iter(part["reload"].values()))["times"]
    scaling = [
        [
            f"{f['connections']:,}",
            *(f"{f['one_us']:.2f}", f"{f['two_us']:.2f}", f"{f['ratio']:.3f}"),
            *(f"{f['one_rate']:,}", f"{f['two_rate']:,}"),
        ]
        for f in part["scaling"]
    ]
    ends = [["kill -9 until replaced", part["killed"]]] + [
        [f"SIGTERM until gone, idle, {workers} workers", found]
        for workers, found in part["stopped"].items()
    ]
    return [
        (
            f"{part['connections']} keep-alive connections on {part['workers']} workers",
            ["server", "connections of each", "most / least"],
            even,
        ),
        (
            "hello, all processes counted, beside the generator on the same two cores",
            [
                *("connections", "1 worker: CPU µs", "2 workers: CPU µs", "median of the ratios"),
                *("1 worker: answers/s", "2 workers: answers/s"),
            ],
            scaling,
        ),
        (
            f"{times} × SIGHUP under load, two workers",
            [
                *("server", "failed", "answers", "slow answers", "streams told to end"),
                *("s per reload", "old ones gone after, s"),
            ],
            reloads,
        ),
        (
            "Ends, seconds",
            ["event", "median", "most"],
            [[name, f"{f['median']:.3f}", f"{f['most']:.3f}"] for name, f in ends],
        ),
    ]


PART = Part("Workers: even, replaced without a failed request, gone when told", run, BARS, tables)

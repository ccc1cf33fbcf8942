"""The figures of a run over TCP as tables."""

from __future__ import annotations

from bench.bar import ratio as ratio_of
from bench.http.run import FLOOR
from bench.part import Results, Table


def _order(http: Results) -> list[str]:
    """Servers by what hello costs (or the first case that was run), cheapest first."""
    cases: dict[str, Results] = http["cases"]
    names = dict.fromkeys(name for by_name in cases.values() for name in by_name)
    first = next(iter(cases.values()), {})
    return sorted(names, key=lambda name: first.get(name, {"cpu_us": float("inf")})["cpu_us"])


def http_tables(http: Results) -> list[Table]:
    """CPU per request with its ratio to the floor; rates and latencies."""
    names, titles = _order(http), http["titles"]
    cpu_rows, rate_rows = [], []
    for name in names:
        row, rates = [name], [name]
        for figures in http["cases"].values():
            figure, floor = figures.get(name), figures.get(FLOOR)
            if figure is None:
                row.append("missing")
                rates.append("missing")
                continue
            ratio = f" ({ratio_of(figure, floor):.2f}×)" if floor and name != FLOOR else ""
            row.append(f"{figure['cpu_us']:.2f}{ratio}")
            rates.append(f"{figure['rate']:,} / {figure['p50_us']:,.0f} / {figure['p99_us']:,.0f}")
        cpu_rows.append(row)
        rate_rows.append(rates)
    head = [titles[case] for case in http["cases"]]
    note = (
        f"{http['connections']} connections, medians of {http['rounds']} "
        f"interleaved rounds of {http['seconds']:g} s"
    )
    return [
        (
            f"CPU µs per request of the server, and its ratio to the floor ({note})",
            ["server", *head],
            cpu_rows,
        ),
        (
            "Answers per second / median latency µs / 99th percentile µs, server on one core",
            ["server", *head],
            rate_rows,
        ),
    ]

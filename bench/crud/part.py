"""The CRUD part: its bars, tables and panels."""

from __future__ import annotations

from collections.abc import Callable

from bench.bar import Bar, ratio
from bench.crud import EMBER, EXPRESS, FASTAPI, run
from bench.crud.script import KINDS, SHARES
from bench.part import Part, Results, Table


def _against(peer: str) -> Callable[[Results], float | None]:
    def measure(results: Results) -> float | None:
        servers = results.get("crud", {}).get("servers", {})
        ours, theirs = servers.get(EMBER), servers.get(peer)
        return ratio(ours, theirs) if ours and theirs else None

    return measure


BARS = (
    Bar("crud", f"without a cache, against {FASTAPI}", 1 / 3, "×", _against(FASTAPI)),
    Bar("crud", f"without a cache, against {EXPRESS}", 1 / 2, "×", _against(EXPRESS)),
)


def _rows(servers: Results, beside: Results | None) -> list[list[str]]:
    rows = []
    for name, f in servers.items():
        times = f" ({ratio(f, beside):.2f}×)" if beside and f is not beside else ""
        rows.append(
            [
                name,
                f"{f['cpu_us']:.1f}{times}",
                f"{f['rate']:,}",
                f"{f['busy']:.0%}",
                f"{f['p50_us']:,} / {f['p99_us']:,}",
                " / ".join(f"{f['p50_by_kind'][kind]:,}" for kind in KINDS),
            ]
        )
    return rows


def tables(part: Results) -> list[Table]:
    """CPU per request of the server process, rates and latencies; the cached one apart."""
    fastapi = part["servers"].get(FASTAPI)
    mix = ", ".join(f"{share} % {kind}" for share, kind in zip(SHARES, KINDS, strict=True))
    title = (
        f"CRUD on PostgreSQL, {part['rows']:,} rows: {mix} ({part['connections']} connections, "
        f"pools of {part['pool']}, medians of {part['rounds']} rounds of {part['seconds']:g} s)"
    )
    head = [
        *("server", f"CPU µs per request (× {FASTAPI})", "answers/s", "busy"),
        *("µs: median / p99", f"median µs: {' / '.join(KINDS)}"),
    ]
    found = [(title, head, _rows(part["servers"], fastapi))]
    if part["cached"]:
        title = "Apart, for the database is asked less often: lists kept for a second at most"
        found.append((title, head, _rows(part["cached"], fastapi)))
    versions = [[name, text] for name, text in part["versions"].items()]
    return [*found, ("Versions of the peers", ["server", "versions"], versions)]


def panels(part: Results) -> list[tuple[str, Results]]:
    """CPU per request of the mix."""
    return [(f"CRUD mix on PostgreSQL, {part['rows']:,} rows", part["servers"])]


PART = Part(
    "CRUD on PostgreSQL: the task board beside FastAPI and Express", run, BARS, tables, panels
)

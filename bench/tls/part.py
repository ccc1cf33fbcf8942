"""The TLS part: its bars, tables and panels."""

from __future__ import annotations

from collections.abc import Callable

from bench.bar import Bar, ratio
from bench.part import Part, Results, Table
from bench.tls import EMBER, GRANIAN, UVICORN, run


def _against(name: str) -> Callable[[Results], float | None]:
    def measure(results: Results) -> float | None:
        servers = results.get("tls", {}).get("servers", {})
        ours, theirs = servers.get(EMBER), servers.get(name)
        return ratio(ours, theirs) if ours and theirs else None

    return measure


BARS = (
    Bar("tls", "hello over TLS against uvicorn's", 1 / 3, "×", _against(UVICORN)),
    Bar("tls", "hello over TLS against granian's", 1.0, "×", _against(GRANIAN)),
)


def tables(part: Results) -> list[Table]:
    """CPU per request, and how many of ours one of theirs would pay for."""
    servers = part["servers"]
    ours = servers.get(EMBER)
    rows = [
        [
            name,
            f"{f['cpu_us']:.2f}",
            f"{ratio(f, ours):.2f}×" if ours else "missing",
            f"{f['rate']:,}",
            f"{f['busy']:.0%}",
        ]
        for name, f in sorted(servers.items(), key=lambda item: item[1]["cpu_us"])
    ]
    title = (
        f"Hello over TLS 1.3, {part['connections']} keep-alive connections, one worker, "
        f"{part['openssl']} ({part['rounds']} rounds of {part['seconds']:g} s)"
    )
    head = ["server", "CPU µs per request", "beside ember io_uring", "answers/s", "busy"]
    versions = [[name, text] for name, text in part["versions"].items()]
    return [(title, head, rows), ("Versions of the peers", ["server", "versions"], versions)]


def panels(part: Results) -> list[tuple[str, Results]]:
    """CPU per request."""
    return [("Hello over TLS 1.3, CPU per request", part["servers"])]


PART = Part(
    "TLS: hello on keep-alive connections, beside uvicorn and granian", run, BARS, tables, panels
)

"""Formats the results of a load test, as text and as JSON."""

from __future__ import annotations

from typing import Any

from ember.cli.bench.figures import Figures
from ember.cli.bench.load import Plan
from ember.server.terminal import Style

PERCENTILES = {"p50": 0.5, "p90": 0.9, "p99": 0.99, "p999": 0.999}


def as_json(url: str, method: str, plan: Plan, figures: Figures, client: Any) -> dict[str, Any]:
    """All measured values, with the units in the names."""
    known = figures.latencies
    latency: dict[str, float] | None = None
    if known.count:
        latency = {"min": known.least, "mean": known.mean}
        latency |= {name: known.percentile(share) for name, share in PERCENTILES.items()}
        latency["max"] = known.most
        latency = {name: round(value * 1000, 4) for name, value in latency.items()}
    seconds = figures.seconds or 1e-9
    return {
        "url": url,
        "method": method,
        "connections": plan.connections,
        "pipeline": plan.pipeline,
        "seconds": round(figures.seconds, 3),
        "requests": figures.requests,
        "requests_per_second": round(figures.requests / seconds, 1),
        "bytes": figures.bytes,
        "bytes_per_second": round(figures.bytes / seconds),
        "latency_ms": latency,
        "classes": figures.classes,
        "statuses": {str(status): n for status, n in sorted(figures.statuses.items())},
        "errors": dict(figures.errors),
        "client": client,
    }


def table(found: dict[str, Any], style: Style) -> str:
    """The results as text."""
    lines = [
        f"{style.accent('Ember')} bench {style.strong(found['method'] + ' ' + found['url'])}"
        + style.dim(
            f"  {found['connections']} connections, pipeline {found['pipeline']}, "
            f"{found['seconds']:.1f} s, {found['client']['loop']} loop"
        ),
        "",
        f"requests   {found['requests']:>12,}   "
        + style.strong(f"{found['requests_per_second']:,.0f} a second"),
        f"received   {_size(found['bytes']):>12}   {_size(found['bytes_per_second'])} a second",
    ]
    latency = found["latency_ms"]
    if latency:
        names = ("p50", "p90", "p99", "p999", "max")
        lines += [
            "",
            style.dim("latency    " + "".join(f"{_heading(n):>11}" for n in names)),
            "           " + "".join(f"{_time(latency[n]):>11}" for n in names),
        ]
    lines.append("")
    for name, count in found["classes"].items():
        paint = style.good if name in ("2xx", "3xx") else style.bad
        lines.append(f"{name}        {paint(f'{count:>12,}')}")
    errors = ", ".join(f"{why} {count:,}" for why, count in found["errors"].items())
    total = sum(found["errors"].values())
    lines.append(
        f"errors     {style.bad(f'{total:>12,}') + '   ' + errors if total else f'{0:>12}'}"
    )
    lines += ["", style.dim(note(found["client"]))]
    return "\n".join(lines)


def note(client: dict[str, Any]) -> str:
    """A note on the limits of the measurement."""
    share = client["cpu_share"]
    busy = f"this client took {share:.0%} of a core"
    if share > 0.9:
        busy += ": it was the limit, the server may do more"
    if client["same_machine"]:
        return f"Client and server shared this machine; {busy}. Compare only runs side by side."
    return f"Measured over the network; {busy}. Compare only runs side by side."


def _heading(name: str) -> str:
    return "p99.9" if name == "p999" else name


def _time(ms: float) -> str:
    if ms < 1:
        return f"{ms * 1000:.0f} µs"
    return f"{ms:.2f} ms" if ms < 1000 else f"{ms / 1000:.2f} s"


def _size(size: float) -> str:
    for unit in ("B", "KB", "MB"):
        if size < 1000:
            return f"{size:.0f} {unit}" if unit == "B" else f"{size:.1f} {unit}"
        size /= 1000
    return f"{size:.1f} GB"

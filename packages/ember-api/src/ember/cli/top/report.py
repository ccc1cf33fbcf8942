"""Formats the figures as tables."""

from __future__ import annotations

import math

from ember.cli.top.figures import Figures, Route, Worker
from ember.server.terminal import Style

#: The most characters of a route, or of another label, that are shown.
_WIDEST = 48
#: Lines of the header, of the table headers and between the tables.
_AROUND = 7


def tables(figures: Figures, url: str, style: Style, *, height: int | None = None) -> str:
    """A line of sums, then the workers and the routes; at most `height` lines."""
    f = figures
    hits = "" if f.hit_rate is None else f"   cache hits {style.strong(f'{f.hit_rate:.1%}')}"
    errors = style.bad(f"   {_rate(f.errors)} errors/s") if f.errors else ""
    lines = [
        f"{style.accent('Ember')} top {style.strong(url)}{style.dim(f'  over {f.seconds:.1f} s')}",
        "",
        f"{style.strong(_rate(f.rate))} requests/s   {f.in_flight:,.0f} in flight   "
        f"{f.connections:,.0f} connections{hits}   "
        f"p50 {_time(f.p50, f.bound)}   p99 {_time(f.p99, f.bound)}{errors}",
    ]
    workers, routes = f.workers, f.routes
    if height is not None:
        room = max(height - _AROUND, 2)
        workers = workers[: max(room // 2, room - len(routes), 1)]
        routes = routes[: max(room - len(workers) - 2, 1)]
    if workers:
        head: tuple[str, ...] = (
            "WORKER",
            "PID",
            "STATE",
            "RSS",
            "CPU",
            "REQ/S",
            "CONNS",
            "UP",
            "HEARTBEAT",
        )
        lines += ["", _table(style, head, [_worker(w) for w in workers], left=(2,))]
        lines += _more(style, len(f.workers) - len(workers), "workers")
    if routes:
        head = ("METHOD", "REQ/S", "ERR/S", "P50", "P99", "ROUTE")
        lines += ["", _table(style, head, [_route(r, f.bound) for r in routes], left=(0, 5))]
        lines += _more(style, len(f.routes) - len(routes), "routes")
    else:
        lines += ["", "no request ended in this time"]
    return "\n".join(lines)


def _more(style: Style, count: int, of: str) -> list[str]:
    return [style.dim(f"and {count} more {of}")] if count else []


def _table(
    style: Style, head: tuple[str, ...], rows: list[tuple[str, ...]], left: tuple[int, ...]
) -> str:
    """A table with right-aligned columns; the columns `left` are left-aligned."""
    widths = [max(len(row[i]) for row in (head, *rows)) for i in range(len(head))]

    def pad(row: tuple[str, ...]) -> list[str]:
        return [x if i in left else x.rjust(widths[i]) for i, x in enumerate(row)]

    return style.table(pad(head), [pad(row) for row in rows])


def _worker(w: Worker) -> tuple[str, ...]:
    return (
        _plain(w.worker),
        "-" if w.pid is None else str(w.pid),
        _plain(w.state),
        "-" if w.resident is None else f"{w.resident / (1 << 20):.1f} MiB",
        "-" if w.cpu is None else f"{w.cpu:.0%}",
        "-" if w.rate is None else _rate(w.rate),
        "-" if w.connections is None else f"{w.connections:,.0f}",
        "-" if w.uptime is None else _long(w.uptime),
        "-" if w.heartbeat_age is None else f"{w.heartbeat_age:.1f} s ago",
    )


def _route(r: Route, bound: float) -> tuple[str, ...]:
    return (
        _plain(r.method),
        _rate(r.rate),
        _rate(r.errors) if r.errors else "-",
        _time(r.p50, bound),
        _time(r.p99, bound),
        _plain(r.route),
    )


def _plain(label: str) -> str:
    """A label without control characters, and not too long."""
    text = "".join(c if c.isprintable() else "?" for c in label)
    return text if len(text) <= _WIDEST else text[: _WIDEST - 1] + "…"


def _rate(rate: float) -> str:
    return f"{rate:,.1f}" if rate < 100 else f"{rate:,.0f}"


def _time(seconds: float | None, bound: float) -> str:
    if seconds is None:
        return "-"
    if seconds == math.inf:
        return f"> {_time(bound, bound)}"
    if seconds < 0.001:
        return f"{seconds * 1e6:.0f} µs"
    return f"{seconds * 1000:.1f} ms" if seconds < 1 else f"{seconds:.2f} s"


def _long(seconds: float) -> str:
    for size, unit in ((86400, "d"), (3600, "h"), (60, "min")):
        if seconds >= size:
            return f"{seconds / size:.1f} {unit}"
    return f"{seconds:.0f} s"

"""The difference of two scrapes of `/metrics`."""

from __future__ import annotations

import math
from collections import defaultdict
from typing import Any, NamedTuple

from ember.cli.top.scrape import Scrape

_REQUESTS = "ember_http_requests_total"
_BUCKETS = "ember_http_request_duration_seconds_bucket"
_CACHE = "ember_cache_requests_total"
#: The outcomes that are hits, and those that count for the hit rate.
_HITS, _LOOKED = ("hit", "stale"), ("hit", "stale", "miss")

Bounds = dict[float, float]


class Route(NamedTuple):
    """One route and method. Times are in seconds; inf: above the largest bucket."""

    route: str
    method: str
    rate: float
    #: Responses with a status of 500 or more, per second.
    errors: float
    p50: float | None
    p99: float | None


class Worker(NamedTuple):
    """One worker; None: not on the page."""

    worker: str
    pid: int | None
    state: str
    resident: float | None
    #: Share of one core.
    cpu: float | None
    rate: float | None
    connections: float | None
    uptime: float | None
    heartbeat_age: float | None


class Figures(NamedTuple):
    """All values that are shown."""

    seconds: float
    rate: float
    errors: float
    in_flight: float
    connections: float
    #: The share of hits among requests to routes with a cache; None if there were none.
    hit_rate: float | None
    p50: float | None
    p99: float | None
    #: The largest bound of the histograms, seconds.
    bound: float
    #: The slowest first.
    routes: list[Route]
    workers: list[Worker]

    def document(self, url: str) -> dict[str, Any]:
        """The values as JSON, with the units in the names."""
        routes = [
            {
                "route": r.route,
                "method": r.method,
                "requests_per_second": round(r.rate, 2),
                "errors_per_second": round(r.errors, 2),
                "p50_ms": _ms(r.p50),
                "p99_ms": _ms(r.p99),
            }
            for r in self.routes
        ]
        workers = [
            {
                "worker": w.worker if (number := _integer(w.worker)) is None else number,
                "pid": w.pid,
                "state": w.state,
                "resident_bytes": None if w.resident is None else int(w.resident),
                "cpu_share": _rounded(w.cpu, 3),
                "requests_per_second": _rounded(w.rate, 2),
                "connections": None if w.connections is None else int(w.connections),
                "uptime_seconds": _rounded(w.uptime, 1),
                "heartbeat_age_seconds": _rounded(w.heartbeat_age, 3),
            }
            for w in self.workers
        ]
        return {
            "url": url,
            "seconds": round(self.seconds, 3),
            "requests_per_second": round(self.rate, 2),
            "errors_per_second": round(self.errors, 2),
            "in_flight": int(self.in_flight),
            "connections": int(self.connections),
            "cache_hit_rate": _rounded(self.hit_rate, 4),
            "p50_ms": _ms(self.p50),
            "p99_ms": _ms(self.p99),
            "largest_bound_ms": _ms(self.bound),
            "routes": routes,
            "workers": workers,
        }


def difference(before: Scrape, after: Scrape) -> Figures:
    """The difference of two scrapes. Gauges are those of the later one.

    A counter that is lower than before has started again at 0, with the server.
    """
    seconds = max(after.at - before.at, 1e-9)
    rates: dict[tuple[str, str], float] = defaultdict(float)
    errors: dict[tuple[str, str], float] = defaultdict(float)
    for labels, count in _grown(before, after, _REQUESTS):
        key = (labels.get("route", ""), labels.get("method", ""))
        rates[key] += count / seconds
        if labels.get("status", "").startswith("5"):
            errors[key] += count / seconds
    below: dict[tuple[str, str], Bounds] = defaultdict(dict)
    for labels, count in _grown(before, after, _BUCKETS):
        key = (labels.get("route", ""), labels.get("method", ""))
        below[key][float(labels.get("le", "inf"))] = count
    of_all: Bounds = defaultdict(float)
    for bounds in below.values():
        for bound, count in bounds.items():
            of_all[bound] += count
    routes = [
        Route(*key, rate, errors[key], quantile(0.5, below[key]), quantile(0.99, below[key]))
        for key, rate in rates.items()
        if rate
    ]
    routes.sort(key=lambda r: (-(r.p99 or 0), -(r.p50 or 0), -r.rate, r.route, r.method))
    return Figures(
        seconds,
        sum(rates.values()),
        sum(errors.values()),
        after.one("ember_http_requests_in_flight") or 0,
        after.one("ember_http_connections") or 0,
        _hit_rate(before, after),
        quantile(0.5, of_all),
        quantile(0.99, of_all),
        max((bound for bound in of_all if bound != math.inf), default=0.0),
        routes,
        _workers(before, after, seconds),
    )


def quantile(share: float, below: Bounds) -> float | None:
    """The quantile of a histogram, linear inside a bucket, like Prometheus's
    histogram_quantile(); inf above the last bound, None without requests.

    `below`: the cumulative counts by bound.
    """
    total = below.get(math.inf, 0.0)
    if total <= 0:
        return None
    rank = share * total
    lower = counted = 0.0
    for bound in sorted(below):
        if below[bound] >= rank:
            if bound == math.inf:
                return math.inf
            return lower + (bound - lower) * (rank - counted) / (below[bound] - counted)
        lower, counted = bound, below[bound]
    return math.inf


def _grown(before: Scrape, after: Scrape, name: str) -> list[tuple[dict[str, str], float]]:
    """The increase of each sample of a counter."""
    old = {tuple(sorted(labels.items())): value for labels, value in before.all(name)}
    grown = []
    for labels, value in after.all(name):
        more = value - old.get(tuple(sorted(labels.items())), 0.0)
        grown.append((labels, more if more >= 0 else value))
    return grown


def _hit_rate(before: Scrape, after: Scrape) -> float | None:
    counts: dict[str, float] = defaultdict(float)
    for labels, count in _grown(before, after, _CACHE):
        counts[labels.get("outcome", "")] += count
    looked = sum(counts[outcome] for outcome in _LOOKED)
    return sum(counts[outcome] for outcome in _HITS) / looked if looked else None


def _workers(before: Scrape, after: Scrape, seconds: float) -> list[Worker]:
    pids = {w.get("worker", ""): w.get("pid") for w, _ in before.all("ember_worker_info")}
    grown = _by_worker(_grown(before, after, "ember_worker_requests_total"))
    cpu = _by_worker(_grown(before, after, "ember_worker_cpu_seconds_total"))
    resident, connections, uptime, heartbeat = (
        _by_worker(after.all(f"ember_worker_{name}"))
        for name in (
            "resident_memory_bytes",
            "connections",
            "uptime_seconds",
            "heartbeat_age_seconds",
        )
    )
    known = _by_worker(before.all("ember_worker_requests_total"))
    found = []
    for labels, _ in after.all("ember_worker_info"):
        name, pid = labels.get("worker", ""), labels.get("pid", "")
        # The CPU time is that of one process: a new process has no value for this interval.
        same = pids.get(name) == pid and name in cpu
        found.append(
            Worker(
                name,
                _integer(pid),
                labels.get("state", "?"),
                resident.get(name),
                cpu[name] / seconds if same else None,
                # For a new worker it would include the requests of all workers before it.
                grown[name] / seconds if name in grown and name in known else None,
                connections.get(name),
                uptime.get(name),
                heartbeat.get(name),
            )
        )
    return sorted(found, key=lambda w: (len(w.worker), w.worker))


def _by_worker(samples: Any) -> dict[str, float]:
    return {labels.get("worker", ""): value for labels, value in samples}


def _integer(text: str) -> int | None:
    """The number in `text`; None if it is not one of at most 18 digits."""
    return int(text) if text.isascii() and text.isdigit() and len(text) <= 18 else None


def _ms(seconds: float | None) -> float | None:
    return None if seconds is None or seconds == math.inf else round(seconds * 1000, 4)


def _rounded(value: float | None, digits: int) -> float | None:
    return None if value is None else round(value, digits)

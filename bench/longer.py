"""The parts that take longer: run by `--only PART` or `--peers`, each with a file of its own."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

from bench import cache, crud, dev, framework, observe, slow, sse, static, tls, workers
from bench.bar import Bar
from bench.cache import report as cache_report
from bench.crud import report as crud_report
from bench.framework import report as framework_report
from bench.http.tables import Table
from bench.observe import report as observe_report
from bench.slow import report as slow_report
from bench.sse import report as sse_report
from bench.static import report as static_report
from bench.tls import report as tls_report
from bench.workers import report as workers_report

Results = dict[str, Any]


@dataclass(frozen=True)
class Part:
    """How a part is run and told; `run` gets quick, rounds and seconds (None: its own)."""

    title: str
    run: Callable[[bool, int | None, float | None], Results]
    bars: tuple[Bar, ...]
    tables: Callable[[Results], list[Table]]
    panels: Callable[[Results], list[tuple[str, Results]]]


PARTS = {
    "framework": Part(
        "Framework: validation, dependencies, middlewares, start",
        framework.run,
        framework_report.BARS,
        framework_report.tables,
        framework_report.panels,
    ),
    "observe": Part(
        "Being watched: metrics and access log beside neither",
        observe.run,
        observe_report.BARS,
        observe_report.tables,
        observe_report.panels,
    ),
    "slow": Part(
        "Slow and broken clients: what a normal one sees of them",
        slow.run,
        slow_report.BARS,
        slow_report.tables,
        slow_report.panels,
    ),
    "sse": Part(
        "Server-sent events: one worker, many streams",
        sse.run,
        sse_report.BARS,
        sse_report.tables,
        sse_report.panels,
    ),
    "crud": Part(
        "CRUD on PostgreSQL: the task board beside FastAPI and Express",
        crud.run,
        crud_report.BARS,
        crud_report.tables,
        crud_report.panels,
    ),
    "cache": Part(
        "Cache: hits, the store, a stampede, Redis",
        cache.run,
        cache_report.BARS,
        cache_report.tables,
        cache_report.panels,
    ),
    "dev": Part("ember dev: from an edit to its answer", dev.run, dev.BARS, dev.tables, dev.panels),
    "tls": Part(
        "TLS: hello on keep-alive connections, beside uvicorn and granian",
        tls.run,
        tls_report.BARS,
        tls_report.tables,
        tls_report.panels,
    ),
    "static": Part(
        "Static files, beside nginx",
        static.run,
        static_report.BARS,
        static_report.tables,
        static_report.panels,
    ),
    "workers": Part(
        "Workers: even, replaced without a failed request, gone when told",
        workers.run,
        workers_report.BARS,
        workers_report.tables,
        workers_report.panels,
    ),
}

"""The part over TCP: Ember three times, the floor, and with --peers the other servers."""

from __future__ import annotations

from collections.abc import Callable

from bench.bar import Bar, ratio
from bench.http import run as http
from bench.http import targets
from bench.http.run import FLOOR
from bench.http.tables import http_tables
from bench.http.targets import EPOLL, PURE, RING
from bench.part import Options, Part, Results


def _run(options: Options) -> Results:
    wanted = list(targets.EMBER)
    missing: dict[str, str] = {}
    if options.peers:
        from bench.peers import catalogue

        found, missing = catalogue.available()
        wanted += found
    measured = http.run(
        wanted, rounds=options.turns(5), seconds=options.window(1.0), only=options.cases
    )
    measured["missing"] = missing | measured["missing"]
    return measured


def _figure(results: Results, case: str, target: str) -> Results | None:
    figure: Results | None = results.get("http", {}).get("cases", {}).get(case, {}).get(target)
    return figure


def _pipelined(results: Results) -> float | None:
    figure = _figure(results, "pipelined", RING)
    return None if figure is None else float(figure["cpu_us"])


def _ratio(case: str, target: str, to_case: str, to: str) -> Callable[[Results], float | None]:
    def measure(results: Results) -> float | None:
        ours, theirs = _figure(results, case, target), _figure(results, to_case, to)
        return ratio(ours, theirs) if ours and theirs else None

    return measure


def _bar(text: str, limit: float, case: str, target: str, to_case: str, to: str) -> Bar:
    return Bar("http", text, limit, "×", _ratio(case, target, to_case, to))


_GRANIAN, _H11 = "granian (bare ASGI)", "starlette/uvicorn-h11"
BARS = (
    _bar("hello against the floor (aim 1.05)", 1.2, "hello", RING, "hello", FLOOR),
    _bar("json against the floor", 1.35, "json", RING, "json", FLOOR),
    _bar("path parameter against the floor", 1.3, "param", RING, "param", FLOOR),
    _bar("1 KB echo against the floor", 2.0, "echo", RING, "echo", FLOOR),
    Bar("http", "pipelined hello, depth 16", 2.0, "µs", _pipelined),
    _bar("browser-like against small request", 1.3, "browser", RING, "hello", RING),
    _bar("epoll against ring, hello", 1.2, "hello", EPOLL, "hello", RING),
    _bar("hello against granian (bare ASGI)", 1 / 3, "hello", RING, "hello", _GRANIAN),
    _bar("hello against fastapi/uvicorn", 1 / 18, "hello", RING, "hello", "fastapi/uvicorn"),
    _bar("hello against Fiber on one core", 1.0, "hello", RING, "hello", "fiber (1 core)"),
    _bar("pure build against starlette/uvicorn-h11", 1.0, "hello", PURE, "hello", _H11),
)


def panels(part: Results) -> list[tuple[str, Results]]:
    """CPU per request of every server, case by case."""
    return [(part["titles"][case], figures) for case, figures in part["cases"].items()]


PART = Part(
    "HTTP: the server's CPU time per request, beside the floor",
    _run,
    BARS,
    http_tables,
    panels,
    place=1,
)

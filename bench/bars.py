"""The bars: what must be true of the engine, and whether this run showed it."""

from __future__ import annotations

import statistics
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

from bench.http.run import FLOOR

Results = dict[str, Any]
RING, EPOLL, PURE = "ember io_uring", "ember epoll", "ember pure"


@dataclass(frozen=True)
class Bar:
    """One bar, met by at most `limit`; `measure` gives None where the run did not measure it."""

    part: str
    text: str
    limit: float
    unit: str
    measure: Callable[[Results], float | None]

    def line(self, results: Results) -> dict[str, Any] | None:
        """The figure beside the bar, or None where it was not measured."""
        value = self.measure(results)
        if value is None:
            return None
        return {
            "part": self.part,
            "text": self.text,
            "value": round(value, 3),
            "limit": self.limit,
            "unit": self.unit,
            "met": value <= self.limit,
        }


def cpu(results: Results, case: str, target: str) -> float | None:
    """CPU microseconds per request over TCP."""
    figure = _figure(results, case, target)
    return None if figure is None else float(figure["cpu_us"])


def ratio(ours: Results, theirs: Results, key: str = "cpu_us") -> float:
    """How many times `theirs` `ours` costs: the median of the ratios round by round.

    What disturbs the machine for a while disturbs both windows of a round, so the ratio is steadier
    than either figure. Where a round is missing: the ratio of the medians.
    """
    a, b = ours[f"{key}_rounds"], theirs[f"{key}_rounds"]
    if len(a) == len(b):
        return float(statistics.median(x / y for x, y in zip(a, b, strict=True)))
    return float(ours[key] / theirs[key])


def _figure(results: Results, case: str, target: str) -> Results | None:
    figure: Results | None = results.get("http", {}).get("cases", {}).get(case, {}).get(target)
    return figure


def _ratio(case: str, target: str, to_case: str, to: str) -> Callable[[Results], float | None]:
    def measure(results: Results) -> float | None:
        ours, theirs = _figure(results, case, target), _figure(results, to_case, to)
        return ratio(ours, theirs) if ours and theirs else None

    return measure


def _path(*keys: str) -> Callable[[Results], float | None]:
    def measure(results: Results) -> float | None:
        at: Any = results
        for key in keys:
            if not isinstance(at, dict) or key not in at:
                return None
            at = at[key]
        return float(at)

    return measure


def _db(half: str, ours: str, theirs: str, key: str) -> Callable[[Results], float | None]:
    def measure(results: Results) -> float | None:
        figures = results.get("db", {}).get(half, {})
        a, b = figures.get(ours), figures.get(theirs)
        return ratio(a, b, key) if a and b else None

    return measure


def _http(text: str, limit: float, case: str, target: str, to_case: str, to: str) -> Bar:
    return Bar("http", text, limit, "×", _ratio(case, target, to_case, to))


def _memory_fed(text: str, limit: float, case: str) -> Bar:
    return Bar("micro", f"{text}, from memory", limit, "µs", _path("micro", "compiled", case, "us"))


_REQUEST = _db("request", "ember", "starlette/uvicorn", "cpu_us")
_TRIP = _db("roundtrip", RING, "uvloop", "us")
_GRANIAN, _H11 = "granian (bare ASGI)", "starlette/uvicorn-h11"

BARS = (
    _http("hello against the floor (aim 1.05)", 1.2, "hello", RING, "hello", FLOOR),
    _http("json against the floor", 1.35, "json", RING, "json", FLOOR),
    _http("path parameter against the floor", 1.3, "param", RING, "param", FLOOR),
    _http("1 KB echo against the floor", 2.0, "echo", RING, "echo", FLOOR),
    Bar("http", "pipelined hello, depth 16", 2.0, "µs", lambda r: cpu(r, "pipelined", RING)),
    _http("browser-like against small request", 1.3, "browser", RING, "hello", RING),
    _http("epoll against ring, hello", 1.2, "hello", EPOLL, "hello", RING),
    _http("hello against granian (bare ASGI)", 1 / 3, "hello", RING, "hello", _GRANIAN),
    _http("hello against fastapi/uvicorn", 1 / 18, "hello", RING, "hello", "fastapi/uvicorn"),
    _http("hello against Fiber on one core", 1.0, "hello", RING, "hello", "fiber (1 core)"),
    _http("pure build against starlette/uvicorn-h11", 1.0, "hello", PURE, "hello", _H11),
    _memory_fed("hello (aim 0.6)", 0.9, "hello"),
    _memory_fed("json from a dict", 1.6, "json"),
    _memory_fed("int path parameter", 1.3, "param"),
    _memory_fed("browser-like request", 1.4, "browser"),
    _memory_fed("1 KB JSON echo", 3.0, "echo"),
    _memory_fed("awaiting sleep(0)", 2.0, "sleep"),
    Bar("db", "one SELECT, CPU against starlette/uvicorn", 1.0, "×", _REQUEST),
    Bar("db", "asyncpg round trip against uvloop", 1.0, "×", _TRIP),
    Bar("memory", "idle RSS of hello (aim 22)", 24.0, "MiB", _path("memory", "idle_mb")),
    Bar("memory", "per idle connection", 3.0, "KB", _path("memory", "connection_kb")),
    Bar("memory", "left after 20,000 connections", 5.0, "MiB", _path("memory", "left_mb")),
)


def judge(results: Results) -> list[dict[str, Any]]:
    """Every bar that this run measured."""
    return [line for bar in BARS if (line := bar.line(results)) is not None]

"""The bars: what must be true of the engine, and whether this run showed it."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

from bench import longer
from bench.bar import Bar, Results, path, ratio
from bench.http.run import FLOOR

__all__ = ["BARS", "EPOLL", "PURE", "RING", "Bar", "cpu", "judge", "ratio"]

RING, EPOLL, PURE = "ember io_uring", "ember epoll", "ember pure"


def cpu(results: Results, case: str, target: str) -> float | None:
    """CPU microseconds per request over TCP."""
    figure = _figure(results, case, target)
    return None if figure is None else float(figure["cpu_us"])


def _figure(results: Results, case: str, target: str) -> Results | None:
    figure: Results | None = results.get("http", {}).get("cases", {}).get(case, {}).get(target)
    return figure


def _ratio(case: str, target: str, to_case: str, to: str) -> Callable[[Results], float | None]:
    def measure(results: Results) -> float | None:
        ours, theirs = _figure(results, case, target), _figure(results, to_case, to)
        return ratio(ours, theirs) if ours and theirs else None

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
    return Bar("micro", f"{text}, from memory", limit, "µs", path("micro", "compiled", case, "us"))


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
    Bar("memory", "idle RSS of hello (aim 22)", 24.0, "MiB", path("memory", "idle_mb")),
    Bar("memory", "per idle connection", 3.0, "KB", path("memory", "connection_kb")),
    Bar("memory", "left after 20,000 connections", 5.0, "MiB", path("memory", "left_mb")),
)


def judge(results: Results) -> list[dict[str, Any]]:
    """Every bar that this run measured."""
    every = (*BARS, *(bar for part in longer.PARTS.values() for bar in part.bars))
    return [line for bar in every if (line := bar.line(results)) is not None]

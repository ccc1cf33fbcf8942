"""The part with a database: a handler and a loop that wait for PostgreSQL."""

from __future__ import annotations

from collections.abc import Callable

from bench.bar import Bar, ratio
from bench.db import run as db
from bench.http.targets import RING
from bench.part import Options, Part, Results, Table


def _run(options: Options) -> Results:
    quick = options.quick
    return db.run(
        rounds=options.turns(5), seconds=0.3 if quick else 1.5, queries=200 if quick else 500
    )


def _ratio(half: str, ours: str, theirs: str, key: str) -> Callable[[Results], float | None]:
    def measure(results: Results) -> float | None:
        figures = results.get("db", {}).get(half, {})
        a, b = figures.get(ours), figures.get(theirs)
        return ratio(a, b, key) if a and b else None

    return measure


_REQUEST = _ratio("request", "ember", "starlette/uvicorn", "cpu_us")
_TRIP = _ratio("roundtrip", RING, "uvloop", "us")


def tables(part: Results) -> list[Table]:
    """Both halves: a SELECT in a handler, and the bare round trip."""
    found: list[Table] = []
    if part.get("request"):
        rows = [
            [n, f"{f['cpu_us']:.1f}", f"{f['rate']:,}", f"{f['p50_us']:,.0f}"]
            for n, f in part["request"].items()
        ]
        title = "One asyncpg SELECT by key in a handler: CPU µs per request of the server process"
        found.append((title, ["server", "CPU µs", "answers/s", "median µs"], rows))
    if part.get("roundtrip"):
        rows = [
            [name, f"{f['us']:.1f}", f"{f['cpu_us']:.1f}"] for name, f in part["roundtrip"].items()
        ]
        title = "The bare asyncpg round trip, one connection, in sequence"
        found.append((title, ["loop", "µs per round trip", "CPU µs of the client"], rows))
    return found


PART = Part(
    "Database: a handler and a loop that wait for PostgreSQL",
    _run,
    (
        Bar("db", "one SELECT, CPU against starlette/uvicorn", 1.0, "×", _REQUEST),
        Bar("db", "asyncpg round trip against uvloop", 1.0, "×", _TRIP),
    ),
    tables,
    place=3,
)

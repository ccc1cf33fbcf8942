"""The part from memory: what a request costs without a kernel."""

from __future__ import annotations

from bench import micro
from bench.bar import Bar, path
from bench.micro.tables import micro_tables
from bench.part import Options, Part, Results


def _run(options: Options) -> Results:
    return micro.run(seconds=0.2 if options.quick else 1.6)


def _bar(text: str, limit: float, case: str) -> Bar:
    return Bar("micro", f"{text}, from memory", limit, "µs", path("micro", "compiled", case, "us"))


PART = Part(
    "From memory: what a request costs without a kernel",
    _run,
    (
        _bar("hello (aim 0.6)", 0.9, "hello"),
        _bar("json from a dict", 1.6, "json"),
        _bar("int path parameter", 1.3, "param"),
        _bar("browser-like request", 1.4, "browser"),
        _bar("1 KB JSON echo", 3.0, "echo"),
        _bar("awaiting sleep(0)", 2.0, "sleep"),
    ),
    micro_tables,
    place=2,
)

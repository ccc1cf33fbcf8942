"""The framework part: what comfort costs; its bars, tables and panels."""

from __future__ import annotations

import statistics
from collections.abc import Callable

from bench.bar import Bar, path, ratio
from bench.framework import EMBER, FASTAPI, run
from bench.framework.cases import FORMS
from bench.http.run import FLOOR
from bench.http.tables import http_tables
from bench.micro.tables import micro_tables
from bench.part import Part, Results, Table


def _figure(results: Results, case: str, target: str) -> Results | None:
    cases = results.get("framework", {}).get("http", {}).get("cases", {})
    figure: Results | None = cases.get(case, {}).get(target)
    return figure


def _against(case: str, to_case: str, to: str) -> Callable[[Results], float | None]:
    def measure(results: Results) -> float | None:
        ours, theirs = _figure(results, case, EMBER), _figure(results, to_case, to)
        return ratio(ours, theirs) if ours and theirs else None

    return measure


def tree_cost(results: Results, target: str) -> float | None:
    """What the tree adds to the server's own hello: the median of the differences by round."""
    tree, hello = _figure(results, "tree", target), _figure(results, "hello", target)
    if not tree or not hello:
        return None
    pairs = zip(tree["cpu_us_rounds"], hello["cpu_us_rounds"], strict=False)
    return float(statistics.median(a - b for a, b in pairs))


def _trees(results: Results) -> float | None:
    ours, theirs = tree_cost(results, EMBER), tree_cost(results, FASTAPI)
    return None if ours is None or not theirs else ours / theirs


def _optional(results: Results) -> float | None:
    found = results.get("framework", {}).get("start", {}).get("import")
    return None if found is None else float(len(found["optional"]))


BARS = (
    Bar("framework", "Structs against the floor", 1.6, "×", _against("structs", "structs", FLOOR)),
    Bar("framework", "pydantic against FastAPI", 0.1, "×", _against("models", "models", FASTAPI)),
    Bar("framework", "10 dependencies, cost against FastAPI's", 1 / 8, "×", _trees),
    *(
        Bar("framework", f"{title} against hello", 1.05, "×", _against(form, "hello", EMBER))
        for form, title in FORMS.items()
    ),
    Bar("framework", "import, CPU", 60.0, "ms", path("framework", "start", "import", "cpu_ms")),
    Bar("framework", "optional modules imported", 0.0, "", _optional),
    Bar("framework", "500 routes, CPU", 150.0, "ms", path("framework", "start", "plain", "cpu_ms")),
    Bar(
        "framework",
        "500 routes with Structs, CPU",
        150.0,
        "ms",
        path("framework", "start", "structs", "cpu_ms"),
    ),
)


def tables(part: Results) -> list[Table]:
    """Over TCP as the HTTP part shows it, the trees' cost, and the starts."""
    found = http_tables(part["http"])
    if part["micro"].get("compiled"):
        found += micro_tables(part["micro"])
    rows = [
        [name, f"{cost:.2f}"]
        for name in (EMBER, FASTAPI)
        if (cost := tree_cost({"framework": part}, name)) is not None
    ]
    title = "Ten async dependencies: CPU µs over the server's own hello"
    found.append((title, ["server", "µs"], rows))
    start, rows = part["start"], []
    for about in start.values():
        rows.append([about["title"], f"{about['cpu_ms']:.1f}", f"{about['ms']:.1f}"])
        if "lazy_ms" in about:
            rows[-1][0] = "from ember import Ember, Request"
            lazy = ["import ember", f"{about['lazy_cpu_ms']:.1f}", f"{about['lazy_ms']:.1f}"]
            rows.insert(len(rows) - 1, lazy)
    if "import" in start:
        optional = ", ".join(start["import"]["optional"]) or "none"
        rows.append([f"modules that are optional: {optional}", "", ""])
    count = min((about["processes"] for about in start.values()), default=0)
    title = f"Fresh processes (medians of {count}): ms of CPU, and of the wall clock"
    found.append((title, ["what", "CPU ms", "wall ms"], rows))
    return found


def panels(part: Results) -> list[tuple[str, Results]]:
    """The cases over TCP; the forms of middleware in one panel with hello."""
    cases, titles = part["http"]["cases"], part["http"]["titles"]
    found = [(titles[name], cases[name]) for name in ("structs", "models", "tree") if name in cases]
    around = {
        f"ember {form}" if form != "hello" else "ember hello": cases[form][EMBER]
        for form in ("hello", *FORMS)
        if EMBER in cases.get(form, {})
    }
    if around:
        around |= {FLOOR: cases["hello"][FLOOR]}
        found.append(("What stands around a handler: ten empty ones of each form", around))
    return found


PART = Part("Framework: validation, dependencies, middlewares, start", run, BARS, tables, panels)

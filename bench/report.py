"""The results as tables: in colour for the terminal, as Markdown and JSON for the repository."""

from __future__ import annotations

import json
from pathlib import Path

from bench import parts, show
from bench.part import Results, Table
from bench.paths import RESULTS


def _bar_table(judged: list[Results]) -> Table:
    rows = []
    for bar in judged:
        met = "met" if bar["met"] else "MISSED"
        digits = 3 if bar["limit"] < 0.1 else 2
        limit, value = (
            f"{bar['limit']:.{digits}f} {bar['unit']}",
            f"{bar['value']:.{digits}f} {bar['unit']}",
        )
        rows.append([f"{bar['part']}: {bar['text']}", value, f"≤ {limit}", met])
    return ("Against the bars", ["bar", "here", "bar is", ""], rows)


def tables(results: Results) -> list[Table]:
    """Every table of a run, the bars first."""
    found: list[Table] = []
    if judged := parts.judge(results):
        found.append(_bar_table(judged))
    for part, measured in parts.measured(results):
        found += part.tables(measured)
    return found


def missing(results: Results) -> dict[str, str]:
    """Whatever could not be measured, with the reason."""
    found: dict[str, str] = {}
    for part in parts.PARTS:
        found |= results.get(part, {}).get("missing", {})
        if reason := results.get(part, {}).get("failed"):
            found[part] = reason
    return found


def _colour(cell: str) -> str:
    if cell == "met":
        return show.paint(cell, "green")
    if cell == "MISSED":
        return show.paint(cell, "red")
    return show.paint(cell, "yellow") if cell == "missing" else cell


def print_all(results: Results) -> None:
    """The tables, for a person at a terminal."""
    for title, head, rows in tables(results):
        show.heading(title)
        coloured = [[_colour(cell) for cell in row] for row in rows]
        for row in coloured:
            if row[0].startswith("ember"):
                row[0] = show.paint(row[0], "cyan")
        show.table(head, coloured)
    for name, reason in missing(results).items():
        show.warn(f"{name}: {reason}")


def markdown(results: Results, picture: str | None) -> str:
    """The whole report; `picture` is the name of the picture beside it."""
    meta = results["meta"]
    lines = ["# Benchmark results", ""]
    lines += [
        "Written by `python -m bench`; the method is in docs/internals/benchmarks.md.",
        "Absolute figures hold for this machine and moment only; ratios within one run say more.",
        "",
    ]
    lines += [f"- {key}: {value}" for key, value in meta.items()]
    lines += [""]
    if picture:
        lines += [f"![CPU time per request]({picture})", ""]
    for title, head, rows in tables(results):
        lines += [f"## {title}", "", "| " + " | ".join(head) + " |"]
        lines += ["|---|" + "--:|" * (len(head) - 1)]
        lines += ["| " + " | ".join(row) + " |" for row in rows]
        lines += [""]
    if left := missing(results):
        lines += ["## Missing", "", *[f"- {name}: {reason}" for name, reason in left.items()], ""]
    if targets := results.get("http", {}).get("targets"):
        lines += ["## Versions of the servers", ""]
        for name, about in targets.items():
            date = "" if about["date"] else "; sends no Date"
            lines += [f"- {name}: {about['version'] or 'this repository'}{date}"]
        lines += [""]
    return "\n".join(lines)


def write(results: Results, name: str, picture: str | None) -> list[Path]:
    """Write `NAME.json`, `NAME.md` and, where there is a picture, `NAME.svg` into bench/results."""
    RESULTS.mkdir(parents=True, exist_ok=True)
    written = []
    texts = {
        "json": json.dumps({**results, "bars": parts.judge(results)}, indent=1, ensure_ascii=False)
        + "\n",
        "md": markdown(results, f"{name}.svg" if picture else None),
        "svg": picture,
    }
    for suffix, text in texts.items():
        if text is not None:
            path = RESULTS / f"{name}.{suffix}"
            path.write_text(text)
            written.append(path)
    return written

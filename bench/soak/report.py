"""The result of a soak for those who read it later: a page with the table, a picture of memory."""

from __future__ import annotations

import statistics
from collections.abc import Sequence
from html import escape

from bench import machine
from bench.paths import RESULTS
from bench.picture import STYLE

#: (seconds since the start, KiB), in order.
Series = Sequence[tuple[float, float]]
#: What was looked at, what was seen, whether it is as it should be.
Row = tuple[str, str, bool]

WIDTH, HEIGHT, LEFT, TOP, RIGHT, BOTTOM = 880, 340, 60, 60, 24, 46


def slope(points: Series) -> float:
    """KiB a minute of the second half of the points, by least squares."""
    half = points[len(points) // 2 :]
    if len(half) < 3:
        return 0.0
    return statistics.linear_regression([t / 60 for t, _ in half], [y for _, y in half]).slope


def quarters(points: Series) -> list[float]:
    """The median of each quarter of the points, in KiB."""
    size = len(points) // 4
    if not size:
        return []
    return [
        statistics.median(y for _, y in points[i * size : (i + 1) * size or None]) for i in range(4)
    ]


def picture(memory: dict[int, Series], seconds: float, disturbed: float) -> str:
    """Resident memory of every worker over time; grey while workers were killed and reloaded."""
    top = max((y for points in memory.values() for _, y in points), default=1.0) / 1024 * 1.1
    wide, high = WIDTH - LEFT - RIGHT, HEIGHT - TOP - BOTTOM

    def at(t: float, kib: float) -> str:
        return f"{LEFT + wide * t / seconds:.1f},{TOP + high * (1 - kib / 1024 / top):.1f}"

    parts = [
        f'<svg xmlns="http://www.w3.org/2000/svg" viewBox="0 0 {WIDTH} {HEIGHT}" role="img" '
        'aria-label="Resident memory of each worker during the soak">',
        f"<style>{STYLE} .way {{ fill: none; stroke: #e8590c; stroke-width: 1.5; }}</style>",
        f'<rect width="{WIDTH}" height="{HEIGHT}" class="back"/>',
        f'<text x="24" y="32" class="title">Resident memory of each worker, MiB, '
        f"{seconds / 60:g} minutes of mixed traffic</text>",
        f'<rect x="{LEFT}" y="{TOP}" width="{wide * disturbed / seconds:.1f}" height="{high}" '
        'class="bar-floor" opacity=".25"/>',
        f'<text x="{LEFT + 8}" y="{TOP + 16}" class="small">workers killed and reloaded</text>',
    ]
    for step in range(5):
        value = top * step / 4
        y = TOP + high * (1 - step / 4)
        parts.append(f'<line x1="{LEFT}" x2="{LEFT + wide}" y1="{y}" y2="{y}" class="line"/>')
        parts.append(
            f'<text x="{LEFT - 8}" y="{y + 4}" class="small" text-anchor="end">{value:.0f}</text>'
        )
    for step in range(5):
        x = LEFT + wide * step / 4
        parts.append(
            f'<text x="{x}" y="{HEIGHT - 22}" class="small" text-anchor="middle">'
            f"{escape(f'{seconds / 240 * step:g} min')}</text>"
        )
    for points in memory.values():
        way = " ".join(at(t, y) for t, y in points if y)
        if way:
            parts.append(f'<polyline points="{way}" class="way"/>')
    return "\n".join([*parts, "</svg>", ""])


def page(
    rows: Sequence[Row],
    faults: dict[str, int],
    memory: dict[int, Series],
    described: str,
) -> str:
    """The page in Markdown."""
    lines = [
        "# Soak",
        "",
        f"Written by `python -m bench.soak`: {described}.",
        "",
        *(f"- {key}: {value}" for key, value in machine.describe().items()),
        "",
        "| what | seen | |",
        "|---|---|---|",
        *(f"| {name} | {value} | {'ok' if good else '**no**'} |" for name, value, good in rows),
        "",
        "![memory](soak.svg)",
        "",
        "| worker that lived to the end | "
        + " | ".join(f"quarter {n}, MiB" for n in range(1, 5))
        + " | second half, KiB a minute |",
        "|---|---|---|---|---|---|",
    ]
    for pid, points in memory.items():
        cells = " | ".join(f"{y / 1024:.2f}" for y in quarters(points))
        lines.append(f"| {pid} | {cells} | {slope(points):+.1f} |")
    lines += ["", "| fault | times |", "|---|---|"]
    lines += [f"| {kind} | {count:,} |" for kind, count in sorted(faults.items())]
    return "\n".join([*lines, ""])


def write(
    rows: Sequence[Row],
    faults: dict[str, int],
    memory: dict[int, Series],
    longest: Sequence[int],
    *,
    seconds: float,
    disturbed: float,
    described: str,
) -> None:
    """Put soak.md and soak.svg among the results."""
    lived = {pid: memory[pid] for pid in longest}
    (RESULTS / "soak.md").write_text(page(rows, faults, lived, described))
    (RESULTS / "soak.svg").write_text(picture(memory, seconds, disturbed))

"""The picture: CPU time per request as bars, an SVG drawn by hand, light or dark as one reads."""

from __future__ import annotations

from html import escape
from typing import Any

from bench.bar import ratio as ratio_of
from bench.http.run import FLOOR
from bench.parts import measured

WIDTH, LEFT, RIGHT, ROW, BAR = 880, 190, 150, 26, 16
STYLE = """
  text { font: 13px system-ui, -apple-system, 'Segoe UI', sans-serif; fill: #24292f; }
  .title { font-size: 18px; font-weight: 600; } .head { font-size: 14px; font-weight: 600; }
  .small { font-size: 11.5px; fill: #656d76; } .ours { font-weight: 600; }
  .back { fill: #ffffff; } .line { stroke: #d0d7de; stroke-width: 1; }
  .bar { fill: #8c96a3; } .bar-floor { fill: #c3cad2; } .bar-ember { fill: #e8590c; }
  .mark { stroke: #24292f; stroke-width: 1; stroke-dasharray: 2 3; opacity: .55; }
  @media (prefers-color-scheme: dark) {
    text { fill: #e6edf3; } .small { fill: #9198a1; } .back { fill: #0d1117; }
    .line { stroke: #30363d; }
    .bar { fill: #6e7681; } .bar-floor { fill: #484f58; } .bar-ember { fill: #ff7b39; }
    .mark { stroke: #e6edf3; }
  }
"""


def _kind(name: str) -> str:
    return "bar-floor" if name == FLOOR else "bar-ember" if name.startswith("ember") else "bar"


def _text(x: float, y: float, text: str, kind: str = "", anchor: str = "start") -> str:
    return (
        f'<text x="{x:.1f}" y="{y:.1f}" class="{kind}" text-anchor="{anchor}">{escape(text)}</text>'
    )


def _panel(title: str, figures: dict[str, Any], top: float) -> tuple[list[str], float]:
    """One case: a bar per server, cheapest first, cut where one is far beyond the rest."""
    ordered = sorted(figures.items(), key=lambda item: item[1]["cpu_us"])
    floor = figures.get(FLOOR, {}).get("cpu_us")
    values = [figure["cpu_us"] for _, figure in ordered]
    # Slow peers must not squeeze the rest into nothing: bars end at this value, with a mark.
    cut = min(values[-1], max(12 * values[0], 1.05 * values[len(values) // 3]))
    room = WIDTH - LEFT - RIGHT
    parts = [_text(24, top + 14, title, "head")]
    y = top + 28
    for name, figure in ordered:
        value = figure["cpu_us"]
        length = max(2.0, room * min(value, cut) / cut)
        middle = y + BAR / 2 + 4.5
        parts.append(
            _text(LEFT - 10, middle, name, "ours" if name.startswith("ember") else "", "end")
        )
        parts.append(
            f'<rect x="{LEFT}" y="{y}" width="{length:.1f}" height="{BAR}" rx="2" '
            f'class="{_kind(name)}"/>'
        )
        if value > cut * 1.001:
            x = LEFT + room - 14
            parts.append(f'<path d="M{x} {y - 2}l6 {BAR + 4}h5l-6 -{BAR + 4}z" class="back"/>')
        label = f"{value:.2f} µs" if value < 100 else f"{value:.0f} µs"
        if floor and name != FLOOR:
            ratio = ratio_of(figure, figures[FLOOR])
            label += f"  {ratio:.2f}×" if ratio < 10 else f"  {ratio:.0f}×"
        parts.append(_text(LEFT + length + 8, middle, label, "small"))
        y += ROW
    if floor:
        x = LEFT + room * floor / cut
        parts.append(f'<line x1="{x:.1f}" y1="{top + 24}" x2="{x:.1f}" y2="{y - 6}" class="mark"/>')
    return parts, y + 14


def draw(results: dict[str, Any]) -> str | None:
    """The picture of what the parts say of CPU time; None where nothing was measured."""
    every = [panel for part, figures in measured(results) for panel in part.panels(figures)]
    panels = [(title, figures) for title, figures in every if figures]
    if not panels:
        return None
    meta = results["meta"]
    parts = [_text(24, 34, "CPU time of the server (shorter is better)", "title")]
    about = (
        "one worker on one core, medians of interleaved rounds; "
        "× and the dotted line: against the C floor of the same run, where there is one"
    )
    parts.append(_text(24, 56, about, "small"))
    stand = (
        f"{meta['date']}, {meta['cpu']}, {meta['kernel']}, "
        f"Python {meta['python']}, commit {meta.get('commit', '?')}"
    )
    parts.append(_text(24, 73, stand, "small"))
    y: float = 98
    for number, (title, figures) in enumerate(panels):
        if number:
            parts.append(
                f'<line x1="24" y1="{y - 10}" x2="{WIDTH - 24}" y2="{y - 10}" class="line"/>'
            )
        more, y = _panel(title, figures, y + 4)
        parts += more
    height = int(y + 4)
    body = "\n".join(parts)
    return (
        f'<svg xmlns="http://www.w3.org/2000/svg" width="{WIDTH}" height="{height}" '
        f'viewBox="0 0 {WIDTH} {height}" role="img" aria-label="CPU time per request">\n'
        f"<style>{STYLE}</style>\n"
        f'<rect width="{WIDTH}" height="{height}" class="back"/>\n{body}\n</svg>\n'
    )

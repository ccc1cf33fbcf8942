"""What a person sees while it runs: progress on one line, tables in colour."""

from __future__ import annotations

import os
import re
import shutil
import sys
from collections.abc import Sequence

_CODES = {"bold": 1, "dim": 2, "red": 31, "green": 32, "yellow": 33, "cyan": 36}
_ESCAPE = re.compile(r"\x1b\[[0-9;]*m")
#: Colour where a person looks; https://no-color.org is obeyed.
COLOUR = sys.stdout.isatty() and not os.environ.get("NO_COLOR")
_PROGRESS = sys.stderr.isatty()


def paint(text: str, colour: str) -> str:
    """`text` in a colour or weight, where the terminal shows it."""
    return f"\x1b[{_CODES[colour]}m{text}\x1b[0m" if COLOUR else text


def heading(text: str) -> None:
    """Start a part of the run."""
    clear()
    print(f"\n{paint('==>', 'cyan')} {paint(text, 'bold')}", flush=True)


def note(text: str) -> None:
    """One line of plain information."""
    clear()
    print(f"    {text}", flush=True)


def warn(text: str) -> None:
    """One line that must not be overlooked."""
    clear()
    print(f"    {paint('missing', 'yellow')}  {text}", flush=True)


def progress(done: int, total: int, text: str) -> None:
    """Say how far it is: over the same line on a terminal, every tenth elsewhere."""
    if _PROGRESS:
        width = shutil.get_terminal_size().columns - 1
        filled = 24 * done // max(total, 1)
        line = f"    [{'#' * filled}{'.' * (24 - filled)}] {done}/{total} {text}"
        sys.stderr.write(f"\r\x1b[2K{line[:width]}")
        sys.stderr.flush()
    elif done % max(total // 10, 1) == 0:
        print(f"    {done}/{total} {text}", file=sys.stderr, flush=True)


def clear() -> None:
    """Take the progress line away before something else is printed."""
    if _PROGRESS:
        sys.stderr.write("\r\x1b[2K")
        sys.stderr.flush()


def table(head: Sequence[str], rows: Sequence[Sequence[str]]) -> None:
    """Print a table; the first column is text, the others are numbers and stand right."""
    clear()
    cells = [list(head), *[list(row) for row in rows]]
    widths = [max(len(_ESCAPE.sub("", row[i])) for row in cells) for i in range(len(head))]
    for number, row in enumerate(cells):
        parts = []
        for i, cell in enumerate(row):
            room = " " * (widths[i] - len(_ESCAPE.sub("", cell)))
            parts.append(cell + room if i == 0 else room + cell)
        line = "    " + "  ".join(parts)
        print(paint(line, "bold") if number == 0 else line)
    sys.stdout.flush()

"""Colours and tables for terminals; plain text if it is not a terminal, or with NO_COLOR."""

from __future__ import annotations

import os
from collections.abc import Sequence
from typing import TextIO


class Style:
    """Colours for a stream; none if it is not a terminal, or if NO_COLOR is set (no-color.org)."""

    def __init__(self, stream: TextIO) -> None:
        forced = bool(os.environ.get("FORCE_COLOR"))
        self.colours = not os.environ.get("NO_COLOR") and (forced or stream.isatty())

    def _paint(self, code: str, text: str) -> str:
        return f"\x1b[{code}m{text}\x1b[0m" if self.colours else text

    def accent(self, text: str) -> str:
        """Ember's orange."""
        return self._paint("1;38;5;208", text)

    def strong(self, text: str) -> str:
        """Important text."""
        return self._paint("1", text)

    def dim(self, text: str) -> str:
        """Less important text."""
        return self._paint("2", text)

    def good(self, text: str) -> str:
        """Text for success."""
        return self._paint("32", text)

    def bad(self, text: str) -> str:
        """Text for errors."""
        return self._paint("31", text)

    def table(self, head: Sequence[str], rows: Sequence[Sequence[str]]) -> str:
        """A table with left-aligned columns under `head`. The cells are plain text."""
        widths = [max(len(line[i]) for line in (head, *rows)) for i in range(len(head))]

        def line(cells: Sequence[str]) -> str:
            padded = [cell.ljust(width) for cell, width in zip(cells, widths, strict=True)]
            return "  ".join(padded).rstrip()

        return "\n".join([self.dim(line(head)), *map(line, rows)])

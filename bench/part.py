"""What a part of the benchmark is: a folder here whose part.py has a PART (bench/parts.py)."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

from bench.bar import Bar

Results = dict[str, Any]
#: Title, heads of the columns, rows.
Table = tuple[str, list[str], list[list[str]]]


@dataclass(frozen=True)
class Options:
    """What was asked for on the command line."""

    quick: bool = False
    #: None: as many as the part itself would.
    rounds: int | None = None
    #: Of one window; None: as long as the part itself would.
    seconds: float | None = None
    #: Beside the other servers.
    peers: bool = False
    #: Names of HTTP cases; None: all.
    cases: tuple[str, ...] | None = None

    def turns(self, full: int, quick: int = 1) -> int:
        """How many rounds: as asked, else `full`, or `quick` with --quick."""
        return self.rounds or (quick if self.quick else full)

    def window(self, full: float, quick: float = 0.3) -> float:
        """Seconds of a window: as asked, else `full`, or `quick` with --quick."""
        return self.seconds or (quick if self.quick else full)


def nothing_to_draw(part: Results) -> list[tuple[str, Results]]:
    """The panels of a part that a table shows as well as a picture would."""
    return []


@dataclass(frozen=True)
class Part:
    """How a part is run and told.

    `tables` and `panels` (title and figures by server, for the picture) get what `run` returned; it
    may name what is missing under "missing", and why it failed as a whole under "failed".
    """

    title: str
    run: Callable[[Options], Results]
    bars: tuple[Bar, ...]
    tables: Callable[[Results], list[Table]]
    panels: Callable[[Results], list[tuple[str, Results]]] = nothing_to_draw
    #: Its place among the parts of a run without --only, which share one report. None: it takes
    #: longer, is run by --only or --peers, and has a report of its own.
    place: int | None = None

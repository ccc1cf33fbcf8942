"""One bar, and how a ratio is taken: what every part's bars are made of."""

from __future__ import annotations

import statistics
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

Results = dict[str, Any]


@dataclass(frozen=True)
class Bar:
    """One bar, met by at most `limit`; `measure` gives None where the run did not measure it."""

    part: str
    text: str
    limit: float
    unit: str
    measure: Callable[[Results], float | None]

    def line(self, results: Results) -> dict[str, Any] | None:
        """The figure beside the bar, or None where it was not measured."""
        value = self.measure(results)
        if value is None:
            return None
        return {
            "part": self.part,
            "text": self.text,
            "value": round(value, 3),
            "limit": self.limit,
            "unit": self.unit,
            "met": value <= self.limit,
        }


def ratio(ours: Results, theirs: Results, key: str = "cpu_us") -> float:
    """How many times `theirs` `ours` costs: the median of the ratios round by round.

    What disturbs the machine for a while disturbs both windows of a round, so the ratio is steadier
    than either figure. Where a round is missing: the ratio of the medians.
    """
    a, b = ours[f"{key}_rounds"], theirs[f"{key}_rounds"]
    if len(a) == len(b):
        return float(statistics.median(x / y for x, y in zip(a, b, strict=True)))
    return float(ours[key] / theirs[key])


def path(*keys: str) -> Callable[[Results], float | None]:
    """The figure under `keys`; None where the run has none."""

    def measure(results: Results) -> float | None:
        at: Any = results
        for key in keys:
            if not isinstance(at, dict) or key not in at:
                return None
            at = at[key]
        return float(at)

    return measure

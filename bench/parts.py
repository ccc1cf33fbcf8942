"""All parts of the benchmark, found by looking: whoever adds a part touches only its folder."""

from __future__ import annotations

import pkgutil
from collections.abc import Iterator, Sequence
from importlib import import_module
from importlib.util import find_spec
from typing import Any

import bench
from bench.part import Part, Results


def find(folders: Sequence[str]) -> dict[str, Part]:
    """The parts among the packages in `folders`; the usual ones first, by their place."""
    found: dict[str, Part] = {}
    for module in pkgutil.iter_modules(folders):
        name = f"bench.{module.name}"
        if module.ispkg and find_spec(f"{name}.part"):
            found[module.name] = import_module(f"{name}.part").PART

    def order(item: tuple[str, Part]) -> tuple[bool, int, str]:
        name, part = item
        return part.place is None, part.place or 0, name

    return dict(sorted(found.items(), key=order))


PARTS = find(bench.__path__)
#: The parts of a run without --only.
USUAL = tuple(name for name, part in PARTS.items() if part.place is not None)


def measured(results: Results) -> Iterator[tuple[Part, Results]]:
    """The parts that `results` has figures of, with what they returned."""
    for name, part in PARTS.items():
        if results.get(name) and not results[name].get("failed"):
            yield part, results[name]


def judge(results: Results) -> list[dict[str, Any]]:
    """Every bar that this run measured."""
    every = (bar for part in PARTS.values() for bar in part.bars)
    return [line for bar in every if (line := bar.line(results)) is not None]

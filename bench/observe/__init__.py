"""What it costs to be watched: hello plain, with metrics, with an access log to a file."""

from __future__ import annotations

import sys
from typing import Any

from bench.http import run as http
from bench.http.targets import Target
from bench.observe.app import WAYS
from bench.part import Options


def _target(way: str) -> Target:
    return Target(
        way,
        "ember",
        lambda port: [sys.executable, "-m", "bench.observe.app", str(port), way],
        {"EMBER_LOOP": "io_uring"},
    )


def run(options: Options) -> dict[str, Any]:
    """Interleaved rounds of hello in every way; each of many, as little is to be seen."""
    return http.run(
        [_target(way) for way in WAYS],
        rounds=options.turns(9),
        seconds=options.window(1.0),
        only=["hello"],
        floor=False,
    )

"""The core fed from memory: what a request costs without a kernel."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from collections.abc import Sequence
from typing import Any

from bench import machine, show
from bench.paths import ROOT, relative

#: Builds to run, with the environment that chooses them.
BUILDS = {"compiled": {"EMBER_PURE": "0"}, "pure": {"EMBER_PURE": "1"}}


def run(
    *, seconds: float, of: tuple[str, ...] = (), builds: Sequence[str] = tuple(BUILDS)
) -> dict[str, Any]:
    """Feed each build for about `seconds` per case; a build that fails is listed as missing.

    `of`: the modules of an application and of its cases, instead of the HTTP part's.
    """
    results: dict[str, Any] = {"missing": {}}
    for number, build in enumerate(builds):
        env = BUILDS[build]
        show.progress(number, len(builds), f"feeding the {build} core")
        command = [sys.executable, "-m", "bench.micro.worker", build, str(seconds), *of]
        clean = {k: v for k, v in os.environ.items() if not k.startswith("EMBER_")}
        done = subprocess.run(
            machine.pin_command(machine.SERVER_CPU, command),
            env={**clean, **env, "PYTHONPATH": str(ROOT)},
            cwd=ROOT,
            capture_output=True,
            text=True,
            check=False,
            timeout=600,
        )
        if done.returncode:
            lines = (done.stdout or done.stderr).strip().splitlines()
            reason = relative(lines[-1])[:200] if lines else f"status {done.returncode}"
            results["missing"][f"micro, {build}"] = reason
            show.warn(f"micro, {build}: {reason}")
        else:
            results[build] = json.loads(done.stdout)
    show.clear()
    if "compiled" not in results and "pure" not in results:
        results["failed"] = "neither build could be fed"
    return results

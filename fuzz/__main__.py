"""`python -m fuzz [http] [fields] [shared] [tls] [loop] [faults]`: all unless some are named.

SECONDS=60 for all together, of which half are for http; SEED= for a run that can be repeated.
"""

from __future__ import annotations

import asyncio
import logging
import os
import sys
import time
from collections.abc import Callable

from fuzz import faults, fields, http, loop, shared, tls
from fuzz.engine import Finding

TARGETS = ("http", "fields", "shared", "tls", "loop", "faults")


def main(names: list[str]) -> int:
    """Fuzz until the time is up or something is found; the exit status."""
    unknown = sorted(set(names) - set(TARGETS))
    if unknown:
        print(f"python -m fuzz: no target {unknown[0]!r}; there are {', '.join(TARGETS)}")
        return 2
    chosen = [target for target in TARGETS if target in names or not names]
    seconds = float(os.environ.get("SECONDS", "60"))
    seed = int(os.environ.get("SEED") or time.time_ns() % 1_000_000_007)
    print(f"fuzzing {', '.join(chosen)}: {seconds:g} s, SEED={seed}")
    # A line for everything that a client does wrong is not what this is about.
    logging.getLogger("ember.protocol").setLevel(logging.ERROR)
    logging.getLogger("python_multipart").setLevel(logging.CRITICAL)
    logging.getLogger("asyncio").setLevel(logging.ERROR)
    shares = {target: 3.0 if target == "http" else 1.0 for target in chosen}
    for target in chosen:
        share = seconds * shares[target] / sum(shares.values())
        if target == "http":
            status = asyncio.run(http.run(share, seed))
            if status:
                return status
        elif not told(target, share, seed):
            return 1
    return 0


_RUNS: dict[str, Callable[[float, int], dict[str, int]]] = {
    "fields": lambda seconds, seed: asyncio.run(fields.run(seconds, seed)),
    "shared": shared.run,
    "tls": tls.run,
    "loop": loop.run,
    "faults": faults.run,
}


def told(target: str, seconds: float, seed: int) -> bool:
    """Run it, and print what came out; False when something was found."""
    try:
        counts = _RUNS[target](seconds, seed)
    except Finding as finding:
        print(f"{http.RED}found{http.OFF}: {finding}")
        return False
    print(f"{http.GREEN}{target}: nothing found{http.OFF}")
    for kind, times in sorted(counts.items()):
        print(f"  {times:>8}  {kind}")
    return True


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))

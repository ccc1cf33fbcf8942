"""In the process with the shim: let one call after the other fail, and see what became of it.

Not found to be a fault: a connection that ends early, a 503 or 500. Found: a wrong byte, a client
that waits in vain, a server that does not answer the next one, whatever is left over.
"""

from __future__ import annotations

import argparse
import json
import logging
import os
import random
import resource
import sys
import tempfile
import time
from collections import Counter
from collections.abc import Iterator
from pathlib import Path
from typing import Any

from fuzz.faults.clients import BIG, Client, Found
from fuzz.faults.places import HotPath, Lived, Served, Shaken, shim

#: Bytes of address space.
MEMORY = 4 << 30

#: What is tried, the part of the time that it has, and the last place where a call fails.
KINDS: dict[str, tuple[Any, float, int]] = {
    "served": (Served, 0.4, 400),
    "hot": (HotPath, 0.3, 2000),
    "shaken": (Shaken, 0.1, 4000),
    "lived": (Lived, 0.2, 60),
}


def faults(kind: str, most: int) -> Iterator[list[Any]]:
    """What is to be tried: each call with each error, at each place; once, and twice in a row.

    Python's allocations only once: code that Cython makes for `except` does not expect an exception
    whose traceback could not be made either.
    """
    for call, errors in KINDS[kind][0].calls.items():
        for error in errors:
            for times in (1,) if call == "python" else (1, 2):
                for nth in range(1, most + 1):
                    yield [kind, call, nth, times, error]


def try_all(kind: str, file: Path, chosen: list[list[Any]], seconds: float) -> Counter[str]:
    """How often which call failed. A fault that is found ends the process."""
    end = time.monotonic() + seconds
    counts: Counter[str] = Counter()
    #: how many calls there were: later places need not be tried
    seen_of: dict[str, int] = {}
    at = KINDS[kind][0](file)
    for fault in chosen:
        _, call, nth, times, error = fault
        if time.monotonic() > end:
            break
        if nth > seen_of.get(call, nth) * 1.2 + 2:
            continue
        try:
            seen, failed = at.try_one(call, nth, times, error)
        except Found as found:
            print(f"{json.dumps(fault)}: {found}")
            sys.stdout.flush()
            os._exit(1)  # what hangs would keep the process
        if not failed:
            seen_of[call] = max(seen, seen_of.get(call, 0))
        counts[f"{kind}: {call}"] += bool(failed)
    at.end()
    return counts


def main() -> int:
    parser = argparse.ArgumentParser()
    parser.add_argument("--seconds", type=float, default=60.0)
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("--kinds", default=",".join(KINDS))
    parser.add_argument(
        "--only", help="one fault, as it was printed: [kind, call, nth, times, errno]"
    )
    parser.add_argument("--timeout", type=float, default=Client.timeout, help="seconds")
    options = parser.parse_args()
    Client.timeout = options.timeout
    logging.disable(logging.CRITICAL)
    if "libasan" not in os.environ.get("LD_PRELOAD", ""):
        # What allocates without end is found out before the machine has no memory.
        resource.setrlimit(resource.RLIMIT_AS, (MEMORY, MEMORY))
    assert shim.fault_watch(), "none of the compiled modules was found"
    shim.fault_python()
    counts: Counter[str] = Counter()
    with tempfile.TemporaryDirectory() as folder:
        file = Path(folder) / "file"
        file.write_bytes(BIG)
        if options.only:
            fault = json.loads(options.only)
            counts = try_all(fault[0], file, [fault], options.seconds)
        else:
            kinds = options.kinds.split(",")
            whole = sum(KINDS[kind][1] for kind in kinds)
            for kind in kinds:
                _, part, most = KINDS[kind]
                chosen = list(faults(kind, most))
                random.Random(options.seed).shuffle(chosen)
                counts += try_all(kind, file, chosen, options.seconds * part / whole)
    for name, times in sorted(counts.items()):
        print(f"{name} {times}")
    return 0


if __name__ == "__main__":
    sys.exit(main())

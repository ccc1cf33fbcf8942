"""CPython's own asyncio tests on this loop, beside a run on stock asyncio.

    python -m tests.loop [--backend io_uring|epoll] [--module NAME ...] [--pattern TEXT] [--quick]

Every test that passes on stock asyncio must pass here; those that need not are listed, with the
reason, in exceptions.txt. Exit status 1 otherwise, also when a listed test passes after all.
"""

from __future__ import annotations

import argparse
import json
import os
import subprocess
import sys
import time
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

from tests.support.interrupts import heed_interrupts

MODULES = [
    "test_base_events",
    "test_buffered_proto",
    "test_context",
    "test_eager_task_factory",
    "test_events",
    "test_free_threading",
    "test_futures",
    "test_futures2",
    "test_locks",
    "test_pep492",
    "test_protocols",
    "test_queues",
    "test_runners",
    "test_selector_events",
    "test_sendfile",
    "test_server",
    "test_sock_lowlevel",
    "test_ssl",
    "test_sslproto",
    "test_staggered",
    "test_streams",
    "test_subprocess",
    "test_taskgroups",
    "test_tasks",
    "test_threads",
    "test_timeouts",
    "test_transports",
    "test_unix_events",
    "test_waitfor",
]
#: Those that say most per second; part of the ordinary suite.
QUICK = ["test_buffered_proto", "test_server", "test_sock_lowlevel", "test_streams", "test_context"]
BACKENDS = ["io_uring", "epoll"]
DEADLINE = 300.0
ROOT = Path(__file__).resolve().parents[2]

Outcomes = dict[str, list[str]]


def known_exceptions() -> dict[str, str]:
    """Test names (module.Class.test) and why each need not pass."""
    found = {}
    for line in (Path(__file__).parent / "exceptions.txt").read_text().splitlines():
        if line.strip() and not line.startswith("#"):
            name, _, reason = line.partition(" ")
            if not reason.strip():
                raise SystemExit(f"exceptions.txt: {name} has no reason")
            found[name] = reason.strip()
    return found


def run(module: str, backend: str, patterns: list[str]) -> Outcomes:
    """The outcome of every test of one module on one loop; a crash is an outcome of its own."""
    command = [sys.executable, "-m", "tests.loop.worker", backend, module, *patterns]
    environment = {**os.environ, "PYTHONWARNINGS": ""}
    environment.pop("EMBER_LOOP", None)
    try:
        done = subprocess.run(
            command, cwd=ROOT, env=environment, capture_output=True, text=True, timeout=DEADLINE
        )
    except subprocess.TimeoutExpired:
        return {f"test.test_asyncio.{module}": ["failed", f"not done after {DEADLINE:.0f} s"]}
    lines = done.stdout.strip().splitlines()
    if done.returncode != 0 or not lines:
        return {f"test.test_asyncio.{module}": ["failed", f"{done.returncode}\n{done.stderr}"]}
    outcomes: Outcomes = json.loads(lines[-1])
    return outcomes


def short(name: str) -> str:
    return name.removeprefix("test.test_asyncio.")


def compare(stock: Outcomes, ours: Outcomes) -> dict[str, str]:
    """What fails (or is missing) here and passes on stock asyncio, with what it said."""
    if len(ours) == 1 and not ours.keys() & stock.keys():
        return {short(name): f"the whole module: {text}" for name, (_, text) in ours.items()}
    worse = {}
    for name, (outcome, _) in stock.items():
        here, text = ours.get(name, ["missing", ""])
        if outcome == "passed" and here != "passed":
            worse[short(name)] = f"{here}: {text}"
    return worse


def main() -> int:
    heed_interrupts()
    parser = argparse.ArgumentParser(prog="python -m tests.loop", description=__doc__)
    parser.add_argument("--backend", choices=BACKENDS, action="append")
    parser.add_argument("--module", action="append", metavar="NAME")
    parser.add_argument("--pattern", action="append", default=[], metavar="TEXT")
    parser.add_argument("--quick", action="store_true", help="a few modules only")
    parser.add_argument("--jobs", type=int, default=2)
    options = parser.parse_args()
    modules = options.module or (QUICK if options.quick else MODULES)
    backends = options.backend or BACKENDS
    excused = known_exceptions()
    colour = sys.stdout.isatty()

    def paint(code: str, text: str) -> str:
        return f"\033[{code}m{text}\033[0m" if colour else text

    print(f"{'module':<26}{'tests':>7}{'stock':>7}" + "".join(f"{b:>14}" for b in backends))
    bad: dict[str, str] = {}
    revived: set[str] = set()
    start = time.monotonic()
    with ThreadPoolExecutor(options.jobs) as pool:
        jobs = {
            (m, b): pool.submit(run, m, b, options.pattern)
            for m in modules
            for b in ["asyncio", *backends]
        }
        for module in modules:
            stock = jobs[module, "asyncio"].result()
            if not stock:
                continue
            passed = sum(outcome == "passed" for outcome, _ in stock.values())
            row = f"{module:<26}{len(stock):>7}{passed:>7}"
            for backend in backends:
                ours = jobs[module, backend].result()
                worse = compare(stock, ours)
                new = {name: text for name, text in worse.items() if name not in excused}
                revived |= {
                    name
                    for name in excused
                    if name not in worse and any(short(t) == name for t in ours)
                }
                bad |= {f"{backend} {name}": text for name, text in new.items()}
                if new:
                    cell = paint("31", f"{len(new)} fail".rjust(14))
                elif worse:
                    cell = paint("33", f"{len(worse)} excused".rjust(14))
                else:
                    cell = paint("32", "ok".rjust(14))
                row += cell
            print(row, flush=True)
    for name, text in bad.items():
        print(f"\n{paint('31', name)}\n{text.strip()}")
    for name in sorted(revived):
        print(f"\n{paint('31', name)} passes: take it out of exceptions.txt")
    took = time.monotonic() - start
    verdict = "failed" if bad or revived else "none fails that passes on stock asyncio"
    print(f"\n{verdict}, {took:.0f} s")
    return 1 if bad or revived else 0


if __name__ == "__main__":
    sys.exit(main())

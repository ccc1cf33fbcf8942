"""`python -m bench`: about five minutes of measuring; `--peers`: the long run beside others."""

from __future__ import annotations

import argparse
import signal
import sys
import time
from collections.abc import Callable
from typing import Any

from bench import cases, machine, memory, micro, picture, report, show
from bench.db import run as db
from bench.http import run as http
from bench.http import targets
from bench.paths import relative


def _options() -> argparse.Namespace:
    parser = argparse.ArgumentParser(
        prog="python -m bench",
        description="Measure Ember; the method is in docs/internals/benchmarks.md.",
    )
    add = parser.add_argument
    add("--peers", action="store_true", help="beside the other servers (installs them; long)")
    add("--only", default=",".join(PARTS), help=f"parts to run, of {','.join(PARTS)}")
    add("--cases", help="HTTP cases to run, of hello,json,param,echo,pipelined,browser")
    add("--quick", action="store_true", help="short rounds: does it work, not how fast is it")
    add("--rounds", type=int, help="rounds of the HTTP part (default 5; --quick 1)")
    add("--seconds", type=float, help="seconds of one HTTP window (default 1; --quick 0.3)")
    add("--name", help="files in bench/results (default: latest, or peers; --quick: none)")
    options = parser.parse_args()
    options.only = options.only.split(",")
    if unknown := set(options.only) - set(PARTS):
        parser.error(f"--only {','.join(sorted(unknown))}: the parts are {', '.join(PARTS)}")
    options.cases = options.cases.split(",") if options.cases else None
    if unknown := set(options.cases or ()) - {case.name for case in cases.HTTP}:
        parser.error(f"--cases {','.join(sorted(unknown))}: see --help for the names")
    return options


def _http(options: argparse.Namespace) -> dict[str, Any]:
    wanted = list(targets.EMBER)
    missing: dict[str, str] = {}
    if options.peers:
        from bench.peers import catalogue

        found, missing = catalogue.available()
        wanted += found
    rounds = options.rounds or (1 if options.quick else 5)
    seconds = options.seconds or (0.3 if options.quick else 1.0)
    measured = http.run(wanted, rounds=rounds, seconds=seconds, only=options.cases)
    measured["missing"] = missing | measured["missing"]
    return measured


def _micro(options: argparse.Namespace) -> dict[str, Any]:
    return micro.run(seconds=0.2 if options.quick else 1.6)


def _db(options: argparse.Namespace) -> dict[str, Any]:
    quick = options.quick
    rounds = options.rounds or (1 if quick else 5)
    return db.run(rounds=rounds, seconds=0.3 if quick else 1.5, queries=200 if quick else 500)


def _memory(options: argparse.Namespace) -> dict[str, Any]:
    quick = options.quick
    return memory.run(connections=1000 if quick else 10_000, churned=2000 if quick else 20_000)


Measure = Callable[[argparse.Namespace], dict[str, Any]]
PARTS: dict[str, tuple[str, Measure]] = {
    "micro": ("From memory: what a request costs without a kernel", _micro),
    "http": ("HTTP: the server's CPU time per request, beside the floor", _http),
    "db": ("Database: a handler and a loop that wait for PostgreSQL", _db),
    "memory": ("Memory: idle, with many connections, and after them", _memory),
}


def main() -> None:
    """Run the parts, print the tables, write the files."""
    options = _options()
    # Ended from outside, it still stops the servers that it started.
    signal.signal(signal.SIGTERM, lambda *_: sys.exit(143))
    started = time.monotonic()
    results: dict[str, Any] = {"meta": machine.describe()}
    show.heading("Ember's benchmark")
    for key, value in results["meta"].items():
        show.note(f"{key}: {value}")
    if machine.SHARED_CORE:
        show.note("only one core: the generator shares it; believe the CPU figures only")
    others = machine.Others()
    for name in options.only:
        title, measure = PARTS[name]
        show.heading(title)
        results[name] = measure(options)
    share = others.share()
    results["meta"]["others"] = f"{share:.0%} of the machine's CPU time went to others"
    report.print_all(results)
    if share > 0.05:
        show.note(f"{show.paint('noisy', 'yellow')}: {results['meta']['others']}; run it again")
    name = options.name or (None if options.quick else "peers" if options.peers else "latest")
    if name:
        for path in report.write(results, name, picture.draw(results)):
            show.note(f"wrote {relative(str(path))}")
    show.note(f"{time.monotonic() - started:.0f} s")


if __name__ == "__main__":
    main()

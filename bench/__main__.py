"""`python -m bench`: about five minutes of measuring; `--peers`: the long run beside others."""

from __future__ import annotations

import argparse
import signal
import sys
import time
from collections.abc import Callable
from typing import Any

from bench import cases, longer, machine, memory, micro, picture, report, show
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
    add("--only", help=f"parts to run, of {','.join(PARTS)}; without it the longer are left out")
    add("--cases", help="HTTP cases to run, of hello,json,param,echo,pipelined,browser")
    add("--quick", action="store_true", help="short rounds: does it work, not how fast is it")
    add("--rounds", type=int, help="rounds of a part over TCP (default 5 to 9; --quick 1)")
    add("--seconds", type=float, help="seconds of one window (default about 1; --quick 0.3)")
    add("--name", help="files in bench/results (default: latest, peers, PART; --quick: none)")
    options = parser.parse_args()
    every = PARTS if options.peers else _SHORT
    options.only = options.only.split(",") if options.only else list(every)
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
_SHORT: dict[str, tuple[str, Measure]] = {
    "micro": ("From memory: what a request costs without a kernel", _micro),
    "http": ("HTTP: the server's CPU time per request, beside the floor", _http),
    "db": ("Database: a handler and a loop that wait for PostgreSQL", _db),
    "memory": ("Memory: idle, with many connections, and after them", _memory),
}


def _longer(part: longer.Part) -> tuple[str, Measure]:
    return part.title, lambda options: part.run(options.quick, options.rounds, options.seconds)


PARTS = _SHORT | {name: _longer(part) for name, part in longer.PARTS.items()}


def _measure(parts: list[str], options: argparse.Namespace, meta: dict[str, str]) -> dict[str, Any]:
    """Run `parts`; beside them stands who else used the machine meanwhile."""
    results: dict[str, Any] = {"meta": dict(meta)}
    others = machine.Others()
    for name in parts:
        title, measure = PARTS[name]
        show.heading(title)
        results[name] = measure(options)
    share = others.share()
    results["meta"]["others"] = f"{share:.0%} of the machine's CPU time went to others"
    if share > 0.05:
        results["meta"]["others"] += ": noisy"
    report.print_all(results)
    if share > 0.05:
        show.note(f"{show.paint('noisy', 'yellow')}: {results['meta']['others']}; run it again")
    return results


def main() -> None:
    """Run the parts, print the tables, write the files."""
    options = _options()
    # Ended from outside, it still stops the servers that it started.
    signal.signal(signal.SIGTERM, lambda *_: sys.exit(143))
    started = time.monotonic()
    meta = machine.describe()
    show.heading("Ember's benchmark")
    for key, value in meta.items():
        show.note(f"{key}: {value}")
    if machine.SHARED_CORE:
        show.note("only one core: the generator shares it; believe the CPU figures only")
    runs = [("peers" if options.peers else "latest", [x for x in options.only if x in _SHORT])]
    runs += [(name, [name]) for name in options.only if name not in _SHORT]
    for default, parts in runs:
        if not parts:
            continue
        results = _measure(parts, options, meta)
        if name := options.name or (None if options.quick else default):
            for path in report.write(results, name, picture.draw(results)):
                show.note(f"wrote {relative(str(path))}")
    show.note(f"{time.monotonic() - started:.0f} s")


if __name__ == "__main__":
    main()

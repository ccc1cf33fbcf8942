"""`python -m bench`: about five minutes of measuring; `--peers`: the long run beside others."""

from __future__ import annotations

import argparse
import signal
import sys
import time
from collections.abc import Sequence
from dataclasses import dataclass

from bench import cases, machine, picture, report, show
from bench.part import Options, Results
from bench.parts import PARTS, USUAL
from bench.paths import relative


@dataclass(frozen=True)
class Asked:
    """What is run, with which options, and the name of its files (None: that of what was run)."""

    parts: tuple[str, ...]
    options: Options
    name: str | None


def _asked() -> Asked:
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
    given = parser.parse_args()
    parts = given.only.split(",") if given.only else tuple(PARTS) if given.peers else USUAL
    if unknown := set(parts) - set(PARTS):
        parser.error(f"--only {','.join(sorted(unknown))}: the parts are {', '.join(PARTS)}")
    wanted = tuple(given.cases.split(",")) if given.cases else None
    if unknown := set(wanted or ()) - {case.name for case in cases.HTTP}:
        parser.error(f"--cases {','.join(sorted(unknown))}: see --help for the names")
    options = Options(given.quick, given.rounds, given.seconds, given.peers, wanted)
    return Asked(tuple(parts), options, given.name)


def _measure(parts: Sequence[str], options: Options, meta: dict[str, str]) -> Results:
    """Run `parts`; beside them stands who else used the machine meanwhile."""
    results: Results = {"meta": dict(meta)}
    others = machine.Others()
    for name in parts:
        show.heading(PARTS[name].title)
        results[name] = PARTS[name].run(options)
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
    asked = _asked()
    options = asked.options
    # Ended from outside, it still stops the servers that it started.
    signal.signal(signal.SIGTERM, lambda *_: sys.exit(143))
    started = time.monotonic()
    meta = machine.describe()
    show.heading("Ember's benchmark")
    for key, value in meta.items():
        show.note(f"{key}: {value}")
    if machine.SHARED_CORE:
        show.note("only one core: the generator shares it; believe the CPU figures only")
    runs = [("peers" if options.peers else "latest", [x for x in asked.parts if x in USUAL])]
    runs += [(name, [name]) for name in asked.parts if name not in USUAL]
    for default, parts in runs:
        if not parts:
            continue
        results = _measure(parts, options, meta)
        if name := asked.name or (None if options.quick else default):
            for path in report.write(results, name, picture.draw(results)):
                show.note(f"wrote {relative(str(path))}")
    show.note(f"{time.monotonic() - started:.0f} s")


if __name__ == "__main__":
    main()

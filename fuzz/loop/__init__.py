"""The loop beside stock asyncio: random programs, and what could be seen of them on each.

`program` makes the programs, `play` and its `steps` carry one out, `reasons` lists the differences
that are meant. `python -m fuzz loop`; EMBER_LOOP=io_uring or epoll chooses one backend.
"""

from __future__ import annotations

import asyncio
import functools
import os
import ssl
import tempfile
import time
from collections import Counter
from collections.abc import Callable
from pathlib import Path

import trustme
from ember._build import PURE

from fuzz.engine import Finding
from fuzz.loop.play import History
from fuzz.loop.program import Maker, Program, shrink
from fuzz.loop.program_reasons import reason_in
from fuzz.loop.reasons import CLOSES_AT_EOF, MOVES, reason_for
from fuzz.loop.steps import Player

#: Programs that a shrinking may try.
SHRINK_TRIES = 150
#: How often a program is carried out on each loop before a difference counts.
AGAIN = 3

Factory = Callable[[], asyncio.AbstractEventLoop]


def loops() -> dict[str, Factory]:
    """Our loops by the name of their backend; none in the pure build."""
    if PURE:
        return {}
    from ember.eventloop import Loop
    from ember.eventloop._stream import probe_ring

    names = [os.environ["EMBER_LOOP"]] if os.environ.get("EMBER_LOOP") else ["io_uring", "epoll"]
    if probe_ring() is not None:
        names = ["epoll"]
    return {name: functools.partial(Loop, backend=name) for name in names}


@functools.cache
def contexts() -> tuple[ssl.SSLContext, ssl.SSLContext]:
    """What a client and a server of this process need for TLS with each other."""
    authority = trustme.CA()
    with tempfile.TemporaryDirectory() as folder:
        roots, pem = Path(folder) / "roots.pem", Path(folder) / "server.pem"
        authority.cert_pem.write_to_path(str(roots))
        authority.issue_cert("localhost").private_key_and_cert_chain_pem.write_to_path(str(pem))
        client = ssl.create_default_context(cafile=str(roots))
        server = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
        server.load_cert_chain(str(pem))
    return client, server


def carry_out(program: Program, factory: Factory) -> History:
    """What could be seen of it; raises `Finding` for what may never be."""
    tls = any(c.kind.startswith("tls") for c in program.connections)
    play = Player(program, contexts() if tls else None)
    with asyncio.Runner(loop_factory=factory) as runner:
        runner.run(play.run())
    for protocol in play.protocols:
        check_order(protocol.name, play.history[protocol.name], play.wrong)
    if play.wrong:
        raise Finding("; ".join(play.wrong) + f"\n{play.history}")
    return play.history


def check_order(name: str, lines: list[str], wrong: list[str]) -> None:
    """What asyncio promises about the callbacks of any one connection."""
    told = [line.partition(" ")[0] for line in lines]
    calls = [call for call in told if call in ("made", "data", "eof", "pause", "resume", "lost")]
    if told.count("lost") != 1 or calls[-1] != "lost":
        wrong.append(
            f"{name}: connection_lost is not the last call, or not the only one of its kind"
        )
    if told.count("eof") == 1 and "data" in calls[calls.index("eof") :]:
        wrong.append(f"{name}: data_received after eof_received")
    flow = [call for call in calls if call in ("pause", "resume")]
    if any(call != ("pause", "resume")[i % 2] for i, call in enumerate(flow)):
        wrong.append(f"{name}: pause_writing and resume_writing do not take turns")


def difference(program: Program, stock: History, ours: History, counts: Counter[str]) -> str | None:
    """What differs without a reason, or None."""
    for name in sorted(stock.keys() | ours.keys()):
        expected, seen = stock.get(name, []), ours.get(name, [])
        if expected == seen:
            continue
        number = int(name.split()[0]) if name[0].isdecimal() else -1
        reason = reason_for(expected, seen)
        if reason is None:
            reason = reason_in(program, number, name, expected, seen)
        if reason in CLOSES_AT_EOF and program.connections[number].keep_open:
            reason = None  # it was to go on after the end of its peer
        if reason is None:
            return f"{name}:\n    asyncio {expected}\n    ember   {seen}"
        counts[f"a difference with a reason: {reason}"] += 1
        if any((number, callback) in program.reactions for callback in MOVES.get(reason, ())):
            counts["compared up to there: what comes of it is elsewhere too"] += 1
            return None
    return None


def examine(program: Program, factory: Factory, counts: Counter[str]) -> str | None:
    """What is wrong with this program on this loop, or None."""
    stock: Factory = asyncio.SelectorEventLoop
    try:
        ours = carry_out(program, factory)
    except Finding as finding:
        try:
            carry_out(program, stock)
        except Finding:
            counts["the same is wrong on stock asyncio"] += 1
            return None
        return str(finding)
    if not program.exact:
        return None
    try:
        expected = carry_out(program, stock)
        found = difference(program, expected, ours, counts)
        if found is None:
            return None
        # A program that comes out differently by itself says nothing.
        for _ in range(AGAIN):
            if carry_out(program, stock) != expected or carry_out(program, factory) != ours:
                counts["not the same twice"] += 1
                return None
    except Finding:
        counts["the same is wrong on stock asyncio"] += 1
        return None
    return found


def smallest(program: Program, name: str, factory: Factory, found: str) -> Finding:
    """What was found, and with it the smallest program that shows it too."""

    def shows(candidate: Program) -> bool:
        return examine(candidate, factory, Counter()) is not None

    least = shrink(program, shows, SHRINK_TRIES)
    text = examine(least, factory, Counter()) or f"{found}\n(gone when tried again)"
    return Finding(f"on {name}: {text}\n{least}")


def check(program: Program, factories: dict[str, Factory], counts: Counter[str]) -> None:
    """Raises `Finding` with the smallest program that shows it."""
    for name, factory in factories.items():
        found = examine(program, factory, counts)
        if found is not None:
            raise smallest(program, name, factory, found)
    counts["programs compared" if program.exact else "programs in any order"] += 1


def run(seconds: float, seed: int) -> dict[str, int]:
    """For so long; raises `Finding`. Returns what there was, by kind."""
    counts: Counter[str] = Counter()
    factories = loops()
    end = time.monotonic() + seconds
    while factories and time.monotonic() < end:
        seed += 1
        program = Maker(seed).program()
        note = os.environ.get("EMBER_FUZZ_NOTE")
        if note:
            # What a crash of the whole process was about.
            Path(note).write_text(f"SEED={seed - 1}\n{program}\n")
        try:
            check(program, factories, counts)
        except Finding as finding:
            raise Finding(f"SEED={seed - 1}: {finding}") from None
    return dict(counts)

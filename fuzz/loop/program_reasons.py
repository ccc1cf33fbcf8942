"""Differences that only a program which does certain things may have: see `reasons`."""

from __future__ import annotations

from collections.abc import Callable

from fuzz.loop.program import Program
from fuzz.loop.reasons import Lines, bytes_of, lost_unseen, only_the_bytes_differ


def an_abort(program: Program, number: int, stock: Lines, ours: Lines) -> bool:
    """An abort drops what waits, and how much waits is up to the kernel."""
    aborts = program.asks_for("abort", number) or program.asks_for("raise", number)
    return aborts and only_the_bytes_differ(stock, ours)


def a_write_when_lost(program: Program, number: int, stock: Lines, ours: Lines) -> bool:
    """Stock asyncio still sends what `connection_lost` writes after some closes."""
    return program.writes_when_lost(number) and only_the_bytes_differ(stock, ours)


def a_write_behind_a_close(program: Program, number: int, stock: Lines, ours: Lines) -> bool:
    """Stock asyncio sends what is written behind a close while something still waits, and drops it
    once the kernel has taken all."""
    if not program.closes(number) or not only_the_bytes_differ(stock, ours):
        return False
    return bytes_of(stock[-1]) - bytes_of(ours[-1]) in program.last_writes(number)


def a_reset_found_by_sending(program: Program, number: int, stock: Lines, ours: Lines) -> bool:
    """Who does not read finds a reset by sending: no longer, when all has left."""
    return program.asks_for("pause", number) and lost_unseen(stock, ours)


def a_reset_before_a_pause(program: Program, number: int, stock: Lines, ours: Lines) -> bool:
    """The ring may have read the reset before the callback that pauses. A peer that closes with
    bytes unread sends one too."""
    resets = any(program.asks_for(name, number) for name in ("peer_reset", "peer_close"))
    asks = resets and program.asks_for("pause", number)
    return asks and ours[-1:] == ["lost ConnectionResetError"] and lost_unseen(ours, stock)


def a_callback_that_acts(program: Program, number: int, stock: Lines, ours: Lines) -> bool:
    """The first difference is a pause, a resume or an end that came at another time, and does
    something then: what comes of it is elsewhere too."""
    for one, other in (stock, ours), (ours, stock):
        for i, line in enumerate(one):
            if line == (other[i] if i < len(other) else None):
                continue
            if (number, line) not in program.reactions:
                break
            if line in ("pause", "resume") and line in other[i:]:
                return True
            # One batch tells of the end of a peer that has closed, and fails what is sent to it.
            gone = ("lost BrokenPipeError", "lost ConnectionResetError")
            if line == "eof" and i < len(other) and other[i] in gone:
                return True
            break
    return False


def lost_after_the_program(program: Program, number: int, stock: Lines, ours: Lines) -> bool:
    """What `connection_lost` does is in one history alone. A transport that closes is lost when the
    kernel has taken its last byte: it may be that only the end of the program makes room for it."""
    reacts = (number, "lost") in program.reactions and program.closes(number)
    return reacts and (not stock or not ours)


PROGRAM_REASONS: dict[str, Callable[[Program, int, Lines, Lines], bool]] = {
    "an abort drops what waits": an_abort,
    "a write after the end is in vain": a_write_when_lost,
    "a write behind a close is in vain when all has left": a_write_behind_a_close,
    "who does not read finds a reset by sending": a_reset_found_by_sending,
    "the reset was read before a pause": a_reset_before_a_pause,
    "a callback that acts came at another time": a_callback_that_acts,
}


def reason_in(program: Program, number: int, name: str, stock: Lines, ours: Lines) -> str | None:
    """The name of the reason why the histories of `name` may differ in this program, or None."""
    if name == "fork":
        same = sorted(stock) == sorted(ours)
        return "which connection comes first in a batch" if same else None
    owner = name.rpartition("loop of ")[2]
    owners = [int(owner)] if owner.isdecimal() else []
    if name == "errors":  # of all connections
        owners = [*range(len(program.connections))]
    if any(lost_after_the_program(program, one, stock, ours) for one in owners):
        return "the last byte left after the program, when nothing reacts any more"
    for reason, holds in PROGRAM_REASONS.items():
        if holds(program, number, stock, ours):
            return reason
    return None

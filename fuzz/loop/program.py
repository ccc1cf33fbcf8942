"""Programs for the loop: made up from a seed, and made smaller while they still show something.

A program has connections, steps and reactions. A step is a list of operations that one callback
carries out, one after the other; then everything comes to rest before the next step. A reaction is
such a list that a protocol's callback carries out the next time it is called.
"""

from __future__ import annotations

import random
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field, replace
from typing import Any

#: Name, connection (-1: the loop), argument.
Op = tuple[str, int, Any]

#: The peer is a socket that the program drives itself, so that what happens is decided by the
#: program alone and the histories of two loops can be compared to the letter.
DRIVEN = ("tcp-in", "tcp-out", "unix-in", "pair")
#: Both ends are transports of the loop: only what must hold in any order can be asked for.
DUPLEX = ("tcp-both", "unix-both", "tls-both")
CALLBACKS = ("made", "data", "eof", "pause", "resume", "lost")

SIZES = (1, 1, 10, 3_000, 20_000, 70_000, 300_000, 1_000_000)
SMALL = (1, 10, 500, 2_000)
LIMITS = ((None, None), (0, None), (1, 0), (1_000, 100), (100_000, 0), (1 << 20, 1 << 19), (5, 9))


@dataclass(frozen=True)
class Connection:
    """How one connection is made, and what its protocols are."""

    kind: str
    keep_open: bool = False
    buffered: bool = False


@dataclass(frozen=True)
class Program:
    """What is carried out. `exact`: two loops must give the same history."""

    connections: tuple[Connection, ...]
    steps: tuple[tuple[Op, ...], ...]
    reactions: dict[tuple[int, str], tuple[tuple[Op, ...], ...]] = field(default_factory=dict)
    exact: bool = True

    def asks_for(self, name: str, number: int) -> bool:
        """Whether some step or reaction has this operation for this connection."""
        lists = [*self.steps, *(ops for lists in self.reactions.values() for ops in lists)]
        return any(op[:2] == (name, number) for ops in lists for op in ops)

    def writes_when_lost(self, number: int) -> bool:
        """Whether `connection_lost` writes, which stock asyncio still sends after some closes."""
        lists = self.reactions.get((number, "lost"), ())
        return any(op[0].startswith("write") for ops in lists for op in ops)

    def last_writes(self, number: int) -> set[int]:
        """How many bytes its last write has, its last two, and so on, of those of the steps."""
        sizes = [
            op[2] if op[0] == "write" else sum(op[2])
            for ops in self.steps
            for op in ops
            if op[0] in ("write", "writelines") and op[1] == number
        ]
        return {sum(sizes[i:]) for i in range(1, len(sizes))} - {0}

    def closes(self, number: int) -> bool:
        """Whether the transport closes while the peer is there: it is told to, or the peer ends."""
        ends = not self.connections[number].keep_open and self.asks_for("peer_eof", number)
        return ends or self.asks_for("close", number)

    def __str__(self) -> str:
        lines = [f"exact={self.exact}"]
        lines += [f"  connection {i}: {c}" for i, c in enumerate(self.connections)]
        lines += [f"  on {key[1]} of {key[0]}: {ops}" for key, ops in self.reactions.items()]
        lines += [f"  step {i}: {list(ops)}" for i, ops in enumerate(self.steps)]
        return "\n".join(lines)


class Maker:
    """Makes programs: the same ones for the same seed."""

    def __init__(self, seed: int) -> None:
        self.random = random.Random(seed)

    def program(self) -> Program:
        """The next program."""
        pick = self.random
        exact = self.exact = pick.random() < 0.75
        kinds = DRIVEN if exact else DRIVEN + DUPLEX
        connections = tuple(
            Connection(pick.choice(kinds), pick.random() < 0.5, pick.random() < 0.3)
            for _ in range(pick.choice((1, 1, 2, 3)))
        )
        everyone = range(len(connections))
        steps = tuple(self.ops(everyone, 1, 5) for _ in range(pick.randint(1, 6)))
        reactions = {}
        for number in everyone:
            for callback in CALLBACKS:
                if pick.random() < 0.35:
                    # In one batch of events the order between connections is nobody's promise.
                    targets = range(number, number + 1) if exact else everyone
                    reactions[number, callback] = tuple(
                        self.ops(targets, 1, 4, inside=True) for _ in range(pick.choice((1, 1, 2)))
                    )
        return Program(connections, steps, reactions, exact)

    def ops(
        self, targets: range, least: int, most: int, *, inside: bool = False, depth: int = 0
    ) -> tuple[Op, ...]:
        """Operations on some of the connections and on the loop."""
        return tuple(
            self.op(targets, inside, depth) for _ in range(self.random.randint(least, most))
        )

    def op(self, targets: range, inside: bool, depth: int) -> Op:
        pick = self.random
        if not targets:
            return self.loop_op(targets, depth)
        number = pick.choice(targets)
        what = pick.random()
        if what < 0.48:
            return self.transport_op(number, inside)
        if what < 0.80:
            name = pick.choice(
                ("peer_send", "peer_send", "peer_read", "peer_eof", "peer_close", "peer_reset")
            )
            return name, number, pick.choice(SMALL)
        return self.loop_op(targets, depth)

    def transport_op(self, number: int, inside: bool) -> Op:
        pick = self.random
        name = pick.choice(
            (
                *("write", "write", "write", "burst", "writelines", "write_eof", "close"),
                "abort",
                *("pause", "resume", "limits", "state", "swap", "raise"),
            )
        )
        if name == "raise" and not inside:
            name = "write"
        if name == "burst" and self.exact:
            # From the ninth of a turn on writes leave together, at its end: they take less room in
            # a small socket, and may find a peer gone who still was there when they were written.
            name = "write"
        if name == "burst":
            return name, number, pick.choice((3, 12, 40))
        if name == "write":
            return name, number, pick.choice(SIZES)
        if name == "writelines":
            return name, number, tuple(pick.choices(SIZES[:5], k=pick.randint(0, 3)))
        return name, number, pick.choice(LIMITS) if name == "limits" else None

    def loop_op(self, targets: range, depth: int) -> Op:
        pick = self.random
        inner = range(0) if self.exact else targets
        names = ["timer", "timer", "cancelled_timer", "executor", "cancelled_task"]
        if depth < 2:
            names += ["soon", "threadsafe", "reader", "writer"]
        name = "fork" if pick.random() < 0.03 else pick.choice(names)
        if pick.random() < 0.02:
            name = "process"
        if name in ("soon", "threadsafe", "reader", "writer"):
            # Whether a socket's callback comes before one that was scheduled before it is nobody's
            # promise: such a callback leaves connections alone where histories are compared.
            return name, -1, self.ops(inner, 0, 3, depth=depth + 1)
        return name, -1, pick.randint(0, 3)


def smaller(program: Program) -> Iterator[Program]:
    """Programs that lack something of this one, those that lack most first."""
    steps, reactions = program.steps, program.reactions
    for i in range(len(steps)):
        yield replace(program, steps=steps[:i] + steps[i + 1 :])
    for key in reactions:
        yield replace(program, reactions={k: v for k, v in reactions.items() if k != key})
    if len(program.connections) > 1:
        last = len(program.connections) - 1
        yield replace(
            program,
            connections=program.connections[:last],
            steps=tuple(without(ops, last) for ops in steps),
            reactions={
                k: tuple(without(o, last) for o in v) for k, v in reactions.items() if k[0] != last
            },
        )
    for i, ops in enumerate(steps):
        for fewer in less(ops):
            yield replace(program, steps=(*steps[:i], fewer, *steps[i + 1 :]))
    for key, lists in reactions.items():
        for i, ops in enumerate(lists):
            for fewer in less(ops):
                changed = (*lists[:i], fewer, *lists[i + 1 :])
                yield replace(program, reactions={**reactions, key: changed})
    for i, one in enumerate(program.connections):
        for plainer in (replace(one, buffered=False), replace(one, keep_open=False)):
            if plainer != one:
                changed_connections = (
                    *program.connections[:i],
                    plainer,
                    *program.connections[i + 1 :],
                )
                yield replace(program, connections=changed_connections)


def without(ops: tuple[Op, ...], number: int) -> tuple[Op, ...]:
    return tuple(op for op in ops if op[1] != number)


def less(ops: tuple[Op, ...]) -> Iterator[tuple[Op, ...]]:
    for i in range(len(ops)):
        yield ops[:i] + ops[i + 1 :]


def shrink(program: Program, shows: Callable[[Program], bool], tries: int) -> Program:
    """The smallest program found within so many tries that still `shows` it."""
    while tries > 0:
        for candidate in smaller(program):
            tries -= 1
            if shows(candidate):
                program = candidate
                break
            if tries <= 0:
                break
        else:
            return program
    return program

"""Interleaved rounds over TCP: each round gives every server every case, in turning order."""

from __future__ import annotations

import statistics
from collections.abc import Sequence
from dataclasses import asdict, dataclass, field
from typing import Any

from bench import cases, native, process, show
from bench.cases import Case
from bench.http import verify
from bench.http.targets import Target
from bench.native import Load
from bench.process import Server, ServerFailed

FLOOR = "floor (C, epoll)"
#: What the floor answers where no Ember server runs beside it: the same fields, the same sizes.
_HEAD = (
    "HTTP/1.1 200 OK\r\nContent-Length: {}\r\nContent-Type: {}\r\n"
    "Date: Fri, 20 Nov 2026 12:00:00 GMT\r\n\r\n"
)


@dataclass
class Figure:
    """One server in one case, over all rounds; CPU in microseconds per answer."""

    rounds: list[Load] = field(default_factory=list)

    def summary(self) -> dict[str, Any]:
        """Medians over the rounds, with every round's CPU figure beside them."""
        cpu = [x.cpu_us for x in self.rounds]
        return {
            "cpu_us": round(statistics.median(cpu), 3),
            "rate": round(statistics.median(x.rate for x in self.rounds)),
            "busy": round(statistics.median(x.server_cpu / x.seconds for x in self.rounds), 3),
            **{
                key: round(statistics.median(asdict(x)[key] for x in self.rounds), 1)
                for key in ("p50_us", "p99_us")
            },
            "cpu_us_rounds": [round(x, 3) for x in cpu],
        }


@dataclass
class Entrant:
    """A server that runs, and the framing of each answer it was seen to give."""

    target: Target
    server: Server
    wire: dict[str, bytes]
    sends_date: bool


def _start(
    target: Target, wanted: Sequence[Case], missing: dict[str, str]
) -> tuple[Entrant, dict[str, verify.Answer]]:
    """Start and look at every answer; a wrong one takes the server out of that case, aloud."""
    port = process.free_port()
    server = process.start(target.name, target.command(port), port=port, env=target.env)
    answers: dict[str, verify.Answer] = {}
    for case in wanted:
        if target.cases and case.name not in target.cases:
            continue
        try:
            answers[case.name] = verify.verify(server, case)
        except ServerFailed as reason:
            missing[f"{target.name}, {case.title}"] = str(reason)
            show.warn(f"{target.name}, {case.title}: {reason}")
            if server.process.poll() is not None:
                raise ServerFailed(
                    f"ended while it was asked for {case.title}: {reason}"
                ) from reason
    wire = {name: answer.wire_body for name, answer in answers.items()}
    date = all("date" in answer.headers for answer in answers.values())
    return Entrant(target, server, wire, date), answers


def _start_floors(wanted: Sequence[Case], like: dict[str, verify.Answer]) -> dict[str, Server]:
    """A floor for each case, each answering with as many bytes as Ember does."""
    floors: dict[str, Server] = {}
    for case in wanted:
        plain = "; charset=utf-8" if case.content_type == "text/plain" else ""
        head = _HEAD.format(len(case.body), case.content_type + plain).encode()
        answer = like[case.name].raw if case.name in like else head + case.body
        floors[case.name] = native.start_floor(f"floor-{case.name}", answer)
        verify.verify(floors[case.name], case)
    return floors


def run(
    targets: Sequence[Target],
    *,
    rounds: int,
    seconds: float,
    only: Sequence[str] | None = None,
    of: Sequence[Case] = cases.HTTP,
    floor: bool = True,
) -> dict[str, Any]:
    """Measure the floor and `targets`; what fails is listed under `missing` with the reason."""
    wanted = [case for case in of if only is None or case.name in only]
    entrants: list[Entrant] = []
    missing: dict[str, str] = {}
    like: dict[str, verify.Answer] = {}
    floors: dict[str, Server] = {}
    failed: set[tuple[str, str]] = set()
    figures: dict[str, dict[str, Figure]] = {case.name: {} for case in wanted}
    try:
        for number, target in enumerate(targets):
            show.progress(number, len(targets), f"starting and checking {target.name}")
            try:
                entrant, answers = _start(target, wanted, missing)
            except ServerFailed as reason:
                missing[target.name] = str(reason)
                show.warn(f"{target.name}: {reason}")
                continue
            entrants.append(entrant)
            if target.group == "ember":
                like = answers | like
        if floor:
            floors = _start_floors(wanted, like)
        total, done = rounds * sum(len(_runners(entrants, case)) + floor for case in wanted), 0
        for turn in range(rounds):
            for case in wanted:
                field_of = _runners(entrants, case)
                if floor:
                    field_of.insert(0, (FLOOR, floors[case.name], case.body))
                shift = turn % max(len(field_of), 1)
                for name, server, wire in field_of[shift:] + field_of[:shift]:
                    show.progress(
                        done, total, f"round {turn + 1} of {rounds}: {case.title}, {name}"
                    )
                    done += 1
                    if (name, case.name) in failed:
                        continue
                    # What compiles itself at run time is given the time for that, once per case.
                    warmup = 0.2 if turn else 2 * seconds
                    try:
                        load = native.load(
                            server,
                            case.request,
                            wire,
                            connections=case.connections,
                            depth=case.depth,
                            warmup=warmup,
                            seconds=seconds,
                        )
                    except ServerFailed as reason:
                        failed.add((name, case.name))
                        missing[f"{name}, {case.title}"] = str(reason)
                        show.warn(f"{name}, {case.title}: {reason}")
                        server.restart()
                        continue
                    figures[case.name].setdefault(name, Figure()).rounds.append(load)
        show.clear()
    finally:
        for server in [*floors.values(), *(entrant.server for entrant in entrants)]:
            server.stop()
    return {
        "cases": {
            case: {name: figure.summary() for name, figure in by_name.items() if figure.rounds}
            for case, by_name in figures.items()
        },
        "titles": {case.name: case.title for case in wanted},
        "targets": {
            e.target.name: {
                "group": e.target.group,
                "version": e.target.version,
                "date": e.sends_date,
            }
            for e in entrants
        },
        "missing": missing,
        "rounds": rounds,
        "seconds": seconds,
        "connections": 64,
    }


def _runners(entrants: Sequence[Entrant], case: Case) -> list[tuple[str, Server, bytes]]:
    return [(e.target.name, e.server, e.wire[case.name]) for e in entrants if case.name in e.wire]

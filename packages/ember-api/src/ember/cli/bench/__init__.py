"""`ember bench`: a load generator on the loop of the server."""

from __future__ import annotations

import asyncio
import json
import os
import signal
import sys
from pathlib import Path
from typing import TYPE_CHECKING, Any, NoReturn

import click

if TYPE_CHECKING:
    from ember.cli.bench.figures import Figures
    from ember.cli.bench.load import Load, Plan
    from ember.cli.bench.target import Goal


@click.command("bench")
@click.argument("url")
@click.option("--connections", "-c", type=click.IntRange(1, 20_000), default=64, show_default=True)
@click.option(
    "--duration",
    "-d",
    type=click.FloatRange(min=0, min_open=True),
    default=10.0,
    show_default=True,
    help="Seconds.",
)
@click.option("--requests", "-n", type=click.IntRange(min=1), help="Stop after so many instead.")
@click.option(
    "--pipeline",
    "-p",
    type=click.IntRange(1, 1000),
    default=1,
    show_default=True,
    help="Requests in flight on each connection.",
)
@click.option("--method", "-X", help="Default: GET, or POST with --body.")
@click.option("--header", "-H", "headers", multiple=True, metavar="'NAME: VALUE'")
@click.option("--body", metavar="TEXT|@FILE", help="What each request carries.")
@click.option(
    "--timeout",
    type=click.FloatRange(min=0, min_open=True),
    default=10.0,
    show_default=True,
    help="Seconds that a response may take.",
)
@click.option("--insecure", is_flag=True, help="Believe any certificate of an https server.")
@click.option("--json", "as_json", is_flag=True, help="Print JSON.")
def command(
    url: str,
    connections: int,
    duration: float,
    requests: int | None,
    pipeline: int,
    method: str | None,
    headers: tuple[str, ...],
    body: str | None,
    timeout: float,
    insecure: bool,
    as_json: bool,
) -> None:
    """Send requests to URL as fast as the responses arrive, and print how fast that is.

    Latency is the time from the last byte of a request to the last byte of its response. Responses
    that arrive after the time is up are not counted.
    """
    from ember.cli.bench.load import Plan
    from ember.cli.bench.report import as_json as document
    from ember.cli.bench.report import table
    from ember.cli.bench.target import BadTarget, aim
    from ember.server.terminal import Style

    try:
        goal = aim(url, method, headers, _body(body), insecure=insecure)
    except BadTarget as error:
        _fail(str(error))
    plan = Plan(connections, None if requests else duration, requests, pipeline, timeout)
    figures, loop_name = _run(goal, plan)
    client: dict[str, Any] = {
        "loop": loop_name,
        "cpu_share": round(figures.cpu / (figures.seconds or 1e-9), 3),
        "same_machine": goal.local,
    }
    found = document(goal.url, goal.method, plan, figures, client)
    click.echo(json.dumps(found, indent=2) if as_json else table(found, Style(sys.stdout)))
    if not figures.requests:
        reasons = ", ".join(f"{why} {n}" for why, n in figures.errors.items()) or "the time was up"
        _fail(f"{goal.url} sent no response: {reasons}")


def _body(given: str | None) -> bytes | None:
    if given is None or not given.startswith("@"):
        return None if given is None else given.encode()
    try:
        return Path(given[1:]).read_bytes()
    except OSError as error:
        _fail(f"--body {given}: {error.strerror}")


def _why(error: OSError) -> str:
    # asyncio puts the address into strerror, which is in the message already.
    if error.errno is not None and error.errno > 0 and not hasattr(error, "reason"):
        return os.strerror(error.errno)
    return error.strerror or str(error) or type(error).__name__


def _run(goal: Goal, plan: Plan) -> tuple[Figures, str]:
    from ember.server.run import new_loop

    name = ""

    def make() -> asyncio.AbstractEventLoop:
        nonlocal name
        loop, name = new_loop("auto")
        return loop

    try:
        with asyncio.Runner(loop_factory=make) as runner:
            return runner.run(_main(goal, plan)), name
    except OSError as error:
        _fail(f"{goal.url} cannot be reached: {_why(error)}; is the server running there?")
    except RuntimeError as error:  # a loop that EMBER_LOOP asks for and cannot be had
        _fail(str(error))


async def _main(goal: Goal, plan: Plan) -> Figures:
    from ember.cli.bench.load import Load

    load = Load(goal.target, plan)
    loop = asyncio.get_running_loop()
    # The first Ctrl+C ends the measurement, with a report.
    loop.add_signal_handler(signal.SIGINT, load.over.set)
    watched = sys.stderr.isatty()
    try:
        return await load.run((lambda seconds: _show(load, seconds)) if watched else None)
    finally:
        loop.remove_signal_handler(signal.SIGINT)
        if watched:
            print("\r\x1b[K", end="", file=sys.stderr, flush=True)


def _show(load: Load, seconds: float) -> None:
    figures, plan = load.figures, load.plan
    whole = f"{plan.requests:,} requests" if plan.duration is None else f"{plan.duration:g} s"
    rate = figures.requests / seconds if seconds else 0
    wrong = f", {figures.failed:,} errors" if figures.failed else ""
    done = f"{figures.requests:,} responses, {rate:,.0f} a second"
    line = f"{seconds:5.1f} s of {whole}: {done}{wrong}"
    print(f"\r\x1b[K{line}", end="", file=sys.stderr, flush=True)


def _fail(message: str) -> NoReturn:
    print(f"ember: {message}", file=sys.stderr)
    raise SystemExit(1)

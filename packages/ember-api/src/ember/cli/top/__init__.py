"""`ember top`: what the workers of a running server do, from its `/metrics`."""

from __future__ import annotations

import json
import shutil
import sys
import time
from typing import TYPE_CHECKING

import click

if TYPE_CHECKING:
    from ember.cli.top.figures import Figures
    from ember.cli.top.scrape import Scrape, Source


@click.command("top")
@click.argument("url", default="http://127.0.0.1:8000/metrics")
@click.option(
    "--interval",
    type=click.FloatRange(min=0.1, max=3600),
    default=1.0,
    show_default=True,
    help="Seconds between two looks.",
)
@click.option("--once", is_flag=True, help="Print one table after one interval, and end.")
@click.option("--json", "as_json", is_flag=True, help="Print JSON, one line for each look.")
def command(url: str, interval: float, once: bool, as_json: bool) -> None:
    """Watch the workers and routes of a running server, until Ctrl+C.

    URL is its metrics page: default http://127.0.0.1:8000/metrics, and /metrics where URL has no
    path. Everything is the difference of two looks at it.
    """
    from ember.cli.start import fail
    from ember.cli.top.scrape import CannotScrape, Source

    try:
        _watch(Source(url), interval, once=once, as_json=as_json)
    except CannotScrape as error:
        fail(error, debug=False)
    except KeyboardInterrupt:
        raise SystemExit(0) from None


def _watch(source: Source, interval: float, *, once: bool, as_json: bool) -> None:
    from ember.cli.top.figures import difference

    screen = sys.stdout.isatty() and not once and not as_json
    before = source.scrape()
    try:
        while True:
            after = _next(source, before, interval)
            figures = difference(before, after)
            if as_json:
                click.echo(json.dumps(figures.document(source.url), indent=2 if once else None))
            else:
                _show(figures, source.url, screen=screen, once=once)
            if once:
                return
            before = after
    finally:
        if screen:
            print("\x1b[?7h", end="", flush=True)  # long lines are wrapped again


def _next(source: Source, before: Scrape, interval: float) -> Scrape:
    """The scrape one interval after `before`, or now if more time has passed."""
    time.sleep(max(0.0, before.at + interval - time.monotonic()))
    return source.scrape()


def _show(figures: Figures, url: str, *, screen: bool, once: bool) -> None:
    from ember.cli.top.report import tables
    from ember.server.terminal import Style

    style = Style(sys.stdout)
    if not screen:
        print(tables(figures, url, style), end="\n" if once else "\n\n", flush=True)
        return
    height = shutil.get_terminal_size().lines
    lines = tables(figures, url, style, height=height - 1).splitlines()
    # Each line is overwritten, so that nothing flickers. Long lines are cut.
    text = "".join(f"{line}\x1b[K\n" for line in lines)
    print(f"\x1b[?7l\x1b[H{text}\x1b[J", end="", flush=True)

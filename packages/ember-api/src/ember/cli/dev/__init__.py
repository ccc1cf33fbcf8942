"""`ember dev`."""

from __future__ import annotations

import sys

import click

from ember.server import LOOPS


@click.command("dev")
@click.option(
    "--app", "target", metavar="MODULE:APP", help="Default: main, app or application here."
)
@click.option("--host", default="127.0.0.1", show_default=True)
@click.option("--port", type=click.IntRange(0, 65535), default=8000, show_default=True)
@click.option("--loop", type=click.Choice(LOOPS), default="auto", show_default=True)
def command(target: str | None, host: str, port: int, loop: str) -> None:
    """Serve an application and start it again whenever a file of it changes.

    Errors come as readable pages. An application that does not start is explained in the terminal
    and in the browser, until the next change. Where it listens is said here, not by app.run(...).
    """
    from ember.cli.dev.supervisor import Supervisor, listen
    from ember.server import StartError

    try:
        sock = listen(host, port)
    except StartError as error:
        print(f"ember: {error}", file=sys.stderr)
        raise SystemExit(1) from None
    with sock:
        raise SystemExit(Supervisor(sock, target, loop).run())

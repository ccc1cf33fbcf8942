"""`ember dev`."""

from __future__ import annotations

import sys

import click

from ember.server.run import LOOPS


def _host_names(
    ctx: click.Context, option: click.Parameter, names: tuple[str, ...]
) -> tuple[str, ...]:
    from ember.cli.dev.hosts import check

    try:
        return tuple(map(check, names))
    except ValueError as error:
        raise click.BadParameter(str(error)) from None


@click.command("dev")
@click.option(
    "--app", "target", metavar="MODULE:APP", help="Default: main, app or application here."
)
@click.option("--host", help="Default: as app.run(...) says, or 127.0.0.1.")
@click.option(
    "--port", type=click.IntRange(0, 65535), help="Default: as app.run(...) says, or 8000."
)
@click.option(
    "--allowed-host",
    "allowed",
    metavar="NAME",
    multiple=True,
    callback=_host_names,
    help="A further host name to answer for, or *.NAME; may be given several times.",
)
@click.option("--loop", type=click.Choice(LOOPS), default="auto", show_default=True)
def command(
    target: str | None, host: str | None, port: int | None, allowed: tuple[str, ...], loop: str
) -> None:
    """Serve an application and start it again whenever a file of it changes.

    Errors are shown as readable pages. If the application does not start, the terminal and the
    browser show why, until the next change.

    Only requests to localhost, to --host and --allowed-host, and to the hosts that the application
    itself names are served. With --host 0.0.0.0, also those to this machine's host name and its
    IP addresses.
    """
    from ember.cli.dev.address import declared
    from ember.cli.dev.supervisor import Supervisor, listen
    from ember.server.run import StartError

    said = declared(target)
    host = host or said.host
    try:
        sock = listen(host, said.port if port is None else port)
    except StartError as error:
        print(f"ember: {error}", file=sys.stderr)
        raise SystemExit(1) from None
    with sock:
        raise SystemExit(Supervisor(sock, target, loop, host, allowed).run())

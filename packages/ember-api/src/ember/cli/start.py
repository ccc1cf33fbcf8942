"""`ember start`."""

from __future__ import annotations

import sys
from typing import Any

import click
from click.core import ParameterSource

from ember.server.run import LOOPS


def _octal(ctx: click.Context, option: click.Parameter, value: str | None) -> int | None:
    if value is None:
        return None
    try:
        return int(value, 8)
    except ValueError:
        raise click.BadParameter(f"{value} is no octal number, such as 660") from None


@click.command("start")
@click.option(
    "--app", "target", metavar="MODULE:APP", help="Default: main, app or application here."
)
@click.option("--host", default="127.0.0.1", show_default=True)
@click.option("--port", type=click.IntRange(0, 65535), default=8000, show_default=True)
@click.option("--workers", type=click.IntRange(min=1), help="Processes; default: as many as CPUs.")
@click.option("--uds", metavar="PATH", help="Listen on a unix socket instead.")
@click.option("--uds-mode", metavar="OCTAL", callback=_octal, help="Its permissions, such as 660.")
@click.option("--fd", type=int, help="Take an inherited listening socket instead.")
@click.option("--ssl-certfile", metavar="PATH", help="Serve https with this certificate.")
@click.option("--ssl-keyfile", metavar="PATH")
@click.option("--ssl-keyfile-password", metavar="TEXT", help="Of an encrypted key.")
@click.option(
    "--ssl-ca-certs", metavar="PATH", help="Ask clients for a certificate signed by these."
)
@click.option(
    "--ssl-client-cert", type=click.Choice(("required", "optional")), help="Default: required."
)
@click.option("--loop", type=click.Choice(LOOPS), default="auto", show_default=True)
@click.option("--thread-pool-workers", type=click.IntRange(min=1), help="Threads for def handlers.")
@click.option("--necromancer/--no-necromancer", default=True, help="Respawn dead workers.")
@click.option(
    "--access-log",
    metavar="[json|color|PATH]",
    is_flag=False,
    flag_value="auto",
    help="A line for each request: to stdout, or appended to a file as JSON.",
)
@click.option("--metrics", is_flag=True, help="Serve /metrics for Prometheus.")
@click.option("--debug", is_flag=True, help="Readable error pages; start errors with traceback.")
@click.pass_context
def command(
    ctx: click.Context,
    /,
    target: str | None,
    access_log: str | None,
    metrics: bool,
    **given: Any,
) -> None:
    """Serve an application.

    What its own app.run(...) says is the default of every option.
    """
    from ember.cli.locate import locate
    from ember.server.run import StartError, report, run

    try:
        app, options = locate(target)
    except StartError as error:
        report(error)
        fail(error, debug=given["debug"])
    asked = {
        name: value
        for name, value in given.items()
        if ctx.get_parameter_source(name) is not ParameterSource.DEFAULT
    }
    if asked.keys() & {"host", "port", "uds", "fd"}:
        # An address on the command line replaces the program's own, of any kind.
        options = options._replace(uds=None, uds_mode=None, fd=None)
    if access_log is not None:
        app.set_access_log(True if access_log == "auto" else access_log)
    if metrics and (app.observer is None or app.observer.series is None):
        app.add_metrics()
    run(app, options._replace(**asked))


def fail(error: BaseException, *, debug: bool) -> Any:
    """Print one line and exit with status 1; with `debug` raise the error."""
    if debug:
        raise error
    print(f"ember: {error}", file=sys.stderr)
    raise SystemExit(1)

"""`ember openapi`."""

from __future__ import annotations

import json
from pathlib import Path

import click


@click.command("openapi")
@click.option(
    "--app", "target", metavar="MODULE:APP", help="Default: main, app or application here."
)
@click.option("--output", "-o", metavar="FILE", help="Write there instead of printing.")
@click.option("--json", "as_json", is_flag=True, help="Print JSON, which it does anyway.")
@click.option("--debug", is_flag=True, help="Errors with traceback.")
def command(target: str | None, output: str | None, as_json: bool, debug: bool) -> None:
    """Print the OpenAPI 3.1 description of an application."""
    from ember.cli.locate import locate
    from ember.cli.start import fail
    from ember.openapi import document
    from ember.routing.router import RouteError
    from ember.server.run import StartError

    try:
        app, _ = locate(target)
        app.check()
        text = json.dumps(document(app), indent=2, ensure_ascii=False)
    except (StartError, RouteError) as error:
        fail(error, debug=debug)
    if output is None:
        click.echo(text)
        return
    try:
        Path(output).write_text(text + "\n", encoding="utf-8")
    except OSError as error:
        fail(StartError(f"{output} cannot be written: {error.strerror}"), debug=debug)

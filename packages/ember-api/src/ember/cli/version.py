"""`ember version`."""

from __future__ import annotations

import platform

import click


@click.command("version")
@click.option("--json", "as_json", is_flag=True, help="Print JSON.")
def command(as_json: bool) -> None:
    """Print the version."""
    from ember import __version__

    if as_json:
        import json

        click.echo(json.dumps({"ember": __version__, "python": platform.python_version()}))
    else:
        click.echo(__version__)

"""`ember routes`."""

from __future__ import annotations

import json
import sys

import click


@click.command("routes")
@click.option(
    "--app", "target", metavar="MODULE:APP", help="Default: main, app or application here."
)
@click.option("--json", "as_json", is_flag=True, help="Print JSON.")
@click.option("--debug", is_flag=True, help="Errors with traceback.")
def command(target: str | None, as_json: bool, debug: bool) -> None:
    """List the routes of an application."""
    from ember.cli.locate import locate
    from ember.cli.start import fail
    from ember.routing.router import RouteError
    from ember.routing.signature import handler_name
    from ember.server.run import StartError
    from ember.server.terminal import Style

    try:
        app, _ = locate(target)
        app.check()
    except (StartError, RouteError) as error:
        fail(error, debug=debug)
    if as_json:
        listed = [
            {
                "methods": list(route.methods),
                "path": route.path,
                "hosts": list(route.hosts),
                "name": route.name,
                "handler": handler_name(route.handler),
                "deprecated": route.deprecated,
                "tags": list(route.tags),
                "summary": route.summary,
            }
            for route in app.routes
        ]
        click.echo(json.dumps(listed, indent=2))
        return
    if not app.routes:
        click.echo("no routes")
        return
    style = Style(sys.stdout)
    rows: list[tuple[str, ...]] = [
        (
            ",".join(route.methods),
            ", ".join(route.hosts) or "*",
            route.path,
            route.name,
            handler_name(route.handler),
        )
        for route in app.routes
    ]
    head: tuple[str, ...] = ("METHOD", "HOST", "PATH", "NAME", "HANDLER")
    if not any(route.hosts for route in app.routes):
        head, rows = _without_hosts(head), [_without_hosts(row) for row in rows]
    print(style.table(head, rows))


def _without_hosts(row: tuple[str, ...]) -> tuple[str, ...]:
    return row[:1] + row[2:]

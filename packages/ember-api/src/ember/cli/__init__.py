"""The `ember` command. Each subcommand is a module here, which is imported when it is used."""

from __future__ import annotations

import importlib

import click

# `ssl` is loaded late where it comes before asyncio, which the commands import.
import ember.application  # noqa: F401

_COMMANDS = {
    "new": "Make a new project.",
    "start": "Serve an application.",
    "dev": "Serve, and start again whenever a file changes.",
    "test": "Run the tests of the project.",
    "routes": "List the routes of an application.",
    "openapi": "Print the OpenAPI description of an application.",
    "top": "Watch the workers of a running server.",
    "bench": "Measure how fast a server responds.",
    "doctor": "Say which event loop and build run here, and why.",
    "version": "Print the version.",
}


class _LazyGroup(click.Group):
    """Imports a subcommand when it is used: `ember version` does not import what `ember start`
    needs."""

    def list_commands(self, ctx: click.Context) -> list[str]:
        return list(_COMMANDS)

    def get_command(self, ctx: click.Context, name: str) -> click.Command | None:
        if name not in _COMMANDS:
            return None
        command: click.Command = importlib.import_module(f"ember.cli.{name}").command
        return command

    def format_commands(self, ctx: click.Context, formatter: click.HelpFormatter) -> None:
        with formatter.section("Commands"):
            formatter.write_dl(list(_COMMANDS.items()))


@click.group(cls=_LazyGroup, context_settings={"help_option_names": ["-h", "--help"]})
def main() -> None:
    """Ember: a web framework that owns its whole stack."""

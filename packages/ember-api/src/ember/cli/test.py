"""`ember test`."""

from __future__ import annotations

import importlib.util
import subprocess
import sys

import click


@click.command(
    "test",
    context_settings={"ignore_unknown_options": True, "help_option_names": []},
)
@click.argument("arguments", nargs=-1, type=click.UNPROCESSED)
def command(arguments: tuple[str, ...]) -> None:
    """Run the tests of the project with pytest, `async def` ones included.

    Arguments are pytest's own: `ember test -k notes -x`.
    """
    if importlib.util.find_spec("pytest") is None:
        print("ember: pytest is not installed; install it: pip install pytest", file=sys.stderr)
        raise SystemExit(1)
    line = [sys.executable, "-m", "pytest", "-p", "ember.testing.plugin", *arguments]
    raise SystemExit(subprocess.run(line, check=False).returncode)

"""`ember new`."""

from __future__ import annotations

import re
import sys
from importlib.util import find_spec
from pathlib import Path

import click

TEMPLATES = Path(__file__).parent / "templates"
#: The extra that a template needs, and a module of it.
EXTRAS = {"fullstack": ("templates", "jinja2")}
#: Valid names of a project and its folder (the rule of PyPI).
_NAME = re.compile(r"[A-Za-z0-9]([A-Za-z0-9._-]*[A-Za-z0-9])?")


@click.command("new")
@click.argument("name")
@click.option(
    "--template",
    type=click.Choice(("api", "fullstack")),
    default="api",
    show_default=True,
    help="A JSON API, or one with pages that follow changes live.",
)
def command(name: str, template: str) -> None:
    """Make a new project in the folder NAME."""
    from ember.server.terminal import Style

    folder = Path(name)
    if not _NAME.fullmatch(folder.name):
        _fail(f'"{name}": a name consists of letters, digits, "-", "_" and ".", such as my-app')
    try:
        written = create(folder, template)
    except FileExistsError:
        _fail(f"{folder} exists already and is not empty; choose another name")
    except OSError as error:
        _fail(f"{folder} cannot be written: {error.strerror}")
    style = Style(sys.stdout)
    click.echo(f"{style.accent('Ember')} made {style.strong(str(folder))}")
    for path in written:
        click.echo(f"  {style.dim(str(path))}")
    first = f"cd {folder}"
    extra, module = EXTRAS.get(template, ("", ""))
    if extra and find_spec(module) is None:
        first += f'\n       pip install "ember-api[{extra}]"'
    click.echo(f"\nNext:  {first}\n       ember test\n       ember dev")


def create(folder: Path, template: str) -> list[Path]:
    """Write the files of `template` into `folder`. Returns their paths in it.

    Raises FileExistsError if the folder is not empty, OSError if a file cannot be written.
    """
    if folder.exists() and (not folder.is_dir() or any(folder.iterdir())):
        raise FileExistsError(folder)
    written = []
    extras = f"[{EXTRAS[template][0]}]" if template in EXTRAS else ""
    for source in (TEMPLATES / "common", TEMPLATES / template):
        for file in sorted(source.rglob("*.tmpl")):
            # Packaging tools may skip files that begin with a dot: they are named dot_ here.
            target = file.relative_to(source).with_suffix("")
            target = target.with_name(target.name.replace("dot_", ".", 1))
            path = folder / target
            path.parent.mkdir(parents=True, exist_ok=True)
            text = file.read_text(encoding="utf-8")
            text = text.replace("@NAME@", folder.name).replace("@EXTRAS@", extras)
            path.write_text(text, encoding="utf-8")
            written.append(target)
    return written


def _fail(message: str) -> None:
    print(f"ember: {message}", file=sys.stderr)
    raise SystemExit(1)

"""`ember doctor`."""

from __future__ import annotations

import json
import platform
import sys
from typing import Any

import click

from ember.protocol.message.codings import CODINGS

#: The required packages, and those of the extras.
_PACKAGES = (
    "msgspec",
    "click",
    "python-multipart",
    "uvloop",
    "orjson",
    *(package for coding in CODINGS for package in coding.packages),
    "Jinja2",
    "redis",
    "emcache",
    "watchfiles",
    "pydantic",
)


def examine() -> dict[str, Any]:
    """Find out the event loop, build and versions here."""
    from importlib.metadata import PackageNotFoundError, version

    from ember import __version__, _build
    from ember.eventloop import report

    def installed(name: str) -> str | None:
        try:
            return version(name)
        except PackageNotFoundError:
            return None

    from ember.server.workers.counts import default_workers

    facts = report()
    workers = default_workers()
    loop = {"name": facts.pop("loop"), "reason": facts.pop("reason"), **facts}
    build = "pure" if _build.PURE else "compiled"
    why = "the compiled modules are there"
    if _build.PURE:
        asked = "EMBER_PURE is set"
        why = asked if _build.ASKED_PURE else "the compiled modules were not built"
    return {
        "ember": __version__,
        "loop": loop,
        "build": {"name": build, "reason": why},
        "workers": {"default": workers.workers, "reason": workers.reason},
        "python": platform.python_version(),
        "implementation": platform.python_implementation(),
        "platform": platform.platform(),
        "packages": {name: installed(name) for name in _PACKAGES},
    }


def _others(loop: dict[str, Any]) -> list[tuple[str, str, str]]:
    """A row for each other loop: how to choose it, or why it is not available."""
    rows = []
    for name, state in loop["available"].items():
        if name == loop["name"]:
            continue
        known = "" if state is True else str(state)
        rows.append(("", name, known or f"EMBER_LOOP={name} would choose it"))
    return rows


@click.command("doctor")
@click.option("--json", "as_json", is_flag=True, help="Print JSON.")
def command(as_json: bool) -> None:
    """Say which event loop and build run here, and why."""
    from ember.server.terminal import Style

    found = examine()
    healthy = found["loop"]["name"] is not None
    if as_json:
        click.echo(json.dumps(found, indent=2, default=str))
    else:
        style = Style(sys.stdout)
        rows = [
            ("Ember", found["ember"], ""),
            ("loop", found["loop"]["name"] or "none", found["loop"]["reason"]),
            *_others(found["loop"]),
            ("build", found["build"]["name"], found["build"]["reason"]),
            ("workers", str(found["workers"]["default"]), found["workers"]["reason"]),
            ("Python", found["python"], found["implementation"]),
            ("platform", found["platform"], ""),
        ]
        rows += [(name, at or "-", "") for name, at in found["packages"].items()]
        label = max(len(row[0]) for row in rows)
        value = max(len(row[1]) for row in rows)
        for name, is_what, because in rows:
            paint = style.strong
            if name == "loop":
                paint = style.good if healthy else style.bad
            elif not name:
                paint = style.dim
            cell = paint(is_what) + " " * (value - len(is_what))
            print(f"{style.dim(name.ljust(label))}  {cell}  {style.dim(because)}".rstrip())
    if not healthy:
        raise SystemExit(1)

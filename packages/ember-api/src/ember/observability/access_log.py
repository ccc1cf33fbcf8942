"""`Ember(access_log=...)`: opens the access log, and formats its lines for a terminal."""

from __future__ import annotations

import json
import os
import sys
from collections.abc import Callable
from typing import Any

from ember._logs import printable
from ember.protocol.telemetry.observer import AccessLog, LogFile

#: Standard output.
STDOUT = 1


def open_log(wanted: bool | str | os.PathLike[str]) -> AccessLog:
    """The log for `access_log=wanted`. The file is opened later. Raises TypeError."""
    if wanted is True:
        wanted = "color" if _is_terminal() else "json"
    if isinstance(wanted, os.PathLike):
        wanted = os.fspath(wanted)
    if not isinstance(wanted, str) or not wanted:
        raise TypeError(f'access_log={wanted!r}: expected True, "json", "color" or a path')
    if wanted == "color":
        return AccessLog(LogFile(STDOUT, colored()))
    if wanted == "json":
        return AccessLog(LogFile(STDOUT))
    # Absolute: the working directory may change before the file is reopened.
    return AccessLog(LogFile(os.path.abspath(wanted)))


def _is_terminal() -> bool:
    try:
        return os.isatty(STDOUT)
    except OSError:
        return False


def colored(colours: bool | None = None) -> Callable[[bytes], bytes]:
    """A function that turns JSON lines into coloured lines. Default of `colours`: whether stdout is
    a terminal."""
    from ember.server.terminal import Style

    style = Style(sys.stdout)
    if colours is not None:
        style.colours = colours

    def paint(lines: bytes) -> bytes:
        return "".join(line(json.loads(text)) for text in lines.splitlines()).encode()

    def line(entry: dict[str, Any]) -> str:
        status: int = entry["status"]
        colour = style.good if status < 400 else style.accent if status < 500 else style.bad
        broken = style.bad(" broken off") if entry.get("aborted") else ""
        # JSON decoding restores control characters that a client may have sent.
        path, method, client = (printable(entry[key]) for key in ("path", "method", "client"))
        return (
            f"{style.dim(entry['time'][11:23])} {colour(str(status))} "
            f"{method or '-':<7} {style.strong(path or '-')}{broken}  "
            f"{style.dim(_duration(entry['duration']))}  "
            f"{style.dim(_size(entry['bytes']))}  {style.dim(client)}\n"
        )

    return paint


def _duration(seconds: float) -> str:
    return f"{seconds * 1000:.1f} ms" if seconds < 1 else f"{seconds:.2f} s"


def _size(count: int) -> str:
    return f"{count} B" if count < 10_000 else f"{count / 1024:,.0f} KiB"

"""Static files: one worker of ours beside one of nginx, small and large, in the same rounds."""

from __future__ import annotations

import hashlib
from pathlib import Path
from typing import Any

from bench import show
from bench.cases import Case
from bench.http import run as http
from bench.http.targets import Target, ember
from bench.part import Options
from bench.paths import WORK
from bench.static import nginx

RING, EPOLL = "ember io_uring", "ember epoll"
NGINX, PLAIN = "nginx, open_file_cache", "nginx"
KB = 1024

SIZES = {"small": 10 * KB, "large": 10 * KB * KB}
_TITLES = {"small": "10 KB", "large": "10 MB"}
_NAMES = {"small": "small.txt", "large": "large.bin"}
_TYPES = {"small": "text/plain", "large": "application/octet-stream"}


def content(size: int) -> bytes:
    """`size` bytes that do not repeat and are the same in every run."""
    blocks = (hashlib.sha512(n.to_bytes(8, "big")).hexdigest() for n in range(size // 128 + 1))
    return "".join(blocks)[:size].encode()


def cases(folder: Path) -> tuple[Case, ...]:
    """Write the files; one case for each."""
    folder.mkdir(parents=True, exist_ok=True)
    found = []
    for name, size in SIZES.items():
        data = content(size)
        (folder / _NAMES[name]).write_bytes(data)
        request = f"GET /{_NAMES[name]} HTTP/1.1\r\nHost: localhost:8000\r\n\r\n".encode()
        found.append(
            Case(
                name,
                _TITLES[name],
                request,
                data,
                _TYPES[name],
                connections=64 if name == "small" else 4,
            )
        )
    return tuple(found)


def targets(folder: Path, missing: dict[str, str]) -> list[Target]:
    """Ours and, where it is installed, nginx: as it comes, and with what it keeps open."""
    app, files = "bench.static.ember_app", {"BENCH_FILES": str(folder)}
    found = [
        Target(RING, "ember", ember(app, "compiled"), {"EMBER_LOOP": "io_uring", **files}),
        Target(EPOLL, "ember", ember(app, "compiled"), {"EMBER_LOOP": "epoll", **files}),
    ]
    for name, cached in ((NGINX, True), (PLAIN, False)):
        try:
            command = nginx.command(folder, cached=cached)
        except LookupError as reason:
            missing[name] = str(reason)
            show.warn(f"{name}: {reason}")
        else:
            found.append(Target(name, "other", command, version=nginx.version()))
    return found


def run(options: Options) -> dict[str, Any]:
    """Interleaved rounds over TCP; every answer is compared byte for byte."""
    missing: dict[str, str] = {}
    folder = WORK / "files"
    wanted = cases(folder)
    measured = http.run(
        targets(folder, missing),
        rounds=options.turns(9),
        seconds=options.window(1.5),
        of=wanted,
        floor=False,
    )
    measured["missing"] = missing | measured["missing"]
    return measured

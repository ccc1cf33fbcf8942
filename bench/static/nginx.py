"""nginx as its documentation advises for static files: one worker, sendfile, no access log."""

from __future__ import annotations

import os
import shutil
import subprocess
from collections.abc import Callable
from pathlib import Path

from bench.paths import WORK

PROGRAM = shutil.which("nginx") or shutil.which("nginx", path="/usr/sbin:/usr/local/sbin")

# Everything that it writes lies below its prefix. Requests per connection are unlimited, as with
# us; log and port aside, the rest is the default of its packages.
_CONFIG = """
daemon off;
worker_processes 1;
pid nginx.pid;
error_log stderr warn;
{user}
events {{ worker_connections 1024; }}
http {{
    types {{ text/plain txt; application/octet-stream bin; }}
    access_log off;
    sendfile on;
    tcp_nopush on;
    keepalive_timeout 65;
    keepalive_requests 1000000000;
    {cache}
    client_body_temp_path body; proxy_temp_path proxy; fastcgi_temp_path fastcgi;
    uwsgi_temp_path uwsgi; scgi_temp_path scgi;
    server {{
        listen 127.0.0.1:{port};
        location / {{ root {files}; }}
    }}
}}
"""
#: Looks at a file again after a second, as `app.static` does; without it at every request.
CACHE = "open_file_cache max=1000 inactive=60s; open_file_cache_valid 1s;"


def version() -> str:
    """What `nginx -v` says."""
    assert PROGRAM is not None
    done = subprocess.run([PROGRAM, "-v"], capture_output=True, text=True, check=False)
    return done.stderr.strip().rpartition(": ")[2]


def command(files: Path, *, cached: bool, prefix: Path | None = None) -> Callable[[int], list[str]]:
    """How it is started, with all that it writes below `prefix`. Raises LookupError where it is not
    installed."""
    program = PROGRAM
    if program is None:
        raise LookupError("not installed: apt-get install nginx-light (`make setup` does it)")

    def start(port: int) -> list[str]:
        own = prefix or WORK / f"nginx-{'cached' if cached else 'plain'}"
        own.mkdir(parents=True, exist_ok=True)
        # As root its worker would become somebody who may not read our files.
        user = "user root;" if os.geteuid() == 0 else ""
        text = _CONFIG.format(port=port, files=files, user=user, cache=CACHE if cached else "")
        config = own / "nginx.conf"
        config.write_text(text)
        return [program, "-p", str(own), "-c", str(config), "-e", "stderr"]

    return start

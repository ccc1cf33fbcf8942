"""A Redis of the bench's own: on a free port, without a file, gone afterwards."""

from __future__ import annotations

import shutil
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager

from bench import machine, process
from bench.process import ServerFailed


@contextmanager
def running() -> Iterator[str]:
    """Its URL, on the generator's core. Raises ServerFailed where it cannot be had."""
    program = shutil.which("redis-server")
    if not program:
        raise ServerFailed("redis-server was not found: apt-get install redis-server")
    port = process.free_port()
    with tempfile.TemporaryDirectory(prefix="ember-bench-") as folder:
        options = ("--port", str(port), "--bind", "127.0.0.1", "--save", "", "--dir", folder)
        command = [program, *options, "--appendonly", "no"]
        server = process.start("redis", command, port=port, cpu=machine.LOAD_CPU)
        try:
            yield f"redis://127.0.0.1:{port}"
        finally:
            server.stop()

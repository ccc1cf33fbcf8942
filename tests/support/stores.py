"""Redis and Memcached on free ports, killed and started again at will, and caches in them."""

from __future__ import annotations

import os
import socket
import subprocess
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

from ember.cache import Cache, MemcachedCache, RedisCache

from tests.support.services import find_program, free_port, unavailable


class Service:
    """A store in a process of its own, on a port of its own."""

    def __init__(self, program: str, *arguments: str) -> None:
        found = find_program(program, "/usr/bin", "/usr/local/bin")
        if found is None:
            unavailable(program)
        self.port = free_port()
        self._command = [found, *(a.format(port=self.port) for a in arguments)]
        self._process: subprocess.Popen[bytes] | None = None

    def start(self) -> None:
        self._process = subprocess.Popen(
            self._command, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL
        )
        deadline = time.monotonic() + 10
        while True:
            try:
                socket.create_connection(("127.0.0.1", self.port), 1).close()
                return
            except ConnectionRefusedError:
                assert self._process.poll() is None, f"{self._command} ended at once"
                assert time.monotonic() < deadline, f"{self._command} does not listen"
                os.sched_yield()

    def kill(self) -> None:
        if self._process is not None:
            self._process.kill()
            self._process.wait(10)
            self._process = None


def redis(folder: Path) -> Service:
    return Service(
        "redis-server", "--port", "{port}", "--bind", "127.0.0.1", "--save", "",
        "--appendonly", "no", "--dir", str(folder),
    )  # fmt: skip


def memcached() -> Service:
    user = ["-u", "nobody"] if os.geteuid() == 0 else []
    return Service("memcached", "-p", "{port}", "-l", "127.0.0.1", "-U", "0", *user)


def running(service: Service) -> Iterator[Service]:
    service.start()
    try:
        yield service
    finally:
        service.kill()


def remote(kind: str, port: int, **options: Any) -> Cache:
    """A cache of that kind with a deadline that a busy test machine does not exceed by itself."""
    options = {"deadline": 5.0, **options}
    if kind == "redis":
        return RedisCache(f"redis://127.0.0.1:{port}", **options)
    return MemcachedCache("127.0.0.1", port, **options)

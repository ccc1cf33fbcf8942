"""The options of `app.run` and `ember start`."""

from __future__ import annotations

import os
from typing import TYPE_CHECKING, NamedTuple

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping

    from ember.server.interfaces import ServedApp

    Path = str | os.PathLike[str]

LOOPS = ("auto", "io_uring", "epoll", "uvloop", "asyncio")


class StartError(Exception):
    """Why a server does not start, in one sentence, with what to do about it."""


class Options(NamedTuple):
    """The options of `app.run` and `ember start`; `Ember.run` explains them."""

    host: str | None = "127.0.0.1"
    port: int = 8000
    workers: int | None = None
    debug: bool = False
    startup_message: bool = True
    thread_pool_workers: int | None = None
    uds: str | os.PathLike[str] | None = None
    fd: int | None = None
    ssl_certfile: str | os.PathLike[str] | None = None
    ssl_keyfile: str | os.PathLike[str] | None = None
    ssl_ca_certs: str | os.PathLike[str] | None = None
    http2: bool = False
    loop: str = "auto"
    io_uring_num_bufs: int = 256
    io_uring_buf_size: int = 8192
    reload: bool = False
    ssl_keyfile_password: str | bytes | Callable[[], str | bytes] | None = None
    ssl_client_cert: str | None = None
    ssl_certs: Mapping[str, Path | tuple[Path, Path | None]] | None = None
    necromancer: bool = True
    uds_mode: int | None = None

    def check(self) -> None:
        """Raises StartError for options that are invalid, not supported, or contradict each
        other."""
        workers = self.workers
        if workers is not None and (type(workers) is not int or workers < 1):
            raise StartError(f"workers={workers!r}: expected a whole number, 1 or more")
        if self.http2:
            raise StartError("http2=True: this version speaks HTTP/1.1 only")
        if self.reload:
            raise StartError("reload=True: this version does not reload; start it again")
        if self.loop not in LOOPS:
            raise StartError(f'loop="{self.loop}": expected one of {", ".join(LOOPS)}')
        if self.uds is not None and self.fd is not None:
            raise StartError("uds= and fd= exclude each other; give one of them")
        if self.uds_mode is not None and self.uds is None:
            raise StartError("uds_mode= goes with uds=")
        if type(self.port) is not int or not 0 <= self.port <= 65535:
            raise StartError(f"port={self.port!r}: expected a number from 0 to 65535")
        for name, most in (("io_uring_num_bufs", 32768), ("io_uring_buf_size", 1 << 20)):
            value = getattr(self, name)
            if type(value) is not int or value < 1:
                raise StartError(f"{name}={value!r}: expected a whole number, 1 or more")
            if value > most:
                raise StartError(f"{name}={value}: expected {most} at most")
        if not self.ssl_certfile and any(
            getattr(self, name) is not None for name in Options._fields if name.startswith("ssl_")
        ):
            raise StartError(
                "TLS needs ssl_certfile= (and ssl_keyfile=, unless that file has the key too)"
            )

    @property
    def buffers(self) -> tuple[int, int]:
        """The number of receive buffers of a ring, and their size in bytes."""
        return self.io_uring_num_bufs, self.io_uring_buf_size


class Recorder:
    """Records calls of `app.run()` while the CLI imports a module that calls it."""

    def __init__(self) -> None:
        self.active = False
        self.calls: list[tuple[ServedApp, Options]] = []

    def __enter__(self) -> Recorder:
        self.active = True
        self.calls.clear()
        return self

    def __exit__(self, *_: object) -> None:
        self.active = False


recorder = Recorder()

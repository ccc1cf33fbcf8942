"""Slow and broken clients: what they do to a normal one, and to the server's memory.

A normal client asks for hello on a few connections, first alone, then beside 5,000 idle
connections, the three modes of slowhttptest, and 1,000 connections a second that are reset.
"""

from __future__ import annotations

import contextlib
import shutil
import socket
import statistics
import struct
import subprocess
import threading
import time
from collections.abc import Iterator
from typing import Any

from bench import machine, native, process, show
from bench.http.targets import ember as ember_command
from bench.native import Load
from bench.part import Options
from bench.process import Server, ServerFailed

_APP = "bench.slow.ember_app"
_REQUEST = b"GET / HTTP/1.1\r\nHost: localhost\r\n\r\n"
_BODY = b"Hello, World!"
#: The options of slowhttptest in each of its modes.
_MODES = {
    "slow headers": ["-H", "-i", "2", "-p", "2"],
    "slow body": ["-B", "-i", "2", "-s", "8192", "-x", "10", "-p", "2", "-t", "POST"],
    "slow read": ["-X", "-w", "64", "-y", "128", "-n", "2", "-z", "64", "-k", "1", "-p", "2"],
}
_LINGER = struct.pack("ii", 1, 0)


@contextlib.contextmanager
def _idle(server: Server, count: int) -> Iterator[None]:
    """`count` connections that asked once and say nothing more."""
    held: list[socket.socket] = []
    try:
        for _ in range(count):
            held.append(socket.create_connection(("127.0.0.1", server.port), 20))
            held[-1].sendall(_REQUEST)
        for sock in held:
            if not sock.recv(4096).endswith(_BODY):
                raise ServerFailed("an idle connection was not answered")
        yield
        # Whoever was held must still be served.
        held[0].sendall(_REQUEST)
        if not held[0].recv(4096).endswith(_BODY):
            raise ServerFailed("an idle connection was given up")
    finally:
        for sock in held:
            sock.close()


@contextlib.contextmanager
def _resets(server: Server, rate: int) -> Iterator[None]:
    """`rate` connections a second that send half a request and are reset."""
    done = threading.Event()

    def break_off() -> None:
        following = time.monotonic()
        while not done.is_set():
            for _ in range(max(rate // 50, 1)):
                with contextlib.suppress(OSError), socket.socket() as sock:
                    sock.connect(("127.0.0.1", server.port))
                    sock.send(_REQUEST[:20])
                    sock.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, _LINGER)
            following += 0.02
            done.wait(max(0.0, following - time.monotonic()))

    thread = threading.Thread(target=break_off)
    thread.start()
    try:
        yield
    finally:
        done.set()
        thread.join()


@contextlib.contextmanager
def _slowhttptest(server: Server, options: list[str], connections: int) -> Iterator[None]:
    """slowhttptest in one of its modes, for as long as this lasts."""
    program = shutil.which("slowhttptest")
    if program is None:
        raise ServerFailed("slowhttptest was not found: apt-get install slowhttptest")
    path = "large" if "-X" in options else "body" if "-B" in options else ""
    command = [program, *options, "-c", str(connections), "-r", str(connections), "-l", "600"]
    child = subprocess.Popen(
        machine.pin_command(
            machine.LOAD_CPU, [*command, "-u", f"http://127.0.0.1:{server.port}/{path}"]
        ),
        stdin=subprocess.DEVNULL,
        stdout=subprocess.DEVNULL,
        stderr=subprocess.DEVNULL,
    )
    try:
        time.sleep(2)  # until its connections are there
        if child.poll() is not None:
            raise ServerFailed(f"slowhttptest ended with status {child.returncode}")
        yield
        if child.poll() is not None:
            raise ServerFailed("slowhttptest ended before the window did")
    finally:
        child.kill()
        child.wait()


def _load(server: Server, seconds: float) -> Load:
    return native.load(server, _REQUEST, _BODY, connections=8, seconds=seconds)


def _figure(windows: list[Load], quiet: list[Load], rss: float) -> dict[str, Any]:
    ratios = [a.p99_us / b.p99_us for a, b in zip(windows, quiet, strict=False)]
    return {
        "p99_us": round(statistics.median(x.p99_us for x in windows), 1),
        "ratio": round(statistics.median(ratios), 3),
        "rate": round(statistics.median(x.rate for x in windows)),
        "rss_mb": round(rss, 1),
    }


def run(options: Options) -> dict[str, Any]:
    """Rounds of: alone, then each kind of client. Every answer of the normal one must be right."""
    quick = options.quick
    turns, window = options.turns(3), options.window(4, quick=1)
    idle, many = (500, 100) if quick else (5000, 1000)
    missing: dict[str, str] = {}
    port = process.free_port()
    command = ember_command(_APP, "compiled")(port)
    server = process.start("slow-ember", command, port=port, env={"EMBER_LOOP": "io_uring"})
    quiet: list[Load] = []
    others: dict[str, list[Load]] = {}
    memory: dict[str, float] = {}
    left: list[float] = []

    def clients(name: str) -> contextlib.AbstractContextManager[None]:
        if name == "idle":
            return _idle(server, idle)
        if name == "resets":
            return _resets(server, many)
        return _slowhttptest(server, _MODES[name], many)

    kinds = ["idle", *_MODES, "resets"]
    try:
        _load(server, window)  # warm
        first = server.rss()
        for turn in range(turns):
            quiet.append(_load(server, window))
            for number, name in enumerate(kinds):
                show.progress(turn * len(kinds) + number, turns * len(kinds), name)
                if name in missing:
                    continue
                try:
                    with clients(name):
                        others.setdefault(name, []).append(_load(server, window))
                        memory[name] = max(memory.get(name, 0.0), server.rss())
                except (ServerFailed, OSError) as reason:
                    missing[name] = str(reason)
                    show.warn(f"{name}: {reason}")
            time.sleep(1)  # what was broken off is cleared away
            left.append(server.rss())
    finally:
        server.stop()
    show.clear()
    return {
        "quiet": _figure(quiet, quiet, first),
        "clients": {
            name: _figure(found, quiet, memory[name])
            for name, found in others.items()
            if name not in missing
        },
        "first_mb": round(left[0] - first, 1),
        "left_mb": round(left[-1] - left[0], 1),
        "idle": idle,
        "many": many,
        "rounds": turns,
        "seconds": window,
        "missing": missing,
    }

"""The C programs, the floor and the generators: compiled when they are first needed."""

from __future__ import annotations

import json
import os
import shutil
import subprocess
import tempfile
from dataclasses import dataclass
from pathlib import Path

from bench import machine, process
from bench.paths import HERE, WORK
from bench.process import Server, ServerFailed

_FLAGS = ["-O2", "-Wall", "-Wextra", "-std=gnu11"]


def build(name: str) -> Path:
    """Compile `bench/NAME/NAME.c` into the work folder unless that was done; return the program."""
    source, program = HERE / name / f"{name}.c", WORK / name
    changed = max(file.stat().st_mtime for file in (source, HERE / "measure.h"))
    if program.exists() and program.stat().st_mtime > changed:
        return program
    compiler = shutil.which("gcc") or shutil.which("cc")
    if not compiler:
        raise SystemExit(
            "bench needs a C compiler for the floor and the load generator: apt-get install gcc"
        )
    WORK.mkdir(parents=True, exist_ok=True)
    fresh = WORK / f"{name}.{os.getpid()}"  # renamed when whole: two runs may build at once
    done = subprocess.run(
        [compiler, *_FLAGS, "-o", str(fresh), str(source)],
        capture_output=True,
        text=True,
        check=False,
    )
    if done.returncode:
        raise SystemExit(f"bench/{name}/{name}.c does not compile:\n{done.stderr}")
    fresh.rename(program)
    return program


def start_floor(name: str, answer: bytes) -> Server:
    """Start a floor that gives `answer` to every request."""
    program, port = build("floor"), process.free_port()
    with tempfile.NamedTemporaryFile() as file:
        file.write(answer)
        file.flush()
        return process.start(name, [str(program), file.name, str(port)], port=port)


@dataclass(frozen=True)
class Load:
    """One measured window."""

    answers: int
    seconds: float
    server_cpu: float
    own_cpu: float
    p50_us: float
    p90_us: float
    p99_us: float
    p999_us: float
    max_us: float

    @property
    def cpu_us(self) -> float:
        """CPU time of the server per answer, in microseconds."""
        return self.server_cpu / self.answers * 1e6

    @property
    def rate(self) -> float:
        """Answers per second."""
        return self.answers / self.seconds


def load(
    server: Server,
    request: bytes,
    wire_body: bytes,
    *,
    connections: int = 64,
    depth: int = 1,
    warmup: float = 0.2,
    seconds: float = 1.0,
) -> Load:
    """Send `request` over and over; each answer must be a 200 with `wire_body` after its head.

    Raises ServerFailed when an answer was wrong, a connection closed, or the server silent.
    """
    program = build("load")
    with tempfile.TemporaryDirectory(prefix="ember-bench-") as folder:
        files = [Path(folder, "request"), Path(folder, "body")]
        files[0].write_bytes(request)
        files[1].write_bytes(wire_body)
        numbers = (server.port, connections, depth, warmup, seconds)
        for _ in range(3):
            command = [str(x) for x in (program, *numbers, *files, *server.pids())]
            result = _window(server, command, warmup + seconds + 60)
            # On a machine that others use, a short window can pass without the server's turn.
            if result.answers:
                return result
    raise ServerFailed("under load: not one answer in the measured window, three times")


def _window(server: Server, command: list[str], timeout: float) -> Load:
    done = subprocess.run(
        machine.pin_command(machine.LOAD_CPU, command),
        capture_output=True,
        text=True,
        check=False,
        timeout=timeout,
    )
    if done.returncode:
        reason = " ".join(done.stderr.split())[:200]
        raise ServerFailed(f"under load: {reason or server.last_words()}")
    return Load(**json.loads(done.stdout))

"""Every system call and allocation of the compiled code fails once, with each error it can have.

`shim.c` is compiled and preloaded; `played` runs in that process: a server, clients that ask it
for everything that moves bytes in another way, and after each failure the question whether all is
as before. `python -m fuzz faults`; EMBER_LOOP=io_uring or epoll chooses one backend.
"""

from __future__ import annotations

import os
import shutil
import subprocess
import sys
import sysconfig
import tempfile
from collections import Counter
from pathlib import Path

from ember._build import PURE

from fuzz.engine import Finding

SHIM = Path(__file__).with_name("shim.c")
#: Seconds that a process may be silent.
SILENCE = 120.0


def compiler() -> str | None:
    """The C compiler that Python names, or another; None where there is none."""
    named = (sysconfig.get_config_var("CC") or "cc").split()[-1]
    return shutil.which(named) or shutil.which("cc") or shutil.which("gcc")


def compile_shim(folder: str | Path) -> Path:
    """The library to preload. Raises CalledProcessError with what the compiler said."""
    cc = compiler()
    assert cc is not None, "there is no C compiler"
    library = Path(folder) / "shim.so"
    command = [cc, "-O1", "-g", "-Wall", "-shared", "-fPIC", str(SHIM), "-o", str(library), "-ldl"]
    subprocess.run(command, check=True, capture_output=True, text=True)
    return library


def preloaded(
    library: Path, backend: str, arguments: list[str], seconds: float
) -> tuple[int, str, str]:
    """`fuzz.faults.played` on `backend`; its exit status, output and errors."""
    preload = " ".join(filter(None, (str(library), os.environ.get("LD_PRELOAD"))))
    env = {**os.environ, "LD_PRELOAD": preload, "EMBER_LOOP": backend}
    command = [sys.executable, "-X", "faulthandler", "-m", "fuzz.faults.played", *arguments]
    done = subprocess.run(
        command, env=env, capture_output=True, text=True, timeout=seconds + SILENCE, check=False
    )
    return done.returncode, done.stdout, done.stderr


def backends() -> list[str]:
    """The backends of the compiled loop that can be had here; none in the pure build."""
    if PURE:
        return []
    from ember.eventloop._stream import probe_ring

    named = os.environ.get("EMBER_LOOP")
    names = [named] if named else ["io_uring", "epoll"]
    return [name for name in names if name == "epoll" or probe_ring() is None]


def run(seconds: float, seed: int) -> dict[str, int]:
    """Let calls fail for `seconds`, in an order that `seed` decides; how often each did. Raises
    Finding for a crash, a hang or a leak."""
    counts: Counter[str] = Counter()
    names = backends()
    with tempfile.TemporaryDirectory() as folder:
        library = compile_shim(folder)
        for name in names:
            share = seconds / len(names)
            arguments = [f"--seconds={share}", f"--seed={seed}"]
            status, output, errors = preloaded(library, name, arguments, share)
            if status:
                raise Finding(f"{name}: exit {status}\n{output[-3000:]}\n{errors[-6000:]}")
            for line in output.splitlines():
                call, _, times = line.rpartition(" ")
                counts[f"{name}: {call}"] += int(times)
    return dict(counts)

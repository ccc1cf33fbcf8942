"""Children that handlers fork: their signals are theirs alone."""

from __future__ import annotations

import signal
from pathlib import Path

import pytest

from tests.support.service import Serve, write

FORKS = """
import multiprocessing, signal

def wait(theirs):
    try:
        os.write(theirs, b"x")
        while True:
            time.sleep(0.02)
    except KeyboardInterrupt:
        os._exit(77)
    os._exit(0)

def kill(child, number):
    # Until it has ended. In a child that a thread forked, Python 3.13.0 acts on a signal only where
    # it interrupts a system call.
    while os.waitid(os.P_PID, child, os.WEXITED | os.WNOHANG | os.WNOWAIT) is None:
        os.kill(child, number)
        time.sleep(0.05)

def forked(number):
    ours, theirs = os.pipe()
    child = os.fork()
    if child == 0:
        wait(theirs)
    os.read(ours, 1)
    kill(child, number)
    status = os.waitstatus_to_exitcode(os.waitpid(child, 0)[1])
    for fd in (ours, theirs):
        os.close(fd)
    return {"status": status}

@app.get("/loop/{number:int}")
async def in_loop(number: int):
    return forked(number)

@app.get("/thread/{number:int}")
def in_thread(number: int):
    return forked(number)

@app.get("/process/{number:int}")
def as_process(number: int):
    ours, theirs = os.pipe()
    process = multiprocessing.get_context("fork").Process(target=wait, args=(theirs,))
    process.start()
    os.read(ours, 1)
    kill(process.pid, number)
    process.join()
    for fd in (ours, theirs):
        os.close(fd)
    return {"status": process.exitcode}
"""
NUMBERS = [signal.SIGTERM, signal.SIGINT, signal.SIGHUP, signal.SIGUSR1, signal.SIGUSR2]


@pytest.mark.once_per_build
@pytest.mark.parametrize(
    ("workers", "loop"), [("1", "auto"), ("2", "auto"), ("1", "asyncio"), ("2", "uvloop")]
)
def test_a_signal_for_a_child_of_a_handler_is_not_the_servers(
    tmp_path: Path, serve: Serve, workers: str, loop: str
) -> None:
    if loop == "uvloop":
        pytest.importorskip("uvloop")
    write(tmp_path, FORKS)
    service = serve("--workers", workers, "--loop", loop)
    pids = service.ready()
    for number in NUMBERS:
        expected = 77 if number == signal.SIGINT else -number
        for way in ("loop", "thread", "process"):
            assert service.get(f"/{way}/{int(number)}") == {"status": expected}, (way, number)
    assert service.status("/readyz") == 200
    assert service.ready() == pids
    assert service.stop() == 0
    assert len(service.lines) == 1, service.text  # where it serves, and no more

"""Which loop runs, and how a choice that cannot be had is refused."""

from __future__ import annotations

import asyncio
import errno
import gc
import os
import subprocess
import sys

import ember.eventloop
import pytest
from ember._build import ASKED_PURE

compiled = pytest.mark.skipif(ASKED_PURE, reason="the pure build has no loop of its own")

# Answers EPERM to io_uring_setup, as the seccomp profiles of containers do.
FORBID_IO_URING = """
import ctypes, struct
libc = ctypes.CDLL(None, use_errno=True)
code = [(0x20, 0, 0, 0), (0x15, 0, 1, 425), (0x06, 0, 0, 0x00050001), (0x06, 0, 0, 0x7fff0000)]
filters = ctypes.create_string_buffer(b"".join(struct.pack("HBBI", *c) for c in code))
class Program(ctypes.Structure):
    _fields_ = [("length", ctypes.c_ushort), ("filters", ctypes.c_void_p)]
program = Program(len(code), ctypes.addressof(filters))
assert libc.prctl(38, 1, 0, 0, 0) == 0
assert libc.prctl(22, 2, ctypes.byref(program)) == 0, ctypes.get_errno()
"""


@pytest.mark.parametrize("name", ["asyncio", "uvloop"])
def test_a_foreign_loop_can_be_forced(name: str, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("EMBER_LOOP", name)
    assert ember.eventloop.choose().name == name
    loop = ember.eventloop.new_event_loop()
    assert loop.run_until_complete(asyncio.sleep(0, 5)) == 5
    assert type(loop).__module__.startswith(name)
    loop.close()


@compiled
@pytest.mark.parametrize("name", ["io_uring", "epoll"])
def test_a_backend_can_be_forced(name: str, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("EMBER_LOOP", name)
    if ember.eventloop.report()["available"][name] is not True:
        pytest.skip(f"no {name} here")
    loop = ember.eventloop.new_event_loop()
    assert isinstance(loop, ember.eventloop.Loop)
    assert loop.backend is None
    loop.run_until_complete(asyncio.sleep(0))
    assert loop.backend == name
    loop.close()


def test_an_unknown_name_is_refused_with_the_known_ones(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("EMBER_LOOP", "libev")
    with pytest.raises(RuntimeError, match="unknown loop; known: io_uring, epoll, uvloop, asyncio"):
        ember.eventloop.choose()
    report = ember.eventloop.report()
    assert report["loop"] is None
    assert "libev" in report["reason"]


def test_without_a_wish_the_best_is_chosen_and_explained(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delenv("EMBER_LOOP", raising=False)
    choice = ember.eventloop.choose()
    report = ember.eventloop.report()
    assert choice.name in ("io_uring", "epoll", "uvloop", "asyncio")
    assert choice.reason
    assert report["loop"] == choice.name
    assert report["available"][choice.name] is True
    assert report["forced"] is None


def test_run_runs_on_the_chosen_loop(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("EMBER_LOOP", "asyncio")

    async def main() -> str:
        return type(asyncio.get_running_loop()).__module__

    assert ember.eventloop.run(main()).startswith("asyncio")


def run_code(code: str, **environment: str) -> subprocess.CompletedProcess[str]:
    import os

    clean = {k: v for k, v in os.environ.items() if not k.startswith("EMBER_")}
    return subprocess.run(
        [sys.executable, "-c", code],
        env={**clean, **environment},
        capture_output=True,
        text=True,
        timeout=120,
        check=False,
    )


@compiled
def test_where_io_uring_is_forbidden_epoll_serves() -> None:
    code = FORBID_IO_URING + (
        "import asyncio, ember.eventloop as e\n"
        "print(e.choose().name, e.choose().reason)\n"
        "async def main():\n"
        "    server = await asyncio.start_server(lambda r, w: w.close(), '127.0.0.1', 0)\n"
        "    r, w = await asyncio.open_connection(*server.sockets[0].getsockname())\n"
        "    assert await r.read() == b''\n"
        "    w.close()\n"
        "    return asyncio.get_running_loop().backend\n"
        "print(e.run(main()))\n"
        "loop = e.Loop()\n"
        "loop.run_until_complete(asyncio.sleep(0))\n"
        "print(loop.backend, loop.backend_reason)\n"
        "loop.close()\n"
    )
    done = run_code(code)
    assert done.returncode == 0, done.stderr
    chosen, ran, by_itself = done.stdout.splitlines()
    assert chosen.startswith("epoll io_uring is forbidden here")
    assert ran == "epoll"
    assert by_itself.startswith("epoll io_uring is forbidden here")


@compiled
def test_forcing_io_uring_where_it_is_forbidden_fails_loudly() -> None:
    code = FORBID_IO_URING + "import ember.eventloop as e\ne.new_event_loop()\n"
    done = run_code(code, EMBER_LOOP="io_uring")
    assert done.returncode != 0
    assert "RuntimeError: EMBER_LOOP=io_uring: io_uring is forbidden here" in done.stderr


def test_the_pure_build_runs_on_a_foreign_loop_and_says_why() -> None:
    code = (
        "import ember.eventloop as e\n"
        "print(e.choose().name, e.choose().reason)\n"
        "e.new_event_loop().close()\n"
    )
    done = run_code(code, EMBER_PURE="1")
    assert done.returncode == 0, done.stderr
    assert done.stdout.split()[0] in ("uvloop", "asyncio")
    assert "EMBER_PURE=1" in done.stdout
    forced = run_code(code, EMBER_PURE="1", EMBER_LOOP="epoll")
    assert "EMBER_LOOP=epoll: EMBER_PURE=1 asks for the pure build" in forced.stderr


@compiled
@pytest.mark.parametrize("missing", ["selectors.DefaultSelector", "socket.socketpair"])
def test_a_loop_that_could_not_be_made_leaves_nothing_and_says_no_more(
    missing: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    def fail(*_: object) -> None:
        raise OSError(errno.EMFILE, os.strerror(errno.EMFILE))

    unraisable: list[object] = []
    monkeypatch.setattr(sys, "unraisablehook", unraisable.append)
    before = len(os.listdir("/proc/self/fd"))
    monkeypatch.setattr(missing, fail)
    for _ in range(3):
        with pytest.raises(OSError, match=os.strerror(errno.EMFILE)):
            ember.eventloop.Loop()
    gc.collect()
    assert unraisable == []
    assert len(os.listdir("/proc/self/fd")) == before

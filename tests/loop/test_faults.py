"""Calls of the compiled code that fail, each once: a short run of `make fuzz ARGS=faults`."""

from __future__ import annotations

import errno
from pathlib import Path

import pytest

from fuzz import faults
from fuzz.faults.calls import ALLOCATIONS, LIVING, SERVING, SHORT

pytestmark = pytest.mark.skipif(not faults.backends(), reason="the pure build has no loop")

#: Seconds for the faults; a process that hangs is silent for longer.
SECONDS = 3.0
#: Calls that only one of the backends makes.
OF_RING = {"io_uring_enter", "ring recv", "ring send"}
OF_EPOLL = {"epoll_ctl", "recv"}


@pytest.fixture(scope="module")
def shim(tmp_path_factory: pytest.TempPathFactory) -> Path:
    if faults.compiler() is None:
        pytest.skip("there is no C compiler; on Debian: apt-get install gcc libc6-dev")
    return faults.compile_shim(tmp_path_factory.mktemp("shim"))


@pytest.fixture(params=faults.backends())
def backend(request: pytest.FixtureRequest) -> str:
    return str(request.param)


def run(shim: Path, backend: str, *arguments: str, seconds: float = SECONDS) -> tuple[int, str]:
    status, output, errors = faults.preloaded(shim, backend, list(arguments), seconds)
    return status, output + errors


@pytest.mark.parametrize("kind", ["served", "hot"])
def test_nothing_crashes_hangs_or_is_left_when_a_call_fails(
    shim: Path, backend: str, kind: str
) -> None:
    wanted = {"hot: python"}
    if kind == "served":
        wanted = {f"served: {call}" for call in (OF_RING if backend == "io_uring" else OF_EPOLL)}
    # The order is always the same; how far it gets in so many seconds depends on the machine.
    for seconds in (SECONDS, 5 * SECONDS, 25 * SECONDS):
        options = f"--seconds={seconds}", f"--kinds={kind}", "--seed=1"
        status, told = run(shim, backend, *options, seconds=seconds)
        assert status == 0, told
        hit = {
            line.rpartition(" ")[0] for line in told.splitlines() if line.startswith(f"{kind}: ")
        }
        if wanted <= hit:
            break
    assert wanted <= hit, told
    assert kind == "served" or hit == wanted


@pytest.mark.parametrize("call", ["mmap", "eventfd", "of the backend"])
def test_a_loop_that_cannot_be_made_says_so_and_leaves_nothing(
    shim: Path, backend: str, call: str
) -> None:
    if call == "of the backend":
        call = "io_uring_setup" if backend == "io_uring" else "epoll_create1"
    status, told = run(shim, backend, "--only", f'["lived", "{call}", 1, 1, 12]')
    assert status == 0, told
    assert f"lived: {call} 1" in told


@pytest.mark.skipif("io_uring" not in faults.backends(), reason="only the ring takes submissions")
@pytest.mark.parametrize("nth", [3, 4, 5, 6])
def test_what_the_ring_did_not_take_is_not_overwritten(shim: Path, nth: int) -> None:
    status, told = run(
        shim, "io_uring", "--only", f'["served", "io_uring_enter", {nth}, 2, {errno.EBUSY}]'
    )
    assert status == 0, told
    assert "served: io_uring_enter 1" in told


def test_a_client_that_waits_in_vain_is_found(shim: Path, backend: str) -> None:
    call = "ring recv" if backend == "io_uring" else "recv"
    fault = f'["served", "{call}", 1, 1000000000, {errno.EINTR}]'
    status, told = run(shim, backend, "--timeout=0.5", "--only", fault)
    assert status == 1, told
    assert f"{fault}: " in told


def test_every_call_has_an_error_that_is_known() -> None:
    for calls in (SERVING, LIVING, ALLOCATIONS):
        for call, errors in calls.items():
            assert errors, call
            for error in errors:
                assert error == SHORT or error in errno.errorcode, (call, error)

"""A few of CPython's test modules on every run; all of them with `make test-loop`."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

import pytest
from ember._build import ASKED_PURE

pytestmark = [pytest.mark.once, pytest.mark.slow]


@pytest.mark.skipif(ASKED_PURE, reason="the pure build has no loop of its own")
@pytest.mark.timeout(600)
@pytest.mark.parametrize("backend", ["io_uring", "epoll"])
def test_cpythons_own_tests_pass_as_on_stock_asyncio(backend: str) -> None:
    from ember.eventloop._stream import probe_ring

    if backend == "io_uring" and (refusal := probe_ring()) is not None:
        pytest.skip(refusal)
    done = subprocess.run(
        [sys.executable, "-m", "tests.loop", "--quick", "--jobs", "1", "--backend", backend],
        cwd=Path(__file__).resolve().parents[2],
        capture_output=True,
        text=True,
        timeout=550,
        check=False,
    )
    assert done.returncode == 0, done.stdout + done.stderr
    assert "none fails that passes on stock asyncio" in done.stdout

"""Compiled, compiled without kept answers, and pure: the same conversation, the same bytes."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest
from ember._build import PURE

pytestmark = pytest.mark.once

SCRIPT = Path(__file__).with_name("conversation.py")


def said(seed: int, kind: str, pure: bool) -> dict[str, Any]:
    done = subprocess.run(
        [sys.executable, str(SCRIPT), str(seed), kind],
        env={**os.environ, "EMBER_PURE": "1" if pure else "0"},
        capture_output=True,
        text=True,
        check=True,
        timeout=120,
    )
    found: dict[str, Any] = json.loads(done.stdout)
    return found


@pytest.mark.skipif(PURE, reason="the other runs compare the pure build with the compiled one")
@pytest.mark.parametrize("seed", [1, 2, 3])
def test_every_build_and_both_ways_say_the_same(seed: int) -> None:
    quick = said(seed, "quick", pure=False)
    slow = said(seed, "slow", pure=False)
    pure = said(seed, "quick", pure=True)
    assert quick["given"] > 10
    assert (slow["given"], pure["given"]) == (0, 0)
    for number, pieces in enumerate(zip(quick["said"], slow["said"], pure["said"], strict=True)):
        assert len(set(pieces)) == 1, (number, pieces)

"""Where things lie. Everything that is made at run time goes below `build/`, results excepted."""

from __future__ import annotations

import sys
from pathlib import Path

HERE = Path(__file__).resolve().parent
ROOT = HERE.parent
WORK = ROOT / "build" / "bench"
PEERS_VENV = ROOT / "build" / "peers-venv"
RESULTS = HERE / "results"


def relative(text: str) -> str:
    """`text` without this machine's folders: what is printed or stored names no absolute path."""
    for folder, name in ((str(ROOT), "."), (sys.prefix, "$VENV"), (str(Path.home()), "~")):
        text = text.replace(folder, name)
    return text

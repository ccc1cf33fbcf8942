"""Which modules serve: those of the build that was asked for, whoever is installed beside them."""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path

SOURCE = Path(__file__).parents[1] / "src"
ALONE = """
import sys
sys.path.insert(0, sys.argv[1])
import ember.headers, ember.request, ember.response
from ember.protocol import MemoryConnection, serve
from ember.protocol.message.query import parse_query
print(*(m.__file__ for n, m in sys.modules.items() if n.startswith("ember.") and m.__file__))
"""


def test_what_is_pure_loads_nothing_that_is_compiled_without_the_framework_too() -> None:
    # -S: what is installed in this environment, the framework among it, is not there.
    done = subprocess.run(
        [sys.executable, "-I", "-S", "-c", ALONE, str(SOURCE)],
        env={**os.environ, "EMBER_PURE": "1"},
        capture_output=True,
        text=True,
    )
    assert done.returncode == 0, done.stderr
    files = done.stdout.split()
    assert [file for file in files if not file.endswith(".py")] == []
    assert any(file.endswith("_response.py") for file in files)

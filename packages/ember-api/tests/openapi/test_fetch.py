"""scripts/fetch-docs-ui: aloud where it cannot fetch, and nothing of another hash gets in."""

from __future__ import annotations

import os
import shutil
import subprocess
from pathlib import Path

import pytest

pytestmark = pytest.mark.once

SCRIPT = Path(__file__).parents[4] / "scripts" / "fetch-docs-ui"
TOOLS = ("bash", "sha256sum", "cut", "dirname", "mktemp", "rm", "timeout", "tar", "gzip", "tail")

NOT_THE_PACKAGE = """#!/bin/bash
PATH=/usr/bin:/bin
mkdir -p package
for f in swagger-ui-bundle.js swagger-ui.css LICENSE NOTICE; do echo evil > package/$f; done
tar -czf swagger-ui-dist-0.tgz package
"""
NO_NETWORK = "#!/bin/bash\necho 'npm error network is unreachable' >&2\nexit 1\n"


def fetch(folder: Path, npm: str | None) -> subprocess.CompletedProcess[str]:
    """Run a copy of the script where `npm` is what npm does; None for a machine without it."""
    (folder / "scripts").mkdir()
    shutil.copy(SCRIPT, folder / "scripts")
    programs = folder / "bin"
    programs.mkdir()
    for tool in TOOLS:
        found = shutil.which(tool)
        assert found, tool
        (programs / tool).symlink_to(found)
    if npm is not None:
        (programs / "npm").write_text(npm)
        (programs / "npm").chmod(0o755)
    return subprocess.run(
        [str(programs / "bash"), str(folder / "scripts" / "fetch-docs-ui")],
        env={**os.environ, "PATH": str(programs)},
        capture_output=True,
        text=True,
        timeout=120,
        check=False,
    )


@pytest.mark.parametrize(
    ("npm", "why"),
    [
        (None, "npm is not installed (apt-get install npm)"),
        (NO_NETWORK, "npm could not fetch it (npm error network is unreachable)"),
    ],
)
def test_without_npm_or_network_the_setup_goes_on_and_says_so(
    tmp_path: Path, npm: str | None, why: str
) -> None:
    done = fetch(tmp_path, npm)
    assert done.returncode == 0, done.stderr
    assert f"no Swagger UI: {why}; /docs will be a plain list of the operations" in done.stdout
    assert not (tmp_path / "packages").exists()


def test_a_package_of_another_hash_is_refused(tmp_path: Path) -> None:
    done = fetch(tmp_path, NOT_THE_PACKAGE)
    assert done.returncode == 1
    assert "swagger-ui-bundle.js is not what it was" in done.stderr
    assert not (tmp_path / "packages").exists()

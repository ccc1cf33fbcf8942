"""What a test says that a program is missing for."""

from __future__ import annotations

import re
from pathlib import Path

import pytest

from tests.support.services import CURES, unavailable

ROOT = Path(__file__).parents[1]

pytestmark = pytest.mark.once


@pytest.mark.parametrize(
    ("program", "cure"),
    [
        ("helm", "EMBER_CI=1 make setup"),
        ("hadolint", "EMBER_CI=1 make setup"),
        ("redis-server", "`make setup` installs it"),
        ("curl", "apt-get install curl"),
    ],
)
def test_a_missing_program_is_named_with_what_installs_it(
    monkeypatch: pytest.MonkeyPatch, program: str, cure: str
) -> None:
    monkeypatch.delenv("EMBER_CI", raising=False)
    with pytest.raises(pytest.skip.Exception, match=f"{program} is missing") as skipped:
        unavailable(program)
    assert cure in str(skipped.value)
    monkeypatch.setenv("EMBER_CI", "1")
    with pytest.raises(pytest.fail.Exception, match=f"{program} is missing, and EMBER_CI=1"):
        unavailable(program)


def test_what_setup_is_said_to_install_it_installs() -> None:
    setup = (ROOT / "scripts" / "setup").read_text()
    project = (ROOT / "pyproject.toml").read_text()
    [group] = re.findall(r"^deploy = \[(.*)\]", project, re.MULTILINE)
    assert "--group deploy" in setup
    for program, cure in CURES.items():
        if "EMBER_CI=1 make setup" in cure:
            assert re.search(rf'"{program}(-\w+)?>=', group), program
        elif cure.startswith("`make setup`") and program not in ("initdb", "pg_ctl"):
            assert f"services+=({program}" in setup

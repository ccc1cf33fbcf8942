"""`ember new` makes a project that starts and passes its own test (E90)."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

import pytest

pytestmark = pytest.mark.once

EMBER = [sys.executable, "-m", "ember"]


def ember(folder: Path, *arguments: str) -> subprocess.CompletedProcess[str]:
    return subprocess.run(
        [*EMBER, *arguments], cwd=folder, capture_output=True, text=True, timeout=120, check=False
    )


@pytest.mark.parametrize(
    ("template", "tests_of_it", "needs"),
    [("api", 3, "ember-api"), ("fullstack", 4, "ember-api[templates]")],
)
def test_a_new_project_passes_its_own_tests(
    tmp_path: Path, template: str, tests_of_it: int, needs: str
) -> None:
    done = ember(tmp_path, "new", "my-app", "--template", template)
    assert done.returncode == 0, done.stderr
    assert "cd my-app" in done.stdout
    project = tmp_path / "my-app"
    assert (project / ".gitignore").exists()
    assert not list(project.rglob("*.tmpl"))
    assert not [f for f in project.rglob("*") if f.is_file() and "@NAME" in f.read_text()]
    assert f'dependencies = ["{needs}"]' in (project / "pyproject.toml").read_text()
    tests = ember(project, "test", "-q", "-W", "error")
    assert tests.returncode == 0, tests.stdout + tests.stderr
    assert f"{tests_of_it} passed" in tests.stdout
    # What the README says works without ember's command too.
    plain = [sys.executable, "-m", "pytest", "-q"]
    assert subprocess.run(plain, cwd=project, check=False, capture_output=True).returncode == 0


@pytest.mark.parametrize("template", ["api", "fullstack"])
def test_a_new_project_has_routes_and_a_document(tmp_path: Path, template: str) -> None:
    assert ember(tmp_path, "new", "shop", "--template", template).returncode == 0
    assert "/notes" in ember(tmp_path / "shop", "routes").stdout
    document = ember(tmp_path / "shop", "openapi").stdout
    assert '"title": "shop"' in document
    assert '"#/components/schemas/NewNote"' in document


def test_ember_test_gives_the_exit_status_of_pytest(tmp_path: Path) -> None:
    (tmp_path / "test_it.py").write_text("async def test_it():\n    assert False\n")
    done = ember(tmp_path, "test", "-q", "-k", "it")
    assert (done.returncode, "1 failed" in done.stdout) == (1, True)
    assert ember(tmp_path, "test", "-q", "-k", "nothing").returncode == 5


def test_a_folder_that_is_taken_is_left_alone(tmp_path: Path) -> None:
    (tmp_path / "taken").mkdir()
    (tmp_path / "taken" / "mine.txt").write_text("mine")
    done = ember(tmp_path, "new", "taken")
    assert done.returncode == 1
    assert done.stderr == "ember: taken exists already and is not empty; choose another name\n"
    assert [f.name for f in (tmp_path / "taken").iterdir()] == ["mine.txt"]
    (tmp_path / "empty").mkdir()
    assert ember(tmp_path, "new", "empty").returncode == 0


@pytest.mark.parametrize("name", ["-", "a b", "é", "a/..", "x-"])
def test_an_invalid_name_is_refused(tmp_path: Path, name: str) -> None:
    done = ember(tmp_path, "new", "--", name)
    assert done.returncode == 1
    assert "a name consists of letters, digits" in done.stderr
    assert not list(tmp_path.iterdir())

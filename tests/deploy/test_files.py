"""The deploy files pass the linters of their trades, and say nothing that `ember` does not know."""

from __future__ import annotations

import importlib
import json
import re
import shlex
import shutil
import subprocess
import sys
from pathlib import Path
from typing import Any

import click
import pytest
from ember.cli.start import command as start_command

from tests.support.services import find_program, unavailable

from .conftest import DEPLOY, ROOT

pytestmark = pytest.mark.once

CHART = DEPLOY / "helm" / "ember"
EVERYTHING = {
    "ingress.enabled": "true",
    "ingress.className": "nginx",
    "ingress.tlsSecret": "tasks-tls",
    "autoscaling.enabled": "true",
    "metrics.enabled": "true",
    "workers": "4",
    "args[0]": "--debug",
    "podAnnotations.team": "tasks",
    "nodeSelector.disk": "ssd",
    "serviceAccount.create": "false",
}


def tool(name: str) -> str:
    """A linter of the group `deploy`, which set-up installs where everything has to be there."""
    return find_program(name, str(Path(sys.executable).parent)) or unavailable(name)


def run(*command: str) -> str:
    done = subprocess.run(command, capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stdout + done.stderr
    return done.stdout


def render(values: dict[str, str]) -> list[dict[str, Any]]:
    yaml = pytest.importorskip("yaml")
    settings = [part for name, value in values.items() for part in ("--set", f"{name}={value}")]
    text = run(tool("helm"), "template", "board", str(CHART), *settings)
    return [document for document in yaml.safe_load_all(text) if document]


def test_the_dockerfile_pleases_hadolint() -> None:
    run(tool("hadolint"), str(DEPLOY / "docker" / "Dockerfile"))


def test_the_chart_pleases_helm() -> None:
    run(tool("helm"), "lint", "--strict", "--quiet", str(CHART))


@pytest.mark.parametrize("values", [{}, EVERYTHING], ids=["as it is", "everything on"])
def test_what_the_chart_makes_is_what_kubernetes_takes(values: dict[str, str]) -> None:
    tool("kubernetes-validate")
    kubernetes_validate = importlib.import_module("kubernetes_validate")
    made = render(values)
    assert {"Deployment", "Service"} <= {document["kind"] for document in made}
    for document in made:
        kubernetes_validate.validate(document, kubernetes_validate.latest_version(), strict=True)


def test_the_chart_waits_longer_than_the_application_drains() -> None:
    made = render({"drainDelay": "7", "shutdownTimeout": "30"})
    (pod,) = (d["spec"]["template"]["spec"] for d in made if d["kind"] == "Deployment")
    assert pod["terminationGracePeriodSeconds"] > 7 + 30


@pytest.mark.parametrize("value", ["workers=0", "app=nothing", "port=70000"])
def test_wrong_values_are_refused_by_name(value: str) -> None:
    done = subprocess.run(
        [tool("helm"), "template", "board", str(CHART), "--set", value],
        capture_output=True,
        text=True,
        check=False,
    )
    assert done.returncode != 0
    assert value.partition("=")[0] in done.stderr


def test_the_units_please_systemd(tmp_path: Path) -> None:
    program = find_program("systemd-analyze") or unavailable("systemd-analyze")
    true = shutil.which("true")
    for unit in (DEPLOY / "systemd").iterdir():
        text = unit.read_text().replace("/srv/app/.venv/bin/ember", str(true))
        (tmp_path / unit.name).write_text(text.replace("/srv/app", "/"))
    done = subprocess.run(
        [program, "verify", *(str(unit) for unit in sorted(tmp_path.iterdir()))],
        capture_output=True,
        text=True,
        check=False,
    )
    complaints = [line for line in done.stderr.splitlines() if "ember" in line]
    assert not complaints
    assert done.returncode == 0, done.stderr


def commands() -> dict[str, list[str]]:
    """Every call of `ember start` in the deploy files, by file."""
    docker = (DEPLOY / "docker" / "Dockerfile").read_text()
    unit = (DEPLOY / "systemd" / "ember.service").read_text()
    found = {
        "Dockerfile": json.loads(re.findall(r"^CMD (\[.*\])$", docker, re.M)[-1]),
        "ember.service": shlex.split(re.findall(r"^ExecStart=(.*)$", unit, re.M)[0]),
    }
    if find_program("helm", str(Path(sys.executable).parent)):
        (pod,) = (d["spec"]["template"]["spec"] for d in render({}) if d["kind"] == "Deployment")
        found["chart"] = pod["containers"][0]["command"]
    return found


def test_every_command_is_one_that_ember_understands() -> None:
    for where, words in commands().items():
        at = words.index("start")
        context = click.Context(start_command, info_name="start")
        start_command.parse_args(context, words[at + 1 :])
        assert context.params["target"], where


def test_the_image_serves_what_is_in_the_repository() -> None:
    from ember.cli.locate import locate

    target = commands()["Dockerfile"]
    app, _ = locate(target[target.index("--app") + 1])
    assert app.title == "Tasks"
    assert (ROOT / "examples" / "tasks").is_dir()

"""A start that hangs: at the first start, at a reload, and when it is told to stop meanwhile."""

from __future__ import annotations

import signal
import sys
import time
from contextlib import ExitStack
from pathlib import Path

import pytest

from tests.support.service import APP, Serve, Service, start, write
from tests.support.waiting import eventually, tries

pytestmark = pytest.mark.once

#: Ways to hang, each of which says so when it does.
HANGS = {
    "the import": """
def hangs():
    say("now it hangs")
    time.sleep(1000)
hangs()
""",
    "a hook": """
@app.hook(Events.BEFORE_SERVER_START)
async def hangs():
    say("now it hangs")
    await asyncio.sleep(1000)
""",
    "a hook that swallows": """
@app.hook(Events.BEFORE_SERVER_START)
async def hangs():
    say("now it hangs")
    while True:
        try:
            await asyncio.sleep(1000)
        except asyncio.CancelledError:
            pass
""",
    "a hook that blocks": """
@app.hook(Events.BEFORE_SERVER_START)
def hangs():
    say("now it hangs")
    while True:
        time.sleep(1000)
""",
    "a lifespan": """
@app.lifespan
async def hangs(app):
    say("now it hangs")
    await asyncio.sleep(1000)
    yield
""",
    "a hook of a server that listens": """
@app.hook(Events.AFTER_SERVER_START)
async def hangs():
    say("now it hangs")
    await asyncio.sleep(1000)
""",
}
HOOKS = [kind for kind in HANGS if kind != "the import"]


def put(folder: Path, start_timeout: float, more: str = "", version: int = 1) -> None:
    """The program as it is from now on."""
    app = APP.replace('"version": 1', f'"version": {version}')
    write(folder, more, limits=f"start_timeout={start_timeout}", app=app)


def begin(folder: Path, kind: str, workers: int, start_timeout: float, stack: ExitStack) -> Service:
    folder.mkdir(parents=True)
    put(folder, start_timeout, HANGS[kind])
    service = Service(folder, start(folder, "--workers", str(workers)))
    stack.callback(service.kill)
    return service


def test_a_first_start_that_hangs_ends_with_its_reason(tmp_path: Path) -> None:
    with ExitStack() as stack:
        started = [
            (kind, workers, begin(tmp_path / kind / str(workers), kind, workers, 0.5, stack))
            for kind in HOOKS
            for workers in (1, 2)
        ]
        for kind, workers, service in started:
            what = f"{kind}, {workers}:\n"
            assert service.wait() == 1, what + service.text
            [reason] = [line for line in service.lines if line.startswith("ember: ")]
            assert "start_timeout=0.5 s" in reason, what + service.text
            assert service.lines[-1] == reason, what + service.text
            assert " in hangs\n" in service.text, what + service.text
            assert "Traceback" not in service.text, what + service.text


@pytest.mark.parametrize("group", [False, True])
def test_a_start_that_hangs_ends_when_it_is_told_to(tmp_path: Path, group: bool) -> None:
    """Also when every process of the service is told so, as systemd does."""
    for number, bound in enumerate(tries()):
        with ExitStack() as stack:
            started = [
                (
                    kind,
                    workers,
                    begin(tmp_path / f"{number}{kind}{workers}", kind, workers, 600, stack),
                )
                for kind in HOOKS
                for workers in (1, 2)
            ]
            for *_, service in started:
                service.wait_for("now it hangs")
            since = time.monotonic()
            for *_, service in started:
                if group:
                    service.send_all(signal.SIGTERM)
                else:
                    service.send(signal.SIGTERM)
            for kind, workers, service in started:
                assert service.wait() == 0, f"{kind}, {workers}:\n{service.text}"
                assert "Traceback" not in service.text, f"{kind}, {workers}:\n{service.text}"
            bound(time.monotonic() - since, 2.5 + 4, "the end of all")


def test_a_reload_that_hangs_is_given_up_and_the_old_workers_serve_on(
    tmp_path: Path, serve: Serve
) -> None:
    put(tmp_path, 3)
    service = serve("--workers", "2")
    old = service.ready()
    for times, kind in enumerate(("the import", "a hook that blocks"), 1):
        put(tmp_path, 3, HANGS[kind], version=2)
        service.send(signal.SIGHUP)
        service.wait_for("now it hangs", times)
        assert service.get()["version"] == 1
        line = service.wait_for("the reload was given up, the old workers go on", times)
        assert "it did not serve within start_timeout=3 s" in line
        assert service.ready() == old
        assert service.text.count(" in hangs\n") == times, service.text
        assert service.children() == old
    assert service.stop() == 0


def test_a_newer_reload_drops_one_that_hangs(tmp_path: Path, serve: Serve) -> None:
    put(tmp_path, 600)
    service = serve("--workers", "2")
    for times, kind in enumerate(("the import", "a hook that swallows"), 1):
        old = service.ready()
        put(tmp_path, 600, HANGS[kind])
        service.send(signal.SIGHUP)
        service.wait_for("now it hangs", times)
        put(tmp_path, 600, version=times + 1)
        service.send(signal.SIGHUP)
        eventually(lambda: not service.ready() & old and len(service.ready()) == 2)  # noqa: B023
        assert service.get()["version"] == times + 1
        eventually(lambda: service.children() == service.ready())
    assert service.stop() == 0


@pytest.mark.parametrize("kind", ["the import", "a hook that blocks"])
def test_a_reload_that_hangs_does_not_keep_the_server_from_its_end(
    tmp_path: Path, serve: Serve, kind: str
) -> None:
    for bound in tries():
        put(tmp_path, 600)
        service = serve("--workers", "2")
        put(tmp_path, 600, HANGS[kind])
        service.send(signal.SIGHUP)
        service.wait_for("now it hangs")
        since = time.monotonic()
        assert service.stop() == 0
        bound(time.monotonic() - since, 2.5 + 3, "the end")


def test_a_script_that_hangs_when_it_is_run_again_is_named(tmp_path: Path, serve: Serve) -> None:
    put(tmp_path, 2, "app.run(port=0, workers=2)\n")
    service = serve(command=[sys.executable, "main.py"])
    old = service.ready()
    put(tmp_path, 2, HANGS["the import"] + "app.run(port=0, workers=2)\n")
    service.send(signal.SIGHUP)
    service.wait_for("the reload was given up, the old workers go on")
    assert " in hangs\n" in service.text
    assert service.ready() == old
    assert service.stop() == 0

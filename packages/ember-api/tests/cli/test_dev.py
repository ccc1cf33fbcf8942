"""`ember dev`: an edit is served at once, a mistake is shown, the server survives (E91)."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
import threading
import time
from collections.abc import Iterator
from functools import partial
from pathlib import Path

import psutil
import pytest
from ember.cli.dev.address import declared
from ember.cli.dev.overlay import page
from ember.cli.dev.watch import Bell, Watch

from tests.support.dev import APP, Dev
from tests.support.waiting import DEADLINE, eventually, settled, tries


@pytest.fixture(
    params=[
        pytest.param("told", marks=pytest.mark.once_per_build),
        pytest.param("looking", marks=pytest.mark.once),
    ]
)
def dev(tmp_path: Path, request: pytest.FixtureRequest) -> Iterator[Dev]:
    """With watchfiles and without."""
    (tmp_path / "main.py").write_text(APP.format(text="one"))
    if request.param == "looking":
        (tmp_path / "watchfiles.py").write_text("raise ImportError\n")
    running = Dev(tmp_path)
    yield running
    running.close()


def test_an_edit_is_served(dev: Dev) -> None:
    dev.until("one")
    for text in ("two", "three", "four"):
        dev.edit(APP.format(text=text))
        dev.until(text)
    dev.wait_for("main.py changed")


def test_an_edit_is_answered_within_half_a_second(dev: Dev) -> None:
    dev.until("one")
    for number, bound in enumerate(tries()):
        # Whoever edits has looked at the answer: the next process is there by then.
        (spare,) = two_children(dev) - {int(dev.get("/pid")[1])}
        waiting = psutil.Process(spare)
        settled(partial(_hundredths, waiting))
        dev.edit(APP.format(text=f"edit {number}"))
        bound(dev.until(f"edit {number}"), 0.5)


def test_a_mistake_is_shown_in_terminal_and_browser_until_it_is_mended(dev: Dev) -> None:
    dev.until("one")
    dev.edit("from ember import Ember\napp = Ember()\ndef oops(:\n")
    dev.until("does not import")
    status, shown = dev.get("/any/path")
    assert status == 500
    assert "main.py" in shown
    assert "def oops(:" in shown
    assert "http-equiv=refresh" in shown
    dev.wait_for(r"ember: module \"main\" does not import: .*\(main.py:3\)")
    assert not [line for line in dev.lines if "importlib" in line or "cli/dev" in line]
    assert dev.process.poll() is None
    dev.edit(APP.format(text="mended"))
    dev.until("mended")


def test_an_application_that_ends_is_explained(dev: Dev) -> None:
    dev.until("one")
    dev.edit(APP.format(text="x") + "\nimport os, sys\nprint('last words', file=sys.stderr)\n"
             "os._exit(7)\n")  # fmt: skip
    dev.until("the application exited with status 7")
    assert "last words" in dev.get()[1]
    dev.edit(APP.format(text="back"))
    dev.until("back")


def test_a_failing_start_hook_is_explained_and_the_port_stays(dev: Dev) -> None:
    dev.until("one")
    dev.edit(
        APP.format(text="x")
        + "\n@app.lifespan\nasync def db():\n    raise ValueError('no database')\n    yield\n"
    )
    dev.until("no database")
    dev.edit(APP.format(text="there"))
    dev.until("there")


def test_an_exception_of_a_handler_is_a_readable_page(dev: Dev) -> None:
    dev.until("one")
    status, shown = dev.get("/broken")
    assert status == 500
    assert "KeyError" in shown
    assert "broken" in shown


@pytest.mark.parametrize("number", [signal.SIGTERM, signal.SIGINT])
def test_a_signal_ends_both_processes(dev: Dev, number: int) -> None:
    dev.until("one")
    child = int(dev.get("/pid")[1])
    assert dev.stop(number) == 0
    with pytest.raises(ProcessLookupError):
        os.kill(child, 0)


def test_no_process_outlives_its_supervisor(dev: Dev) -> None:
    dev.until("one")
    children = two_children(dev)
    assert int(dev.get("/pid")[1]) in children
    dev.stop(signal.SIGKILL)
    eventually(lambda: not any(map(_runs, children)), DEADLINE)


def test_the_next_process_is_there_before_the_edit(dev: Dev) -> None:
    dev.until("one")
    (spare,) = two_children(dev) - {int(dev.get("/pid")[1])}
    dev.edit(APP.format(text="two"))
    dev.until("two")
    assert int(dev.get("/pid")[1]) == spare
    # One that was killed meanwhile is made again.
    (spare,) = two_children(dev) - {spare}
    os.kill(spare, signal.SIGKILL)
    eventually(lambda: not _runs(spare), DEADLINE)
    dev.edit(APP.format(text="three"))
    dev.until("three")
    assert int(dev.get("/pid")[1]) != spare
    children = two_children(dev)
    assert dev.stop() == 0
    for pid in children:
        with pytest.raises(ProcessLookupError):
            os.kill(pid, 0)


def _hundredths(process: psutil.Process) -> int:
    """Hundredths of a second that it has worked."""
    return int(100 * sum(process.cpu_times()[:2]))


def two_children(dev: Dev) -> set[int]:
    """The process that serves and the one that waits, once both are there."""
    children: set[int] = set()

    def both() -> bool:
        nonlocal children
        found = psutil.Process(dev.process.pid).children()
        children = {child.pid for child in found if _runs(child.pid)}
        return len(children) == 2

    eventually(both, DEADLINE)
    return children


def _runs(pid: int) -> bool:
    try:
        state = Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()[0]
    except (FileNotFoundError, ProcessLookupError):  # it may go while it is looked at
        return False
    return state != "Z"


def test_a_taken_port_is_one_line(dev: Dev, tmp_path: Path) -> None:
    done = subprocess.run(
        [sys.executable, "-m", "ember", "dev", "--port", str(dev.port)],
        cwd=tmp_path,
        capture_output=True,
        text=True,
        timeout=DEADLINE,
        check=False,
    )
    assert done.returncode == 1
    assert done.stderr == (
        f"ember: 127.0.0.1:{dev.port}: Address already in use; stop what listens there or choose "
        f"another --port\n"
    )


@pytest.mark.once
def test_files_that_matter_are_watched_and_others_are_not(tmp_path: Path) -> None:
    (tmp_path / "pkg").mkdir()
    (tmp_path / ".venv").mkdir()
    kept = tmp_path / "pkg" / "a.py"
    kept.write_text("1")
    watch = Watch(str(tmp_path))
    assert watch.changed() == []
    (tmp_path / "data.sqlite3").write_text("x")
    (tmp_path / ".venv" / "b.py").write_text("x")
    assert watch.changed() == []
    kept.write_text("22")
    (tmp_path / "page.html").write_text("x")
    (tmp_path / "app.css").write_text("x")
    assert watch.changed() == ["app.css", "page.html", "pkg/a.py"]
    kept.unlink()
    assert watch.changed() == ["pkg/a.py"]
    assert watch.changed() == []


@pytest.mark.once
def test_the_kernel_tells_of_changes_where_watchfiles_is_there(tmp_path: Path) -> None:
    rung = threading.Event()
    bell = Bell(str(tmp_path), rung.set)
    try:
        assert bell.rings
        end = time.monotonic() + DEADLINE
        while not rung.wait(0.05):  # from when it listens, nobody is told
            assert time.monotonic() < end
            (tmp_path / "page.html").write_text(str(time.monotonic()))
    finally:
        bell.stop()


@pytest.mark.once
@pytest.mark.parametrize(
    ("target", "text", "address"),
    [
        (None, "app.run(host='0.0.0.0', port=9000)", ("0.0.0.0", 9000)),
        (None, "if __name__ == '__main__':\n    app.run('::1', 0)", ("::1", 0)),
        ("main", "app.run(port=PORT, host='::1')", ("::1", 8000)),
        ("main:app", "app.run(port=1, workers=4)", ("127.0.0.1", 1)),
        ("main.py:app", "app.run(port=70000)", ("127.0.0.1", 8000)),
        ("main:other", "app.run(port=1)", ("127.0.0.1", 8000)),
        ("pkg.web", "", ("127.0.0.1", 7)),
        ("none", "", ("127.0.0.1", 8000)),
        (None, "asyncio.run(port=1)\nuvicorn.run(app, port=2)", ("127.0.0.1", 8000)),
        (None, "def oops(:", ("127.0.0.1", 8000)),
    ],
)
def test_where_to_listen_is_read_from_the_module(
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    target: str | None,
    text: str,
    address: tuple[str, int],
) -> None:
    start = "import ember\napp: ember.Ember = ember.Ember()\n"
    (tmp_path / "main.py").write_text(start + text)
    (tmp_path / "pkg").mkdir()
    (tmp_path / "pkg" / "web.py").write_text(start + "app.run(port=7)")
    monkeypatch.chdir(tmp_path)
    assert declared(target) == address


def test_the_port_of_the_module_is_listened_on(dev: Dev, tmp_path: Path) -> None:
    folder = tmp_path / "other"
    folder.mkdir()
    (folder / "main.py").write_text(APP.format(text="x") + f"\napp.run(port={dev.port})\n")
    done = subprocess.run(
        [sys.executable, "-m", "ember", "dev"],
        cwd=folder,
        capture_output=True,
        text=True,
        timeout=DEADLINE,
        check=False,
    )
    assert (done.returncode, f"127.0.0.1:{dev.port}: Address already in use" in done.stderr) == (
        1,
        True,
    )


def test_the_overlay_escapes_what_it_shows() -> None:
    shown = page("ember: <script>alert(1)</script>\n<b>").decode()
    assert "<script>" not in shown
    assert "&lt;script&gt;" in shown

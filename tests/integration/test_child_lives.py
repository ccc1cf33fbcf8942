"""Children that die, hang or are stopped at every point of their life, under both supervisors: that
of the workers, and that of `ember dev`."""

from __future__ import annotations

import fcntl
import os
import pty
import select
import signal
import socket
import subprocess
import sys
import termios
from collections.abc import Iterator
from contextlib import ExitStack
from pathlib import Path

import psutil
import pytest

from tests.support.service import APP, Service, start
from tests.support.waiting import DEADLINE, eventually

pytestmark = pytest.mark.once

STOPPED = f"os.kill(os.getpid(), {int(signal.SIGSTOP)})\n"
HOOK = "@app.hook(Events.{})\n{}def lives():\n    say('now')\n"
STARTS, STOPS = "BEFORE_SERVER_START", "BEFORE_SERVER_STOP"


def hook(event: str, body: str, kind: str = "") -> str:
    return HOOK.format(event, kind) + body


#: Ways to live that never serve. Each says "now" when the interesting moment has come.
NEVER_SERVE = {
    "exits in its import": "say('now'); os._exit(7)\n",
    "is killed in its import": "say('now'); os.kill(os.getpid(), 9)\n",
    "exits in a start hook": hook(STARTS, "    os._exit(7)\n"),
    "hangs in its import": "say('now'); time.sleep(1000)\n",
    "hangs in its import and ignores SIGTERM": (
        "import signal; signal.signal(signal.SIGTERM, signal.SIG_IGN)\n"
        "say('now'); time.sleep(1000)\n"
    ),
    "is stopped in its import": "say('now'); " + STOPPED,
    "hangs in a start hook": hook(STARTS, "    await asyncio.sleep(1000)\n", "async "),
    "blocks in a start hook": hook(STARTS, "    while True: time.sleep(1000)\n"),
    "is stopped in a start hook": hook(STARTS, "    " + STOPPED),
}
#: Ways to live that serve, and do something else than to end when they are asked to.
SERVE = {
    "exits when it is asked to end": hook(STOPS, "    os._exit(7)\n"),
    "is killed when it is asked to end": hook(STOPS, "    os.kill(os.getpid(), 9)\n"),
    "hangs in a stop hook": hook(STOPS, "    await asyncio.sleep(1000)\n", "async "),
    "blocks in a stop hook": hook(STOPS, "    while True: time.sleep(1000)\n"),
    "is stopped in a stop hook": hook(STOPS, "    " + STOPPED),
    "is stopped while it serves": "",
}
USERS = ("workers", "dev")


class Life:
    """A program under one of the supervisors."""

    def __init__(self, folder: Path, user: str, text: str, version: int = 1) -> None:
        folder.mkdir(parents=True)
        self.user, self.main = user, folder / "main.py"
        self.write(text, version)
        options = ["--workers", "2"] if user == "workers" else []
        command = start(folder, *options)
        if user == "dev":
            command = [sys.executable, "-m", "ember", "dev", "--port", "0"]
        self.service = Service(folder, command)

    def write(self, text: str, version: int) -> None:
        app = APP.replace("shutdown_timeout=20, LIMITS", "shutdown_timeout=1, start_timeout=600")
        new = self.main.with_suffix(".new")
        new.write_text(app.replace('"version": 1', f'"version": {version}') + text)
        new.replace(self.main)

    def change(self, text: str, version: int) -> None:
        """Other code, which the supervisor is to run instead."""
        self.write(text, version)
        if self.user == "workers":
            self.service.send(signal.SIGHUP)

    def wait_until_it_serves(self, version: int) -> set[int]:
        """Until only this version serves; the pids."""
        pids: set[int] = set()

        def there() -> bool:
            try:
                found = self.service.get()
            except (OSError, ValueError):
                return False  # it was on its way to a process that has ended
            if not isinstance(found, dict) or found["version"] != version:
                return False
            pids.add(found["pid"])
            return len(pids) == (2 if self.user == "workers" else 1)

        eventually(there)
        return pids

    def all_end(self) -> None:
        """It ends, with all that it has started, in time: whatever its children do."""
        group = self.service.popen.pid
        assert self.service.wait() == 0, self.service.text
        assert "KeyboardInterrupt" not in self.service.text
        # A stop hook that is cancelled has failed, which is logged.
        assert self.service.text.count("Traceback") == self.service.text.count("lives() failed")
        eventually(lambda: not members(group))


def members(group: int) -> list[int]:
    """The processes of a process group that have not ended."""
    found = []
    for process in psutil.process_iter():
        try:
            if os.getpgid(process.pid) == group and process.status() != psutil.STATUS_ZOMBIE:
                found.append(process.pid)
        except (ProcessLookupError, psutil.NoSuchProcess):
            continue
    return found


@pytest.fixture
def lives(tmp_path: Path) -> Iterator[ExitStack]:
    with ExitStack() as stack:
        yield stack


def begin(stack: ExitStack, folder: Path, user: str, kinds: dict[str, str]) -> dict[str, Life]:
    """A program of each kind, which serves version 1, and is about to be of that kind."""
    started = {}
    for number, kind in enumerate(kinds):
        started[kind] = life = Life(folder / str(number), user, "")
        stack.callback(life.service.kill)
    for life in started.values():
        life.service.wait_until_it_serves()
    return started


@pytest.mark.parametrize("user", USERS)
def test_one_that_never_serves_is_replaced_by_other_code(
    tmp_path: Path, lives: ExitStack, user: str
) -> None:
    started = begin(lives, tmp_path, user, NEVER_SERVE)
    for kind, life in started.items():
        life.change(NEVER_SERVE[kind], 2)
    for life in started.values():
        life.service.wait_for("now\n")
    for life in started.values():
        life.change("", 3)
    for life in started.values():
        life.wait_until_it_serves(3)
        life.service.send(signal.SIGTERM)
    for life in started.values():
        life.all_end()


@pytest.mark.parametrize("user", USERS)
@pytest.mark.parametrize("number", [signal.SIGTERM, signal.SIGINT])
def test_one_that_never_serves_does_not_keep_its_supervisor(
    tmp_path: Path, lives: ExitStack, user: str, number: int
) -> None:
    started = begin(lives, tmp_path, user, NEVER_SERVE)
    for kind, life in started.items():
        life.change(NEVER_SERVE[kind], 2)
    for life in started.values():
        life.service.wait_for("now\n")
        life.service.send(number)
    for life in started.values():
        life.all_end()


@pytest.mark.parametrize("user", USERS)
@pytest.mark.parametrize("group", [False, True])
def test_one_that_serves_ends_whatever_it_does_when_it_is_asked_to(
    tmp_path: Path, lives: ExitStack, user: str, group: bool
) -> None:
    """Also if the signal goes to its process group, as terminals and service managers send it."""
    started = {}
    for number, kind in enumerate(SERVE):
        started[kind] = life = Life(tmp_path / str(number), user, SERVE[kind])
        lives.callback(life.service.kill)
    for kind, life in started.items():
        life.service.wait_until_it_serves()
        if kind == "is stopped while it serves":
            os.kill(life.service.get()["pid"], signal.SIGSTOP)
        if group:
            life.service.send_all(signal.SIGINT)
        else:
            life.service.send(signal.SIGTERM)
    for kind, life in started.items():
        life.all_end()
        if "stopped" in kind:
            assert "(it wrote no stack: it is stopped" in life.service.text


@pytest.mark.parametrize("user", USERS)
def test_one_that_serves_is_replaced_whatever_it_does_when_it_is_asked_to_end(
    tmp_path: Path, lives: ExitStack, user: str
) -> None:
    started = {}
    for number, kind in enumerate(SERVE):
        started[kind] = life = Life(tmp_path / str(number), user, SERVE[kind])
        lives.callback(life.service.kill)
    for kind, life in started.items():
        life.service.wait_until_it_serves()
        if kind == "is stopped while it serves":
            os.kill(life.service.get()["pid"], signal.SIGSTOP)
        life.change("", 2)
    for life in started.values():
        life.wait_until_it_serves(2)
        life.service.send(signal.SIGTERM)
    for life in started.values():
        life.all_end()


def test_a_second_signal_drops_what_the_first_would_wait_for(
    tmp_path: Path, lives: ExitStack
) -> None:
    text = (
        "app.limits = ServerLimits(shutdown_timeout=1000)\n"
        "@app.get('/long')\nasync def long():\n    say('now')\n    await asyncio.sleep(1000)\n"
    )
    life = Life(tmp_path / "workers", "workers", text)
    lives.callback(life.service.kill)
    life.service.wait_until_it_serves()
    client = life.service.connect()
    lives.callback(client.close)
    client.request("GET", "/long")
    life.service.wait_for("now\n")
    life.service.send(signal.SIGTERM)

    def refused() -> bool:
        with socket.socket() as sock:
            return sock.connect_ex(("127.0.0.1", life.service.port)) != 0

    eventually(refused)  # the first signal was handled
    life.service.send(signal.SIGTERM)
    life.all_end()


def test_how_it_ended_is_said_alike(tmp_path: Path, lives: ExitStack) -> None:
    for user in USERS:
        for number, (kind, how) in enumerate(
            {
                "exits in its import": "exited with status 7",
                "is killed in its import": "was killed by SIGKILL (9)",
            }.items()
        ):
            life = Life(tmp_path / f"{user}{number}", user, "")
            lives.callback(life.service.kill)
            life.service.wait_until_it_serves()
            life.change(NEVER_SERVE[kind], 2)
            assert how in life.service.wait_for(f"{how}")
            assert life.service.stop() == 0


def test_a_first_import_that_hangs_is_said_aloud_with_its_line(
    tmp_path: Path, lives: ExitStack
) -> None:
    life = Life(tmp_path / "dev", "dev", "def slow():\n    time.sleep(1000)\nslow()\n")
    lives.callback(life.service.kill)
    text = life.main.read_text().split("\n")
    line = text.index("    time.sleep(1000)") + 1
    # On a slow machine it is said earlier too, while the framework is imported.
    said = life.service.wait_for(f"at main.py:{line}; a change starts it again, Ctrl+C ends it")
    assert said.startswith("still importing after ")
    life.change("", 2)
    life.service.wait_until_it_serves()
    life.wait_until_it_serves(2)
    assert "is killed" not in life.service.text
    assert life.service.stop() == 0


def test_start_hooks_that_hang_are_said_aloud(tmp_path: Path, lives: ExitStack) -> None:
    life = Life(tmp_path / "dev", "dev", hook(STARTS, "    while True: time.sleep(1000)\n"))
    lives.callback(life.service.kill)
    line = life.main.read_text().split("\n").index("    while True: time.sleep(1000)") + 1
    said = life.service.wait_for(f"at main.py:{line};")
    assert said.startswith("its start hooks have been running for ")
    life.service.send(signal.SIGTERM)
    life.all_end()


def test_start_hooks_that_block_have_the_deadline_of_the_application(
    tmp_path: Path, lives: ExitStack
) -> None:
    life = Life(tmp_path / "dev", "dev", "")
    lives.callback(life.service.kill)
    life.service.wait_until_it_serves()
    blocks = hook(STARTS, "    while True: time.sleep(1000)\n")
    life.change("app.limits = ServerLimits(start_timeout=0.5)\n" + blocks, 2)
    life.service.wait_for("is killed: it did not serve within start_timeout=0.5 s")
    life.service.wait_for("waiting for a change")
    shown = life.service.get()
    assert "did not serve within start_timeout=0.5 s" in shown
    assert " in lives" in shown
    life.change("", 3)
    life.wait_until_it_serves(3)
    assert life.service.stop() == 0


class Terminal:
    """A program at a terminal of its own."""

    def __init__(self, folder: Path, *arguments: str) -> None:
        self.master, slave = pty.openpty()

        def take() -> None:
            fcntl.ioctl(slave, termios.TIOCSCTTY, 0)

        self.popen = subprocess.Popen(
            [sys.executable, "-m", "ember", *arguments, "--port", "0"],
            cwd=folder,
            stdin=slave,
            stdout=slave,
            stderr=slave,
            env={**os.environ, "NO_COLOR": "1"},
            start_new_session=True,
            preexec_fn=take,
        )
        os.close(slave)
        self.text = ""

    def wait_for(self, text: str) -> None:
        while text not in self.text:
            assert self._read(), self.text

    def wait(self) -> int:
        """Its exit status, when it has ended and all that it wrote was read."""
        while self._read():
            pass
        return self.popen.wait(DEADLINE)

    def _read(self) -> bool:
        ready, _, _ = select.select([self.master], [], [], DEADLINE)
        assert ready, self.text
        try:
            data = os.read(self.master, 65536)
        except OSError:  # EIO: all processes at the terminal have ended
            return False
        self.text += data.decode()
        return True

    def press(self, key: bytes) -> None:
        os.write(self.master, key)

    def close(self) -> None:
        if self.popen.poll() is None:
            os.killpg(self.popen.pid, signal.SIGKILL)
            self.popen.wait(DEADLINE)
        os.close(self.master)


@pytest.mark.parametrize("serves", [True, False])
@pytest.mark.parametrize("user", USERS)
def test_ctrl_c_at_a_terminal_ends_all_at_once(tmp_path: Path, user: str, serves: bool) -> None:
    """The terminal sends SIGINT to every process; the supervisor alone handles it."""
    hangs = "" if serves else hook(STARTS, "    await asyncio.sleep(1000)\n", "async ")
    if user == "dev" and not serves:
        hangs = NEVER_SERVE["hangs in its import"]
    (tmp_path / "main.py").write_text(APP.replace("LIMITS", "") + hangs)
    options = ("start", "--workers", "2") if user == "workers" else ("dev",)
    terminal = Terminal(tmp_path, *options)
    try:
        terminal.wait_for("Ember serves" if serves else "now")
        terminal.press(b"\x03")
        assert terminal.wait() == 0
        assert "Traceback" not in terminal.text
        assert "KeyboardInterrupt" not in terminal.text
        assert not members(terminal.popen.pid)
    finally:
        terminal.close()

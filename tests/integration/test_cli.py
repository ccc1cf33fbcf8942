"""The `ember` command and `app.run()`, as processes."""

from __future__ import annotations

import http.client
import json
import os
import re
import signal
import socket
import subprocess
import sys
import threading
import time
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

from tests.support.server import DEADLINE
from tests.support.waiting import tries

APP = """
from ember import Ember
app = Ember()
@app.get("/")
async def index():
    return {"hello": "world"}
@app.get("/users/{id:int}", name="user", tags=["people"], deprecated=True)
def user(id: int):
    return id
"""

EMBER = [sys.executable, "-m", "ember"]


def ember(folder: Path, *arguments: str) -> subprocess.CompletedProcess[str]:
    return subprocess.run(
        [*EMBER, *arguments], cwd=folder, capture_output=True, text=True, timeout=120, check=False
    )


class Process:
    """A server as a process; `lines` is what it has written to stderr."""

    def __init__(self, folder: Path, command: list[str]) -> None:
        self.popen = subprocess.Popen(command, cwd=folder, stderr=subprocess.PIPE, text=True)
        self.lines: list[str] = []
        self._listening = threading.Event()
        self._reader = threading.Thread(target=self._read, daemon=True)
        self._reader.start()
        assert self._listening.wait(DEADLINE), "no start message"
        found = re.search(r"http://127\.0\.0\.1:(\d+)", "".join(self.lines))
        assert found, self.lines
        self.port = int(found[1])

    def _read(self) -> None:
        assert self.popen.stderr is not None
        for line in self.popen.stderr:
            self.lines.append(line)
            if "Ember serves" in line:
                self._listening.set()
        self._listening.set()

    def get(self, path: str = "/") -> bytes:
        connection = http.client.HTTPConnection("127.0.0.1", self.port, timeout=DEADLINE)
        try:
            connection.request("GET", path)
            return connection.getresponse().read()
        finally:
            connection.close()

    def wait_for(self, line: str) -> None:
        """Until the process has written `line`."""
        deadline = time.monotonic() + DEADLINE
        while line not in self.lines:
            assert time.monotonic() < deadline, self.lines
            os.sched_yield()

    def stop(self, number: int = signal.SIGTERM) -> int:
        self.popen.send_signal(number)
        code = self.popen.wait(DEADLINE)
        self._reader.join(DEADLINE)
        return code


@pytest.fixture
def start(tmp_path: Path) -> Iterator[Callable[..., Process]]:
    running: list[Process] = []

    def begin(*command: str) -> Process:
        process = Process(tmp_path, list(command))
        running.append(process)
        return process

    yield begin
    for process in running:
        process.popen.kill()
        process.popen.wait(DEADLINE)
        process._reader.join(DEADLINE)
        if process.popen.stderr is not None:
            process.popen.stderr.close()


def write(folder: Path, **files: str) -> None:
    for name, text in files.items():
        (folder / f"{name}.py").write_text(text)


# -- finding the application (E92) ------------------------------------------------------------


@pytest.mark.once
@pytest.mark.parametrize(
    ("module", "text", "arguments"),
    [
        ("main", APP, []),
        ("app", APP, []),
        ("application", APP.replace("app = ", "application = app = "), []),
        ("main", APP, ["--app", "main:app"]),
        ("application", APP.replace("app", "application"), ["--app", "application:application"]),
        ("app", APP.replace("app", "other"), ["--app", "app"]),
        ("app", APP, ["--app", "app.py"]),
        (
            "pkg",
            "def create():\n" + APP.replace("\n", "\n    ") + "\n    return app\n",
            ["--app", "pkg:create"],
        ),
    ],
)
def test_the_application_is_found(
    tmp_path: Path, module: str, text: str, arguments: list[str]
) -> None:
    write(tmp_path, **{module: text})
    done = ember(tmp_path, "routes", *arguments)
    assert (done.returncode, done.stderr) == (0, "")
    assert "/users/{id:int}" in done.stdout


@pytest.mark.once
@pytest.mark.parametrize(
    ("files", "target", "message"),
    [
        ({}, None, "no application found: there is no main.py, app.py, application.py here"),
        ({}, "nope:app", 'there is no module "nope" in '),
        ({"main": APP}, "main:nope", 'module "main" has no "nope"; it has app'),
        ({"main": "x = 1"}, "main:x", "main:x is a int, not an Ember application"),
        ({"main": "x = 1"}, None, 'module "main" has no application called app or application'),
        ({"main": "import nothing_here"}, None, 'needs "nothing_here", which is not installed'),
        ({"main": "x = (\n"}, None, "does not import: '(' was never closed (main.py:1)"),
        ({"main": "\n1 / 0"}, None, "does not import: ZeroDivisionError: division by zero"),
        ({"main": "\n1 / 0"}, None, "(main.py:2)"),
        ({"main": "raise SystemExit"}, None, 'module "main" ended the process while it was'),
        (
            {"main": "def app(): return 5"},
            None,
            "main:app() returned a int, not an Ember application",
        ),
        ({"main": "def app(): 1 / 0"}, None, "main:app() failed: ZeroDivisionError"),
        ({"main": "app = 5"}, "a b", '--app "a b": expected module:app, such as --app main:app'),
        (
            {"main": APP + "\n@app.get('/users/{n:int}')\ndef again(n): ...\n"},
            None,
            '(main.user) and route "GET /users/{n:int}" (main.again) match the same requests',
        ),
    ],
)
def test_an_application_that_cannot_be_had_is_one_clear_line(
    tmp_path: Path, files: dict[str, str], target: str | None, message: str
) -> None:
    write(tmp_path, **files)
    done = ember(tmp_path, "start", *(["--app", target] if target else []))
    assert done.returncode == 1
    assert done.stderr.startswith("ember: ")
    assert done.stderr.count("\n") == 1
    assert message in done.stderr
    assert done.stdout == ""


@pytest.mark.once
def test_routes_names_what_is_wrong_with_them(tmp_path: Path) -> None:
    write(tmp_path, main=APP.replace(":int", ":it"))
    done = ember(tmp_path, "routes")
    assert (done.returncode, done.stdout) == (1, "")
    assert 'unknown converter "it"; known: int, str, float, uuid, path' in done.stderr


@pytest.mark.once
def test_debug_shows_the_traceback(tmp_path: Path) -> None:
    write(tmp_path, main="\n1 / 0")
    done = ember(tmp_path, "start", "--debug")
    assert done.returncode == 1
    assert "Traceback" in done.stderr
    assert "ZeroDivisionError" in done.stderr


# -- serving (E1, E17) ------------------------------------------------------------------------


@pytest.mark.parametrize("number", [signal.SIGTERM, signal.SIGINT])
def test_start_serves_until_a_signal_and_exits_with_0(
    tmp_path: Path, start: Callable[..., Process], number: int
) -> None:
    write(tmp_path, main=APP)
    for bound in tries():
        process = start(*EMBER, "start", "--port", "0")
        assert process.get() == b'{"hello":"world"}'
        begin = time.monotonic()
        assert process.stop(number) == 0
        bound(time.monotonic() - begin, 0.3)
        assert len(process.lines) == 1


def test_a_program_that_runs_its_app_is_served_by_both_commands(
    tmp_path: Path, start: Callable[..., Process]
) -> None:
    with socket.create_server(("127.0.0.1", 0)) as probe:
        port = probe.getsockname()[1]
    write(tmp_path, main=f"{APP}\napp.run(port={port})\n")
    process = start(sys.executable, "main.py")
    assert process.port == port
    assert process.get("/users/7") == b"7"
    done = ember(tmp_path, "start")
    assert done.returncode == 1
    assert f"127.0.0.1:{port} is already in use by another program; stop it or" in done.stderr
    assert done.stderr.count("\n") == 1
    assert process.stop() == 0
    # What the program says is the default of the command, which has the last word.
    process = start(*EMBER, "start")
    assert process.port == port
    other = start(*EMBER, "start", "--port", "0")
    assert other.port != port
    assert other.get() == process.get()


def test_a_request_in_flight_finishes_with_its_resources_before_the_stop_hooks(
    tmp_path: Path, start: Callable[..., Process]
) -> None:
    (tmp_path / "main.py").write_text(
        """
import asyncio, os, sys
from ember import Ember, Events
app = Ember()
state = []
@app.lifespan
async def database():
    state.append("open")
    yield
    state.append("closed")
@app.get("/slow")
async def slow():
    print("entered", file=sys.stderr, flush=True)
    await asyncio.sleep(1)
    return state
@app.hook(Events.AFTER_SERVER_STOP)
def last():
    print("stopped", state, file=sys.stderr, flush=True)
app.run(port=0)
"""
    )
    process = start(sys.executable, "main.py")
    answers: list[bytes] = []
    client = threading.Thread(target=lambda: answers.append(process.get("/slow")))
    client.start()
    process.wait_for("entered\n")
    assert process.stop() == 0
    client.join(DEADLINE)
    assert answers == [b'["open"]']
    assert process.lines[-1] == "stopped ['open', 'closed']\n"


def test_a_request_that_does_not_end_is_cut_off_at_the_shutdown_timeout(
    tmp_path: Path, start: Callable[..., Process]
) -> None:
    (tmp_path / "main.py").write_text(
        """
import sys, time
from ember import Ember, ServerLimits
app = Ember(server_limits=ServerLimits(shutdown_timeout=0.3))
@app.get("/stuck")
def stuck():
    print("entered", file=sys.stderr, flush=True)
    time.sleep(60)
app.run(port=0)
"""
    )
    for bound in tries():
        process = start(sys.executable, "main.py")
        with socket.create_connection(("127.0.0.1", process.port)) as client:
            client.sendall(b"GET /stuck HTTP/1.1\r\nHost: a\r\n\r\n")
            process.wait_for("entered\n")
            begin = time.monotonic()
            assert process.stop() == 0
            took = time.monotonic() - begin
            assert took > 0.2
            bound(took, 3)


def test_a_second_signal_does_not_wait(tmp_path: Path, start: Callable[..., Process]) -> None:
    (tmp_path / "main.py").write_text(
        """
import asyncio, sys
from ember import Ember, ServerLimits
app = Ember(server_limits=ServerLimits(shutdown_timeout=60))
@app.get("/stuck")
async def stuck():
    print("entered", file=sys.stderr, flush=True)
    await asyncio.Event().wait()
app.run(port=0)
"""
    )
    process = start(sys.executable, "main.py")
    with socket.create_connection(("127.0.0.1", process.port)) as client:
        client.sendall(b"GET /stuck HTTP/1.1\r\nHost: a\r\n\r\n")
        process.wait_for("entered\n")
        process.popen.send_signal(signal.SIGINT)
        # The first signal closes the listening socket; only then is it certain that it was seen.
        deadline = time.monotonic() + DEADLINE
        while True:
            assert time.monotonic() < deadline
            try:
                socket.create_connection(("127.0.0.1", process.port), timeout=1).close()
            except ConnectionRefusedError:
                break
            except ConnectionResetError:
                continue  # it waited to be accepted when the listening socket closed
        assert process.stop(signal.SIGINT) == 0


@pytest.mark.once
@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (["--uds-mode", "660"], "uds_mode= goes with uds="),
        (["--ssl-certfile", "nope.pem"], "TLS: nope.pem does not exist"),
        (["--fd", "999"], "fd=999 is not a socket"),
        (["--uds", "/nowhere/s"], "/nowhere/s"),
        (["--host", "192.0.2.1"], "192.0.2.1:8000 is not an address of this machine"),
    ],
)
def test_options_that_cannot_work_are_one_clear_line(
    tmp_path: Path, arguments: list[str], message: str
) -> None:
    write(tmp_path, main=APP)
    done = ember(tmp_path, "start", *arguments)
    assert done.returncode == 1
    assert message in done.stderr
    assert done.stderr.count("\n") == 1


# -- the other commands (E94) -----------------------------------------------------------------


@pytest.mark.once
def test_routes_are_a_table_and_json(tmp_path: Path) -> None:
    write(tmp_path, main=APP)
    assert ember(tmp_path, "routes").stdout.splitlines() == [
        "METHOD  PATH             NAME   HANDLER",
        "GET     /                index  main.index",
        "GET     /users/{id:int}  user   main.user",
    ]
    listed = json.loads(ember(tmp_path, "routes", "--json").stdout)
    assert listed[1] == {
        "methods": ["GET"],
        "path": "/users/{id:int}",
        "hosts": [],
        "name": "user",
        "handler": "main.user",
        "deprecated": True,
        "tags": ["people"],
        "summary": None,
    }
    write(tmp_path, empty="from ember import Ember\napp = Ember()")
    assert ember(tmp_path, "routes", "--app", "empty").stdout == "no routes\n"


@pytest.mark.once
def test_routes_that_are_bound_to_a_host_show_it(tmp_path: Path) -> None:
    admin = "admin = app.group('/admin', hosts=['admin.x', '[::1]'])\nadmin.get('/all')(index)\n"
    write(tmp_path, main=APP + admin)
    shown = ember(tmp_path, "routes").stdout.splitlines()
    assert shown[0] == "METHOD  HOST            PATH             NAME   HANDLER"
    assert "GET     *               /                index  main.index" in shown
    assert "GET     admin.x, [::1]  /admin/all       index  main.index" in shown
    listed = json.loads(ember(tmp_path, "routes", "--json").stdout)
    assert [route["hosts"] for route in listed][-1] == ["admin.x", "[::1]"]


def test_doctor_names_the_loop_and_why(tmp_path: Path) -> None:
    found = json.loads(ember(tmp_path, "doctor", "--json").stdout)
    loop = found["loop"]["name"]
    assert loop in ("io_uring", "epoll", "uvloop", "asyncio")
    assert found["loop"]["reason"]
    assert found["build"]["name"] == (
        "pure" if os.environ.get("EMBER_PURE", "0") != "0" else found["build"]["name"]
    )
    assert found["packages"]["msgspec"]
    assert found["packages"]["Jinja2"]
    assert found["workers"]["default"] >= 1
    assert found["workers"]["reason"]
    text = ember(tmp_path, "doctor").stdout
    assert re.search(rf"^loop\s+{loop}\s+\S", text, re.MULTILINE)


@pytest.mark.once
def test_doctor_fails_loudly_when_a_loop_is_forced_that_cannot_be_had(tmp_path: Path) -> None:
    done = subprocess.run(
        [*EMBER, "doctor"],
        cwd=tmp_path,
        capture_output=True,
        text=True,
        timeout=120,
        check=False,
        env={**os.environ, "EMBER_LOOP": "warp"},
    )
    assert done.returncode == 1
    assert "EMBER_LOOP=warp: unknown loop; known: io_uring, epoll, uvloop, asyncio" in done.stdout


@pytest.mark.once
def test_version_prints_the_version(tmp_path: Path) -> None:
    import ember as package

    assert ember(tmp_path, "version").stdout.strip() == package.__version__
    assert json.loads(ember(tmp_path, "version", "--json").stdout)["ember"] == package.__version__


@pytest.mark.once
def test_the_commands_are_listed_and_colours_are_for_terminals(tmp_path: Path) -> None:
    done = ember(tmp_path, "--help")
    for name in ["start", "routes", "doctor", "version"]:
        assert re.search(rf"^  {name}  +\S", done.stdout, re.MULTILINE)
    assert "\x1b" not in ember(tmp_path, "doctor").stdout
    done = subprocess.run(
        [*EMBER, "doctor"],
        capture_output=True,
        text=True,
        timeout=120,
        check=True,
        env={**{k: v for k, v in os.environ.items() if k != "NO_COLOR"}, "FORCE_COLOR": "1"},
    )
    assert "\x1b[32m" in done.stdout

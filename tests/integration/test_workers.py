"""Several workers as processes: started, killed, stuck, replaced, drained (E2-E4, E9, E17, P17)."""

from __future__ import annotations

import http.client
import os
import re
import signal
import socket
import sqlite3
import stat
import sys
import threading
import time
from pathlib import Path

import psutil
import pytest

from tests.support.service import Load, Serve, Service, start, unix_get, write
from tests.support.waiting import DEADLINE, eventually, tries


def run(folder: Path, command: list[str]) -> Service:
    """What does not come as far as serving."""
    service = Service(folder, command)
    try:
        service.wait()
    finally:
        service.kill()
    return service


# -- starting ---------------------------------------------------------------------------------


def test_one_worker_is_this_process_and_more_are_its_children(tmp_path: Path, serve: Serve) -> None:
    write(tmp_path)
    alone = serve("--workers", "1")
    assert alone.children() == set()
    assert alone.get()["pid"] == alone.popen.pid
    several = serve("--workers", "3")
    assert several.ready() == several.children()
    assert len(several.children()) == 3
    [line] = several.lines
    assert "3 workers" in line
    assert f"pid {several.popen.pid}" in line
    assert (alone.stop(), several.stop(signal.SIGINT)) == (0, 0)
    assert (len(alone.lines), len(several.lines)) == (1, 1)


def test_app_run_starts_workers_too(tmp_path: Path, serve: Serve) -> None:
    write(tmp_path, 'app.run(port=0, workers=2)\nsay("over")\n')
    service = serve(command=[sys.executable, "main.py"])
    assert len(service.ready()) == 2
    assert service.stop() == 0
    assert service.lines[-1] == "over\n"


def test_a_server_of_workers_can_run_beside_the_program(tmp_path: Path) -> None:
    write(
        tmp_path,
        """
import urllib.request
app.run(port=0, workers=2, block=False)
host, port = app.server.addresses[0]
seen = urllib.request.urlopen(f"http://{host}:{port}/").read()
say(f"answered {b'version' in seen}, {app.server.board.workers} workers")
app.stop()
say(f"stopped, server {app.server}")
app.run(port=0, workers=2, block=False, startup_message=False)
say("again")
""",
    )
    service = run(tmp_path, [sys.executable, "main.py"])
    assert service.popen.returncode == 0
    assert service.lines[1:] == ["answered True, 2 workers\n", "stopped, server None\n", "again\n"]
    eventually(lambda: not [p for p in psutil.pids() if _session(p) == service.popen.pid])


def _session(pid: int) -> int:
    try:
        return os.getsid(pid)
    except ProcessLookupError:
        return 0


@pytest.mark.once_per_build
@pytest.mark.parametrize(
    ("text", "message"),
    [
        (
            "@app.get('/{a}')\ndef a(a): ...\n@app.get('/{b}')\ndef b(b): ...\n",
            "match the same requests",
        ),
        ("app.run(loop='uvloop', workers=2)\nimport uvloop_is_not_here", "uvloop_is_not_here"),
    ],
)
def test_what_cannot_start_is_one_line_for_all(tmp_path: Path, text: str, message: str) -> None:
    write(tmp_path, text)
    service = run(tmp_path, start(tmp_path, "--workers", "3"))
    assert service.popen.returncode == 1
    [line] = service.lines
    assert line.startswith("ember: ")
    assert message in line


@pytest.mark.once_per_build
def test_a_start_hook_that_fails_ends_everybody_with_one_traceback(tmp_path: Path) -> None:
    write(tmp_path, "@app.hook(Events.AFTER_SERVER_START)\ndef fail():\n    1 / 0\n")
    service = run(tmp_path, start(tmp_path, "--workers", "3"))
    assert service.popen.returncode == 1
    assert service.text.count("Traceback") == 1
    assert service.lines[-1] == "ember: a start hook failed: ZeroDivisionError: division by zero\n"


@pytest.mark.once_per_build
def test_a_taken_port_is_one_line(tmp_path: Path) -> None:
    write(tmp_path)
    with socket.create_server(("127.0.0.1", 0)) as taken:
        port = taken.getsockname()[1]
        service = run(tmp_path, [*start(tmp_path, "--workers", "2"), "--port", str(port)])
    assert service.popen.returncode == 1
    [line] = service.lines
    assert f"127.0.0.1:{port} is already in use by another program" in line


def test_a_unix_socket_has_its_mode_and_is_removed(tmp_path: Path, serve: Serve) -> None:
    write(tmp_path)
    path = tmp_path / "s"
    service = serve("--workers", "2", "--uds", str(path), "--uds-mode", "600")
    assert stat.S_IMODE(path.stat().st_mode) == 0o600
    assert b'"version":1' in unix_get(str(path))
    service.popen.kill()
    service.popen.wait()
    assert path.exists()
    eventually(lambda: not _answers(path))
    again = serve("--workers", "2", "--uds", str(path))  # what was left behind is replaced
    assert b'"version":1' in unix_get(str(path))
    assert again.stop() == 0
    assert not path.exists()


def _answers(path: Path) -> bool:
    with socket.socket(socket.AF_UNIX) as probe:
        return probe.connect_ex(str(path)) == 0


@pytest.mark.parametrize("workers", ["1", "2"])
def test_sockets_of_systemd_are_served(tmp_path: Path, serve: Serve, workers: str) -> None:
    write(tmp_path)
    with socket.create_server(("127.0.0.1", 0)) as given:
        fd = given.fileno()
        script = (
            f"import os, sys; os.dup2({fd}, 3); "
            "os.environ.update(LISTEN_FDS='1', LISTEN_PID=str(os.getpid())); "
            "os.execv(sys.argv[1], sys.argv[1:])"
        )
        command = [sys.executable, "-c", script, *start(tmp_path, "--workers", workers)]
        service = serve(command=command, fds=[fd])
        assert service.port == given.getsockname()[1]
        assert service.get()["version"] == 1
        assert service.stop() == 0


# -- dying ------------------------------------------------------------------------------------


def test_a_killed_worker_is_replaced_and_only_its_own_connections_break(
    tmp_path: Path, serve: Serve
) -> None:
    write(tmp_path)
    service = serve("--workers", "2")
    victim, survivor = sorted(service.ready())
    connections: dict[int, list[http.client.HTTPConnection]] = {victim: [], survivor: []}

    def ask(connection: http.client.HTTPConnection) -> str:
        connection.request("GET", "/")
        return connection.getresponse().read().decode()

    def owner(connection: http.client.HTTPConnection) -> int:
        return victim if str(victim) in ask(connection) else survivor

    while not all(connections.values()):
        connection = service.connect()
        connections[owner(connection)].append(connection)
    before = sum(slot["requests"] for slot in service.get("/board"))
    os.kill(victim, signal.SIGKILL)
    for connection in connections[victim]:
        with pytest.raises((http.client.HTTPException, ConnectionError)):
            ask(connection)
    assert all(owner(connection) == survivor for connection in connections[survivor])
    ready = service.wait_for_workers(2, without=victim)
    assert survivor in ready
    assert sum(slot["requests"] for slot in service.get("/board")) >= before
    line = service.wait_for(f"(pid {victim}) has ended")
    assert "killed by SIGKILL (9); another one takes its place" in line
    for connection in (*connections[victim], *connections[survivor]):
        connection.close()
    assert service.stop() == 0


def test_a_worker_killed_under_load_is_replaced_within_a_second(
    tmp_path: Path, serve: Serve
) -> None:
    write(tmp_path)
    for bound in tries():
        service = serve("--workers", "2")
        with Load(service, 4) as load:
            load.wait_for_answers(100)
            load.victim = min(service.ready())
            killed = time.monotonic()
            os.kill(load.victim, signal.SIGKILL)
            service.wait_for_workers(2, without=load.victim)
            bound(time.monotonic() - killed, 1.0)
            load.wait_for_answers(100)
        assert load.failures == []
        assert service.stop() == 0


METRICS = """
from ember import Ember
import os
app = Ember(metrics=True)
@app.get("/")
async def index():
    return {"pid": os.getpid()}
@app.get("/board")
async def board():
    return [{"pid": s.pid, "state": s.state} for s in app.server.board.slots]
"""


def test_every_scrape_after_a_worker_was_killed_under_load_comes_and_its_sums_are_right(
    tmp_path: Path, serve: Serve
) -> None:
    write(tmp_path, app=METRICS)
    service = serve("--workers", "2")
    with Load(service, 4) as load:
        load.wait_for_answers(100)
        load.victim = min(service.ready())
        os.kill(load.victim, signal.SIGKILL)
        before, broken = 0.0, 0
        for _ in range(20):
            try:
                counted = answers_on_the_page(service)
            except ConnectionError:
                broken += 1  # it came to the one that was just about to end
                continue
            assert counted >= before  # what the dead one has answered is in it
            before = counted
        assert broken <= 1
    # What the victim counted and could not send any more: one for each client at most.
    assert load.answers <= answers_on_the_page(service) <= load.answers + 4
    assert load.failures == []
    service.wait_for_workers(2, without=load.victim)
    assert answers_on_the_page(service) >= load.answers
    assert service.stop() == 0


def answers_on_the_page(service: Service) -> float:
    """How often `/` was answered, by one scrape; it has 5 s."""
    with socket.create_connection(("127.0.0.1", service.port), timeout=120) as client:
        end = time.monotonic() + 5
        client.sendall(b"GET /metrics HTTP/1.1\r\nHost: x\r\nConnection: close\r\n\r\n")
        page = b""
        while more := client.recv(65536):
            page += more
            client.settimeout(max(0.001, end - time.monotonic()))
    if not page:
        raise ConnectionResetError("closed without an answer")
    head, _, body = page.partition(b"\r\n\r\n")
    assert head.startswith(b"HTTP/1.1 200 "), head
    wanted = re.compile(
        rb'^ember_http_requests_total\{(?=.*route="/"[,}]).*\} (\S+)$', re.MULTILINE
    )
    return sum(float(found) for found in wanted.findall(body))


@pytest.mark.once_per_build
def test_a_crash_loop_backs_off_and_says_why(tmp_path: Path, serve: Serve) -> None:
    write(tmp_path, "@app.get('/die')\nasync def die():\n    os._exit(7)\n")
    service = serve("--workers", "2")
    for deaths in range(1, 4):
        with pytest.raises((http.client.HTTPException, ConnectionError)):
            service.get("/die")
        service.wait_for("has ended", deaths)
    line = service.wait_for("3 failures in a row")
    assert "it exited with status 7; 3 failures in a row, the next try is in 1 s" in line
    service.wait_for_workers(2)
    assert service.stop() == 0


@pytest.mark.once_per_build
def test_the_place_of_a_crash_is_said(tmp_path: Path, serve: Serve) -> None:
    write(tmp_path, "@app.get('/die')\nasync def die():\n    os.kill(os.getpid(), 11)\n")
    service = serve("--workers", "2")
    with pytest.raises((http.client.HTTPException, ConnectionError)):
        service.get("/die")
    line = service.wait_for("has ended")
    assert "SIGSEGV (11): Fatal Python error: Segmentation fault" in line
    assert 'main.py", line 16 in die' in line


@pytest.mark.once_per_build
def test_without_necromancer_dead_workers_are_not_respawned(tmp_path: Path, serve: Serve) -> None:
    write(tmp_path)
    service = serve("--workers", "2", "--no-necromancer")
    first, second = service.ready()
    os.kill(first, signal.SIGKILL)
    service.wait_for(f"(pid {first}) has ended")
    assert service.ready() == {second}
    os.kill(second, signal.SIGKILL)
    assert service.wait() == 1
    assert "no worker is left" in service.lines[-1]


@pytest.mark.once_per_build
def test_workers_end_with_their_supervisor(tmp_path: Path, serve: Serve) -> None:
    write(tmp_path)
    service = serve("--workers", "2")
    workers = [psutil.Process(pid) for pid in service.ready()]
    service.send(signal.SIGKILL)
    assert not psutil.wait_procs(workers, DEADLINE)[1]


def test_a_stuck_worker_is_replaced_and_its_handler_named(tmp_path: Path, serve: Serve) -> None:
    stuck = "@app.get('/stuck/{n:int}')\nasync def stuck(n: int):\n    time.sleep(1000)\n"
    write(tmp_path, stuck, limits="worker_timeout=1")
    service = serve("--workers", "2")
    with pytest.raises((http.client.HTTPException, ConnectionError)):
        service.get("/stuck/5")
    line = service.wait_for("is stuck: its event loop has not run")
    assert "it is in GET /stuck/{n:int}: stuck, " in line
    assert "main.py:16" in line
    victim = int(line.partition("(pid ")[2].partition(")")[0])
    service.wait_for('main.py", line 16 in stuck')
    service.wait_for_workers(2, without=victim)
    assert "it was stuck in GET /stuck/{n:int}" in service.wait_for("has ended")


@pytest.mark.once_per_build
@pytest.mark.parametrize(
    ("limits", "reason"),
    [("worker_max_age=0.2", "worker_max_age"), ("worker_max_memory=1", "above worker_max_memory")],
)
def test_a_worker_that_is_too_old_or_too_large_is_replaced(
    tmp_path: Path, serve: Serve, limits: str, reason: str
) -> None:
    write(tmp_path, limits=limits)
    service = serve("--workers", "2")
    line = service.wait_for("is replaced: ")
    assert reason in line
    pid = int(line.partition("(pid ")[2].partition(")")[0])
    eventually(lambda: pid not in service.ready(), DEADLINE)
    assert service.get()["version"] == 1
    assert service.stop() == 0


# -- stopping ---------------------------------------------------------------------------------

IN_FLIGHT = """
import sqlite3
db = None
@app.hook(Events.BEFORE_SERVER_START)
async def connect():
    global db
    db = sqlite3.connect("test.db")
@app.hook(Events.AFTER_SERVER_STOP)
async def disconnect():
    db.execute("insert into log values ('stopped')")
    db.commit()
    db.close()
@app.get("/late")
async def late():
    say("inside")
    while not app.server.draining:
        await asyncio.sleep(0.005)
    await asyncio.sleep(0.05)
    db.execute("insert into log values ('answered')")
    db.commit()
    return "kept"
"""


@pytest.mark.parametrize("workers", ["1", "2"])
@pytest.mark.parametrize("everybody", [False, True])
def test_a_request_in_flight_at_sigterm_is_answered_and_then_the_stop_hooks_run(
    tmp_path: Path, serve: Serve, workers: str, everybody: bool
) -> None:
    """Also when, as systemd does, every process of the service gets the signal."""
    with sqlite3.connect(tmp_path / "test.db") as db:
        db.execute("create table log (what)")
    write(tmp_path, IN_FLIGHT)
    service = serve("--workers", workers)
    connection = service.connect()
    connection.request("GET", "/late")
    service.wait_for("inside")
    if everybody:
        os.killpg(service.popen.pid, signal.SIGTERM)
    else:
        service.send(signal.SIGTERM)
    answer = connection.getresponse()
    assert (answer.read(), answer.getheader("Connection")) == (b"kept", "close")
    connection.close()
    assert service.wait() == 0
    log = [what for (what,) in db.execute("select what from log order by rowid")]
    assert log.index("answered") < len(log) - 1 - log[::-1].index("stopped")
    assert log.count("stopped") == int(workers)
    db.close()


@pytest.mark.parametrize("workers", ["1", "2"])
def test_readiness_goes_before_the_server_does(tmp_path: Path, serve: Serve, workers: str) -> None:
    write(tmp_path, limits="drain_delay=600")
    service = serve("--workers", workers)
    assert service.status("/readyz") == 200
    service.send(signal.SIGTERM)
    eventually(lambda: service.status("/readyz") == 503)
    assert service.get()["version"] == 1
    assert service.stop() == 0  # the second time: at once


@pytest.mark.once_per_build
@pytest.mark.parametrize("loop", ["uvloop", "asyncio"])
def test_workers_on_the_loops_of_others_drain_too(tmp_path: Path, serve: Serve, loop: str) -> None:
    if loop == "uvloop":
        pytest.importorskip("uvloop")
    with sqlite3.connect(tmp_path / "test.db") as db:
        db.execute("create table log (what)")
    write(tmp_path, IN_FLIGHT)
    service = serve("--workers", "2", "--loop", loop)
    assert f"{loop} loop" in service.text
    service.reload()
    connection = service.connect()
    connection.request("GET", "/late")
    service.wait_for("inside")
    service.send(signal.SIGTERM)
    assert connection.getresponse().read() == b"kept"
    connection.close()
    assert service.wait() == 0
    db.close()
    assert "Traceback" not in service.text
    assert "was to end, but" not in service.text


# -- replacing --------------------------------------------------------------------------------

NEW = """
from ember import SSEResponse
@app.get("/slow")
async def slow():
    say("slow")
    while not app.server.draining:
        await asyncio.sleep(0.005)
    return {"version": 1}
@app.get("/events")
async def events():
    async def forever():
        yield "first"
        say("streaming")
        await asyncio.sleep(1000)
    return SSEResponse(forever())
"""


def test_sighup_brings_new_code_and_loses_nothing(tmp_path: Path, serve: Serve) -> None:
    write(tmp_path, NEW)
    service = serve("--workers", "2")
    old = service.ready()
    over = threading.Event()
    failures: list[str] = []
    versions: list[int] = []

    def ask() -> None:
        connection = service.connect()
        while not over.is_set():
            try:
                connection.request("GET", "/")
                body = connection.getresponse().read()
            except (OSError, http.client.HTTPException) as error:
                failures.append(repr(error))
                return
            versions.append(2 if b'"version":2' in body else 1)
        connection.close()

    threads = [threading.Thread(target=ask) for _ in range(4)]
    for thread in threads:
        thread.start()
    stream, slow = service.connect(), service.connect()
    stream.request("GET", "/events")
    events = stream.getresponse()
    slow.request("GET", "/slow")
    service.wait_for("streaming")
    service.wait_for("slow")

    (tmp_path / "main.py").write_text((tmp_path / "main.py").read_text().replace(": 1", ": 2"))
    service.send(signal.SIGHUP)
    assert slow.getresponse().read() == b'{"version":1}'
    service.send(signal.SIGHUP)  # perhaps while the second worker is being replaced
    eventually(lambda: not service.ready() & old and len(service.ready()) == 2, DEADLINE)
    assert b"event: close" in events.read()
    over.set()
    for thread in threads:
        thread.join(DEADLINE)
    assert failures == []
    assert versions[-1] == 2
    assert service.get()["version"] == 2
    for connection in (stream, slow):
        connection.close()
    assert service.stop() == 0
    assert len(service.lines) == 3, service.text  # what was said above, and no complaint


@pytest.mark.once_per_build
def test_new_code_that_does_not_import_leaves_the_old_workers(tmp_path: Path, serve: Serve) -> None:
    write(tmp_path)
    good = (tmp_path / "main.py").read_text()
    service = serve("--workers", "2")
    old = service.ready()
    (tmp_path / "main.py").write_text("1 / 0\n")
    service.send(signal.SIGHUP)
    line = service.wait_for("the reload was given up, the old workers go on")
    assert 'module "main" does not import: ZeroDivisionError' in line
    assert service.ready() == old
    (tmp_path / "main.py").write_text(good)
    service.reload()
    assert service.stop() == 0


def versions(service: Service) -> set[int]:
    """Of the programs that the workers run: as many answers as make it sure that each gave one."""
    pids = service.ready()
    found: dict[int, int] = {}
    while found.keys() != pids:
        answer = service.get()
        found[answer["pid"]] = answer["version"]
    return set(found.values())


def put(folder: Path, version: int) -> None:
    """This version of the program on the disk."""
    text = (folder / "main.py").read_text()
    (folder / "main.py").write_text(re.sub(r'"version": \d', f'"version": {version}', text))


@pytest.mark.once_per_build
def test_who_dies_after_a_reload_is_replaced_by_the_new_program(
    tmp_path: Path, serve: Serve
) -> None:
    write(tmp_path)
    service = serve("--workers", "3")
    put(tmp_path, 2)
    service.reload()
    for _ in range(2):
        victim = service.get()["pid"]
        os.kill(victim, signal.SIGKILL)
        service.wait_for_workers(3, without=victim)
        assert versions(service) == {2}
    assert service.stop() == 0
    assert "was changed" not in service.text


@pytest.mark.once_per_build
def test_before_any_reload_the_old_program_is_what_replaces_it(
    tmp_path: Path, serve: Serve
) -> None:
    write(tmp_path)
    service = serve("--workers", "2")
    put(tmp_path, 2)
    victim = service.get()["pid"]
    os.kill(victim, signal.SIGKILL)
    service.wait_for_workers(2, without=victim)
    assert versions(service) == {1}
    assert service.stop() == 0


@pytest.mark.once_per_build
def test_a_program_that_changed_after_the_reload_is_run_by_all_or_by_none(
    tmp_path: Path, serve: Serve
) -> None:
    write(tmp_path)
    service = serve("--workers", "3")
    put(tmp_path, 2)
    service.reload()
    second = service.ready()
    put(tmp_path, 3)
    assert versions(service) == {2}
    os.kill(victim := min(second), signal.SIGKILL)
    line = service.wait_for("was changed after the last reload")
    assert f"{tmp_path / 'main.py'}" in line
    eventually(lambda: not service.ready() & second and len(service.ready()) == 3, DEADLINE)
    assert versions(service) == {3}
    # That was a reload: who dies now is replaced without another one.
    os.kill(victim := service.get()["pid"], signal.SIGKILL)
    service.wait_for_workers(3, without=victim)
    assert versions(service) == {3}
    assert service.stop() == 0
    assert service.text.count("was changed") == 1


@pytest.mark.once_per_build
def test_a_program_that_broke_after_the_reload_leaves_those_who_live(
    tmp_path: Path, serve: Serve
) -> None:
    write(tmp_path)
    service = serve("--workers", "2")
    put(tmp_path, 2)
    service.reload()
    (tmp_path / "part.py").write_text("import os\n\nos.missing\n")
    good = (tmp_path / "main.py").read_text()
    (tmp_path / "main.py").write_text("import part\n" + good)
    victim, survivor = service.ready()
    os.kill(victim, signal.SIGKILL)
    line = service.wait_for("did not start")
    assert 'module "main" does not import: AttributeError' in line
    assert "(part.py:3)" in line
    assert service.ready() == {survivor}
    assert versions(service) == {2}
    (tmp_path / "main.py").write_text(good.replace(": 2", ": 3"))
    eventually(lambda: len(service.ready()) == 2 and survivor not in service.ready(), DEADLINE)
    assert versions(service) == {3}
    assert service.stop() == 0


@pytest.mark.once_per_build
@pytest.mark.parametrize(
    ("text", "says"),
    [
        ("import os\n\nos.missing\n", "AttributeError"),
        ("def f(:\n", "invalid syntax (part.py:1)"),
        ("\nimport no_such_module\n", '"no_such_module", which is not installed (part.py:2)'),
        ("raise SystemExit(0)\n", "ended the process while it was imported"),
    ],
)
def test_new_code_that_fails_names_module_and_line(
    tmp_path: Path, serve: Serve, text: str, says: str
) -> None:
    write(tmp_path)
    service = serve("--workers", "2")
    old = service.ready()
    (tmp_path / "part.py").write_text(text)
    (tmp_path / "main.py").write_text("import part\n" + (tmp_path / "main.py").read_text())
    service.send(signal.SIGHUP)
    line = service.wait_for("the reload was given up, the old workers go on")
    assert says in line
    assert "part.py:" in line
    assert service.ready() == old
    assert service.stop() == 0


@pytest.mark.once_per_build
def test_a_script_is_run_again_up_to_its_app_run(tmp_path: Path, serve: Serve) -> None:
    write(tmp_path, "app.run(port=0, workers=2)\n")
    service = serve(command=[sys.executable, "main.py"])
    (tmp_path / "main.py").write_text((tmp_path / "main.py").read_text().replace(": 1", ": 2"))
    service.reload()
    assert service.get()["version"] == 2
    victim = service.get()["pid"]
    os.kill(victim, signal.SIGKILL)
    service.wait_for_workers(2, without=victim)
    assert service.get()["version"] == 2
    assert service.stop() == 0


@pytest.mark.once_per_build
@pytest.mark.parametrize("workers", ["1", "2"])
def test_sigusr1_reopens_log_files(tmp_path: Path, serve: Serve, workers: str) -> None:
    write(
        tmp_path,
        """
import logging
logging.getLogger("x").addHandler(logging.FileHandler("x.log"))
@app.get("/log")
async def log():
    logging.getLogger("x").error("logged")
""",
    )
    service = serve("--workers", workers)
    service.get("/log")
    (tmp_path / "x.log").rename(tmp_path / "x.log.1")
    service.send(signal.SIGUSR1)
    new = tmp_path / "x.log"
    eventually(lambda: service.get("/log") == "" and new.exists() and new.read_text())
    assert service.stop() == 0


@pytest.mark.once_per_build
def test_sighup_with_one_process_says_that_it_cannot(tmp_path: Path, serve: Serve) -> None:
    write(tmp_path)
    service = serve("--workers", "1")
    service.send(signal.SIGHUP)
    service.wait_for("SIGHUP: one process cannot replace itself")
    assert service.get()["version"] == 1
    assert service.stop() == 0

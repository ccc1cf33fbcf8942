"""The names that `ember dev` answers for, with an application that runs and with one that does not;
and children that hang."""

from __future__ import annotations

import re
import socket
import time
from collections.abc import Iterator
from contextlib import contextmanager
from http.client import HTTPConnection
from pathlib import Path

import psutil
import pytest
from click.testing import CliRunner
from ember.cli.dev import command
from ember.cli.dev.hosts import Hosts, check, refusal
from ember.cli.dev.overlay import Overlay
from ember.responses.debug_page import POLICY

from tests.support.dev import APP, Dev
from tests.support.waiting import DEADLINE, eventually, tries

pytestmark = pytest.mark.once

OWN = socket.gethostname().lower()
BROKEN = "from ember import Ember\napp = Ember()\ndef oops(:\n"


@contextmanager
def dev(folder: Path, text: str, *arguments: str) -> Iterator[Dev]:
    (folder / "main.py").write_text(text)
    running = Dev(folder, *arguments)
    try:
        yield running
    finally:
        running.close()


def ask(
    port: int, host: str | None, path: str = "/", address: str = "127.0.0.1"
) -> tuple[int, str, dict[str, str]]:
    """Status, body and fields that a client gets who calls the server `host`."""
    connection = HTTPConnection(address, port, timeout=DEADLINE)
    try:
        connection.putrequest("GET", path, skip_host=True)
        connection.putheader("Accept", "text/html")
        if host is not None:
            connection.putheader("Host", host)
        connection.endheaders()
        response = connection.getresponse()
        return response.status, response.read().decode(), dict(response.getheaders())
    finally:
        connection.close()


@pytest.mark.parametrize(
    ("listening", "named", "host", "allowed"),
    [
        ("127.0.0.1", "", "127.0.0.1:8000", True),
        ("127.0.0.1", "", "LOCALHOST", True),
        ("127.0.0.1", "", "localhost.:8000", True),
        ("127.0.0.1", "", "a.b.localhost:8000", True),
        ("127.0.0.1", "", "[::1]:8000", True),
        ("127.0.0.1", "", "", True),
        ("127.0.0.1", "", "evil.example:8000", False),
        ("127.0.0.1", "", "localhost.evil.example", False),
        ("127.0.0.1", "", "evillocalhost", False),
        ("127.0.0.1", "", "192.168.0.7:8000", False),
        ("127.0.0.1", "", "127.0.0.1@evil.example", False),
        ("127.0.0.1", "dev.example", "dev.example:8000", True),
        ("Dev.Example", "", "dev.example.:8000", True),
        ("192.168.0.7", "", "192.168.0.7:8000", True),
        ("192.168.0.7", "", "evil.example", False),
        ("fd00::7", "", "[fd00::7]:8000", True),
        ("127.0.0.1", "*.dev.example", "a.b.dev.example:8000", True),
        ("127.0.0.1", "*.dev.example", "dev.example", False),
        ("127.0.0.1", "*.dev.example", "evildev.example", False),
        # Listened on everywhere: this machine's names and addresses, and no others.
        ("0.0.0.0", "", "evil.example", False),
        ("0.0.0.0", "", "localhost:8000", True),
        ("0.0.0.0", "", "0.0.0.0:8000", True),
        ("0.0.0.0", "", "127.0.0.9:8000", True),
        ("0.0.0.0", "", "127.0.0.1.evil.example", False),
        ("0.0.0.0", "", f"{OWN}:8000", True),
        ("0.0.0.0", "", f"{OWN.partition('.')[0]}.local:8000", True),
        ("0.0.0.0", "", f"{OWN}.evil.example", False),
        # TEST-NET-1 and the documentation prefix: no machine has these addresses.
        ("0.0.0.0", "", "192.0.2.1:8000", False),
        ("0.0.0.0", "", "[2001:db8::1]:8000", False),
        ("0.0.0.0", "", "[evil.example]", False),
        ("0.0.0.0", "dev.example", "dev.example", True),
        ("::", "", "evil.example", False),
        ("::", "", "127.0.0.1:8000", True),
        ("", "", "evil.example", False),
        ("127.0.0.1", "", f"{OWN}.local:8000", False),
        # Listened on elsewhere: that the program says "everywhere" names nobody.
        ("127.0.0.1", "0.0.0.0", "evil.example", False),
    ],
)
def test_loopback_and_what_was_named_is_answered(
    listening: str, named: str, host: str, allowed: bool
) -> None:
    assert Hosts(listening, named).allow(host) is allowed


def test_the_refusal_says_what_allows_the_name(tmp_path: Path) -> None:
    assert "--allowed-host dev.example to" in refusal("dev.example:8000")


@pytest.mark.parametrize(
    ("name", "said"),
    [
        ("http://dev.example", "leave out the scheme and the port"),
        ("dev.example:8000", "leave out the scheme and the port"),
        ("*", '"*" would let every site in'),
    ],
)
def test_a_name_that_cannot_be_a_host_is_refused_when_it_is_given(name: str, said: str) -> None:
    with pytest.raises(ValueError, match=re.escape(said)):
        check(name)
    done = CliRunner().invoke(command, ["--allowed-host", name])
    assert done.exit_code == 2
    assert said in " ".join(done.output.split())


def test_names_are_given_as_people_write_them() -> None:
    names = ["Dev.Example.", "*.dev.example", "fd00::7", "192.168.0.7"]
    assert list(map(check, names)) == ["dev.example", "*.dev.example", "[fd00::7]", "192.168.0.7"]


HOSTED = """
from ember import Blueprint
admin = Blueprint(hosts=["admin.example"])
@admin.get("/")
async def index():
    return "admin"
app.add_blueprint(admin)
"""


def test_everywhere_is_not_every_name(tmp_path: Path) -> None:
    options = ("--host", "0.0.0.0", "--allowed-host", "named.example")
    with dev(tmp_path, APP.format(text="one") + HOSTED, *options) as running:
        running.until("one")

        def status(host: str) -> int:
            return ask(running.port, host)[0]

        assert status("evil.example") == 403
        assert status("192.0.2.1") == 403
        for host in ("localhost", "127.0.0.1", "0.0.0.0", OWN, "named.example"):
            assert status(host) == 200
        # The application names this one.
        assert ask(running.port, "admin.example")[:2] == (200, "admin")
        # Also the page of an application that is down.
        running.edit(APP.format(text="two") + HOSTED + "import os\nos._exit(7)\n")
        running.until("exited with status 7")
        assert status("evil.example") == 403
        assert status("named.example") == 500


def test_an_application_that_runs_is_not_shown_to_other_names(tmp_path: Path) -> None:
    with dev(tmp_path, APP.format(text="one")) as running:
        running.until("one")
        for path in ("/", "/broken", "/nothing"):
            status, text, _ = ask(running.port, "evil.example:80", path)
            assert (status, text) == (403, refusal("evil.example:80"))
        assert ask(running.port, "localhost:80")[:2] == (200, "one")
        status, text, fields = ask(running.port, "localhost", "/broken")
        assert status == 500
        assert "KeyError" in text
        assert fields["Content-Security-Policy"] == POLICY


def test_why_an_application_does_not_start_is_not_shown_to_other_names(tmp_path: Path) -> None:
    with dev(tmp_path, BROKEN) as running:
        running.until("does not import")
        status, text, fields = ask(running.port, "evil.example:80")
        assert (status, text) == (403, refusal("evil.example:80"))
        assert fields["Content-Security-Policy"] == POLICY
        status, text, fields = ask(running.port, "localhost:80")
        assert status == 500
        assert "def oops(:" in text
        assert fields["Content-Security-Policy"] == POLICY
        assert fields["X-Content-Type-Options"] == "nosniff"
        assert fields["Cache-Control"] == "no-store"
        assert ask(running.port, None)[0] == 500


@pytest.mark.parametrize("text", [APP.format(text="one"), BROKEN])
def test_the_host_that_was_named_is_answered(tmp_path: Path, text: str) -> None:
    with dev(tmp_path, text, "--host", "127.0.0.2") as running:
        running.wait_for("watching")

        def status(host: str) -> int:
            return ask(running.port, host, address="127.0.0.2")[0]

        assert status("127.0.0.2") in (200, 500)
        assert status("localhost") in (200, 500)
        assert status("evil.example") == 403


@pytest.mark.parametrize(
    ("head", "status"),
    [
        (b"GET / HTTP/1.1\r\nhost:localhost\r\n\r\n", b"500"),
        (b"GET / HTTP/1.1\r\nHost: localhost\r\nHost: evil.example\r\n\r\n", b"403"),
        (b"GET / HTTP/1.1\r\nX: localhost\r\nHOST:\tevil.example\r\n\r\n", b"403"),
        (b"HEAD / HTTP/1.1\r\nHost: evil.example\r\n\r\n", b"403"),
        (b"GET / HTTP/1.0\r\n\r\nHost: evil.example\r\n", b"500"),
    ],
)
def test_the_overlay_reads_the_host_as_servers_do(head: bytes, status: bytes) -> None:
    with socket.create_server(("127.0.0.1", 0)) as listener:
        overlay = Overlay(listener, "ember: down\nTraceback", Hosts("127.0.0.1"))
        overlay.start()
        with socket.create_connection(listener.getsockname(), DEADLINE) as client:
            client.sendall(head)
            client.shutdown(socket.SHUT_WR)
            data = b""
            while more := client.recv(65536):
                data += more
        overlay.stop()
    assert data.split(b" ")[1] == status
    assert (b"Traceback" in data) is (status == b"500")
    if head.startswith(b"HEAD"):
        assert data.endswith(b"\r\n\r\n")


HANGS = {
    "the import": "import sys, time\nprint('now it hangs', file=sys.stderr)\ntime.sleep(1000)\n",
    "a hook": """
import asyncio, sys
from ember import Events
@app.hook(Events.BEFORE_SERVER_START)
async def hangs():
    print("now it hangs", file=sys.stderr)
    while True:
        try:
            await asyncio.sleep(1000)
        except asyncio.CancelledError:
            pass
""",
    "a hook that blocks": """
import sys, time
from ember import Events
@app.hook(Events.BEFORE_SERVER_START)
def hangs():
    print("now it hangs", file=sys.stderr)
    while True:
        time.sleep(1000)
""",
}


@pytest.mark.parametrize("kind", list(HANGS))
def test_a_child_that_hangs_is_replaced_and_ended(tmp_path: Path, kind: str) -> None:
    for number, bound in enumerate(tries()):
        with dev(tmp_path, APP.format(text=number) + HANGS[kind]) as running:
            running.wait_for("now it hangs")
            since = time.monotonic()
            running.edit(APP.format(text=f"edit {number}"))
            running.until(f"edit {number}")
            bound(time.monotonic() - since, 3 + 2, "the edit")
            running.edit(APP.format(text="again") + HANGS[kind])
            running.wait_for("now it hangs[^$]*now it hangs")
            children = psutil.Process(running.process.pid).children()
            since = time.monotonic()
            assert running.stop() == 0
            bound(time.monotonic() - since, 3 + 2, "the end")
            eventually(lambda: not any(child.is_running() for child in children))  # noqa: B023

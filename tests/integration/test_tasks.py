"""The task board over a real socket, as its users meet it."""

from __future__ import annotations

import re
import shutil
import signal
import socket
import sqlite3
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from pathlib import Path

import asyncpg
import pytest

from examples.tasks.storage import from_environment
from tests.support.board import ROOT, Board, Reply
from tests.support.services import postgres_dsn as postgres_dsn
from tests.support.services import unavailable

Environment = Callable[[], dict[str, str]]


def environment_of(kind: str, request: pytest.FixtureRequest, folder: Path) -> dict[str, str]:
    """The environment that makes the board use an empty database of that kind."""
    if kind == "sqlite":
        return {"EMBER_TASKS_DB": str(folder / "board.sqlite3")}
    import asyncio

    dsn: str = request.getfixturevalue("postgres_dsn")

    async def forget() -> None:
        connection = await asyncpg.connect(dsn)
        await connection.execute("DROP TABLE IF EXISTS board_tasks")
        await connection.close()

    asyncio.run(forget())
    return {"DATABASE_URL": dsn}


@pytest.fixture(scope="module", params=["sqlite", "postgres"])
def board(
    request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory
) -> Iterator[Board]:
    """A board that the tests of this module share; each makes tasks of its own."""
    folder = tmp_path_factory.mktemp("board")
    with Board(folder, environment_of(request.param, request, folder)) as running:
        yield running


@pytest.fixture
def sqlite_board(tmp_path: Path) -> Iterator[Board]:
    """A board of the test's own, in a folder of its own."""
    with Board(tmp_path, {}) as running:
        yield running


def problem(reply: Reply) -> str:
    """The detail of a problem+json answer that is what RFC 9457 says."""
    assert reply.headers["content-type"].startswith("application/problem+json"), reply
    assert reply.data["status"] == reply.status
    assert reply.data["title"]
    detail: str = reply.data["detail"]
    return detail


# ---- reading ------------------------------------------------------------------------------------


def test_the_first_start_has_a_few_tasks_to_play_with(sqlite_board: Board, tmp_path: Path) -> None:
    reply = sqlite_board.request("GET", "/tasks")
    assert reply.status == 200
    assert reply.headers["content-type"].startswith("application/json")
    assert reply.data["total"] == len(reply.data["items"]) > 5
    assert (reply.data["limit"], reply.data["offset"]) == (50, 0)
    assert {task["status"] for task in reply.data["items"]} == {"todo", "doing", "done"}
    assert (tmp_path / "tasks.sqlite3").exists()


def test_a_list_comes_in_pages(board: Board) -> None:
    for number in range(5):
        board.create(f"paging {number}")
    pages = [
        board.request("GET", f"/tasks?search=paging&limit=2&offset={offset}").data
        for offset in (0, 2, 4)
    ]
    assert [task["title"] for page in pages for task in page["items"]] == [
        f"paging {number}" for number in range(5)
    ]
    assert [len(page["items"]) for page in pages] == [2, 2, 1]
    assert {page["total"] for page in pages} == {5}


def test_a_list_can_be_of_one_status_and_of_some_words(board: Board) -> None:
    board.create("filter one", status="done")
    board.create("filter two", notes="Grün & 100%", status="doing")
    found = board.request("GET", "/tasks?search=FILTER&status=doing").data
    assert [task["title"] for task in found["items"]] == ["filter two"]
    found = board.request("GET", "/tasks?search=gr%C3%BCn+%26+100%25").data
    assert [task["title"] for task in found["items"]] == ["filter two"]


def test_the_status_page_tells_how_the_server_runs(board: Board) -> None:
    status = board.request("GET", "/status").data
    assert status["storage"] in ("SQLite", "PostgreSQL")
    assert status["loop"] in ("io_uring", "epoll", "uvloop", "asyncio")
    before = status["pages"]
    again = board.request("GET", "/status").data
    assert again["requests"] == status["requests"] + 1
    with board.listen() as stream:
        stream.expect("resync")
        assert board.request("GET", "/status").data["pages"] == before + 1


# ---- writing ------------------------------------------------------------------------------------


def test_a_task_is_created_read_changed_replaced_and_deleted(board: Board) -> None:
    created = board.request(
        "POST", "/tasks", {"title": "  Bake bread ", "notes": "Rye\nand salt", "label": "home"}
    )
    assert created.status == 201
    task = created.data
    assert (task["title"], task["notes"], task["label"]) == ("Bake bread", "Rye\nand salt", "home")
    assert (task["status"], task["version"]) == ("todo", 1)
    path = created.headers["location"]
    assert path == f"/tasks/{task['id']}"
    assert board.request("GET", path).data == task

    changed = board.request("PATCH", path, {"status": "doing"})
    assert changed.status == 200
    assert (changed.data["status"], changed.data["version"]) == ("doing", 2)
    assert (changed.data["title"], changed.data["notes"]) == ("Bake bread", "Rye\nand salt")

    replaced = board.request("PUT", path, {"title": "Buy bread"})
    assert replaced.status == 200
    assert (replaced.data["title"], replaced.data["notes"]) == ("Buy bread", "")
    assert (replaced.data["status"], replaced.data["version"]) == ("todo", 3)
    assert board.request("GET", path).data == replaced.data

    deleted = board.request("DELETE", path)
    assert (deleted.status, deleted.data) == (204, b"")
    assert board.request("GET", path).status == 404


@pytest.mark.parametrize("method", ["GET", "PUT", "PATCH", "DELETE"])
@pytest.mark.parametrize("id", ["999999999", "9223372036854775807", "99999999999999999999999999"])
def test_a_task_that_is_not_there_is_404(board: Board, method: str, id: str) -> None:
    body = {"title": "x"} if method in ("PUT", "PATCH") else None
    reply = board.request(method, f"/tasks/{id}", body)
    assert reply.status == 404
    assert problem(reply) == f"There is no task {id}."


@pytest.mark.parametrize("path", ["/tasks/x", "/tasks/1/2", "/web/nothing.js", "/web/..%2fapp.py"])
def test_a_path_that_names_nothing_is_404(board: Board, path: str) -> None:
    reply = board.request("GET", path)
    assert reply.status == 404
    assert problem(reply)


def test_a_method_that_does_not_fit_is_405_with_those_that_do(board: Board) -> None:
    reply = board.request("DELETE", "/tasks")
    assert reply.status == 405
    assert {"GET", "POST"} <= set(re.split(", ?", reply.headers["allow"]))


@pytest.mark.parametrize(
    ("body", "status", "detail"),
    [
        (b"", 422, "body: this value is required"),
        (b"{", 400, "not valid JSON"),
        (b'{"title": "\xff"}', 400, "not valid JSON"),
        (b'{"title": "\\udc00"}', 400, "not valid JSON"),
        (b"[]", 422, "expected an object, got a list"),
        (b"{}", 422, "body.title: this value is required"),
        (b'{"title": 1}', 422, "body.title: expected text"),
        (b'{"title": "  "}', 422, "title: must not be empty"),
        (b'{"title": "a\\nb"}', 422, "title: must be one line"),
        (b'{"title": "a", "notes": "a\\u0000b"}', 422, "notes: must not contain"),
        (b'{"title": "a", "status": "later"}', 422, "status: expected one of todo, doing, done"),
        (b'{"title": "a", "tittle": "b"}', 422, "body.tittle: this field is not known"),
        (b'{"title": "a", "position": 1e13}', 422, "body.position: expected at most"),
        (b'{"title": "%s"}' % (b"x" * 201), 422, "body.title: expected at most 200 characters"),
        (
            b'{"title": "a", "label": "%s"}' % (b"x" * 25),
            422,
            "label: expected at most 24",
        ),
        (
            b'{"title": "a", "notes": "%s"}' % (b"x" * 10_001),
            422,
            "notes: expected at most 10000",
        ),
    ],
)
def test_a_bad_body_is_refused_and_told_why(
    board: Board, body: bytes, status: int, detail: str
) -> None:
    before = board.request("GET", "/tasks").data["total"]
    reply = board.request("POST", "/tasks", raw=body)
    assert reply.status == status
    assert detail in problem(reply)
    assert board.request("GET", "/tasks").data["total"] == before


def test_texts_at_their_limits_are_taken(board: Board) -> None:
    task = board.create("t" * 200, notes="\U0001f525" * 10_000, label="l" * 24)
    assert board.request("GET", f"/tasks/{task['id']}").data == task


@pytest.mark.parametrize(
    ("query", "detail"),
    [
        ("limit=0", "query.limit: expected at least 1"),
        ("limit=201", "query.limit: expected at most 200"),
        ("limit=many", "query.limit: expected a whole number"),
        ("offset=-1", "query.offset: expected at least 0"),
        ("status=later", "status: expected one of todo, doing, done"),
        ("page=2", "query.page: this field is not known"),
        ("search=%00", "search: must not contain the NUL character"),
    ],
)
def test_a_bad_query_is_refused_and_told_why(board: Board, query: str, detail: str) -> None:
    reply = board.request("GET", f"/tasks?{query}")
    assert reply.status == 422
    assert detail in problem(reply)


@pytest.mark.parametrize("sent_as", ["text/plain", "application/x-www-form-urlencoded", ""])
def test_what_another_site_could_send_by_a_form_is_415(board: Board, sent_as: str) -> None:
    reply = board.request(
        "POST", "/tasks", raw=b'{"title": "x"}', headers={"Content-Type": sent_as}
    )
    assert reply.status == 415
    assert "application/json" in problem(reply)


def test_a_body_one_byte_too_long_is_413(board: Board) -> None:
    limit = 128 * 1024
    padding = b" " * (limit - len(b'{"title": "just fits"}'))
    assert board.request("POST", "/tasks", raw=b'{"title": "just fits"}' + padding).status == 201
    reply = board.request("POST", "/tasks", raw=b'{"title": "just fits"}' + padding + b" ")
    assert reply.status == 413


def test_a_database_that_fails_is_503_and_says_so_in_the_log(
    sqlite_board: Board, tmp_path: Path
) -> None:
    database = sqlite3.connect(tmp_path / "tasks.sqlite3")
    database.execute("DROP TABLE board_tasks")
    database.commit()
    database.close()
    reply = sqlite_board.request("GET", "/tasks")
    assert reply.status == 503
    assert reply.headers["retry-after"] == "5"
    assert "no such table" not in problem(reply)
    assert sqlite_board.request("GET", "/status").status == 200
    sqlite_board.stop()
    assert "no such table" in sqlite_board.output
    assert "Traceback" not in sqlite_board.output


# ---- live changes -------------------------------------------------------------------------------


def test_two_listeners_see_every_change_in_order(board: Board) -> None:
    with board.listen() as one, board.listen() as two:
        for stream in (one, two):
            stream.expect("resync")
        task = board.create("seen by two")
        board.request("PATCH", f"/tasks/{task['id']}", {"notes": "two\nlines"})
        board.request("PUT", f"/tasks/{task['id']}", {"title": "replaced"})
        board.request("DELETE", f"/tasks/{task['id']}")
        for stream in (one, two):
            assert stream.expect("created").data == task
            assert stream.expect("updated").data["notes"] == "two\nlines"
            assert stream.expect("updated").data["title"] == "replaced"
            assert stream.expect("deleted").data == {"id": task["id"]}


def test_a_refused_change_is_not_told(board: Board) -> None:
    with board.listen() as stream:
        stream.expect("resync")
        assert board.request("POST", "/tasks", {"title": ""}).status == 422
        assert board.request("DELETE", "/tasks/999999999").status == 404
        task = board.create("the only one told")
        assert stream.expect("created").data == task


def test_a_change_is_finished_and_told_although_its_client_left(board: Board) -> None:
    with board.listen() as stream:
        stream.expect("resync")
        for number in range(20):
            body = b'{"title": "left %d"}' % number
            with socket.create_connection(("127.0.0.1", board.port), 10) as client:
                client.sendall(
                    b"POST /tasks HTTP/1.1\r\nHost: x\r\nContent-Type: application/json\r\n"
                    b"Content-Length: %d\r\n\r\n%s" % (len(body), body)
                )
            assert stream.expect("created").data["title"] == f"left {number}"


def test_one_that_was_away_gets_what_it_missed(board: Board) -> None:
    with board.listen() as stream:
        last = stream.expect("resync").id
    missed = board.create("missed")
    with board.listen(last_event_id=last) as stream:
        event = stream.expect("created")
        assert event.data == missed
    with board.listen(last_event_id=event.id) as stream:
        then = board.create("then")
        assert stream.expect("created").data == then
    with board.listen(last_event_id="from-before") as stream:
        stream.expect("resync")


def test_a_listener_that_does_not_read_is_let_go_and_harms_nobody(sqlite_board: Board) -> None:
    board = sqlite_board
    path = f"/tasks/{board.create('busy')['id']}"
    with board.listen(receive_buffer=4096) as slow, board.listen() as quick:
        quick.expect("resync")
        assert board.request("GET", "/status").data["pages"] == 2
        for number in range(3000):
            notes = f"{number} " + "x" * 9_000
            assert board.request("PATCH", path, {"notes": notes}).status == 200
            assert quick.expect("updated").data["notes"] == notes
            if board.request("GET", "/status").data["pages"] == 1:
                break
        else:
            pytest.fail("3000 events of 9 KB were kept for a listener that does not read")
        slow.expect("resync")
        *before, last = slow.rest()
        assert last.name == "resync"
        assert {event.name for event in before} == {"updated"}
        # Its browser comes back with that id and misses nothing from there on.
        then = board.request("PATCH", path, {"notes": "after"}).data
        with board.listen(last_event_id=last.id) as again:
            assert again.expect("updated").data == then


def test_a_listener_that_leaves_is_forgotten(sqlite_board: Board) -> None:
    with sqlite_board.listen() as stream:
        stream.expect("resync")
    with sqlite_board.listen() as stays:
        stays.expect("resync")
        for _ in range(1000):
            if sqlite_board.request("GET", "/status").data["pages"] == 1:
                return
    pytest.fail("a listener that left is still counted")


# ---- the page -----------------------------------------------------------------------------------


def test_the_page_and_all_that_it_names_are_there_and_from_here(board: Board) -> None:
    page = board.request("GET", "/")
    assert page.status == 200
    assert page.headers["content-type"] == "text/html; charset=utf-8"
    assert "default-src 'self'" in page.headers["content-security-policy"]
    named = set(re.findall(r'(?:src|href)="([^"]+)"', page.data.decode()))
    assert {"/web/app.js", "/web/board.css", "/web/icon.svg", "/tasks"} <= named
    for path in named:
        assert path.startswith("/"), f"{path} is not from here"
        assert board.request("GET", path).status == 200


def test_a_page_file_is_sent_once_and_then_known(board: Board) -> None:
    first = board.request("GET", "/web/app.js")
    assert first.headers["content-type"].startswith("text/javascript")
    again = board.request("GET", "/web/app.js", headers={"If-None-Match": first.headers["etag"]})
    assert (again.status, again.data) == (304, b"")
    assert again.headers["etag"] == first.headers["etag"]


# ---- starting and stopping ----------------------------------------------------------------------


@pytest.mark.parametrize("kind", ["sqlite", "postgres"])
def test_a_restart_keeps_the_tasks(
    kind: str, request: pytest.FixtureRequest, tmp_path: Path
) -> None:
    environment = environment_of(kind, request, tmp_path)
    with Board(tmp_path, environment) as first:
        task = first.create("still here")
        total = first.request("GET", "/tasks").data["total"]
        assert first.stop() == 0
    with Board(tmp_path, environment) as second:
        assert second.request("GET", f"/tasks/{task['id']}").data == task
        assert second.request("GET", "/tasks").data["total"] == total


@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGTERM])
def test_a_signal_ends_it_with_status_0_although_a_page_listens(
    sqlite_board: Board, number: int
) -> None:
    with sqlite_board.listen() as stream:
        stream.expect("resync")
        begin = time.monotonic()
        assert sqlite_board.stop(number) == 0
        # The stream was ended, and not waited for until the shutdown timeout of 10 s.
        assert time.monotonic() - begin < 5
        assert not [event for event in stream.rest() if event.name != "close"]
    assert "Traceback" not in sqlite_board.output


def test_a_database_that_cannot_be_opened_is_one_line_and_status_1(tmp_path: Path) -> None:
    with Board(tmp_path, {"EMBER_TASKS_DB": "no such folder/x.sqlite3"}, wait=False) as board:
        assert board.wait() == 1
        assert "no such folder" in board.output
        assert "Traceback" not in board.output
        assert len(board.output.strip().splitlines()) == 1


def test_a_missing_asyncpg_is_one_line_that_names_the_remedy(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setitem(sys.modules, "asyncpg", None)
    monkeypatch.delitem(sys.modules, "examples.tasks.postgres", raising=False)
    with pytest.raises(SystemExit, match="pip install asyncpg"):
        from_environment({"DATABASE_URL": "postgresql://ember@127.0.0.1/tasks"})


# ---- the README ---------------------------------------------------------------------------------


def anonymous(text: str) -> str:
    """`text` without the one thing that is different in each answer."""
    return re.sub(r'"request_id":"[0-9a-f]{16}"', '"request_id":"..."', text)


def test_the_readmes_curl_commands_do_what_they_say(sqlite_board: Board) -> None:
    if shutil.which("curl") is None or shutil.which("bash") is None:
        unavailable("curl")
    readme = (ROOT / "examples/tasks/README.md").read_text()
    commands = re.findall(r"^    (?:\$ )?(curl .*)$", readme, re.MULTILINE)
    assert len(commands) >= 10
    for command in commands:
        if " -N " in command:
            continue  # it listens until it is stopped; the tests above do that
        done = subprocess.run(
            ["bash", "-c", command.replace("curl ", "curl -sS --fail-with-body ", 1)],
            env={"PATH": "/usr/local/bin:/usr/bin:/bin", "H": sqlite_board.url},
            capture_output=True,
            text=True,
            timeout=120,
            check=False,
        )
        expected = 22 if '"later"' in command else 0
        assert done.returncode == expected, f"{command}\n{done.stdout}{done.stderr}"
        if '"later"' in command:
            assert anonymous(done.stdout.strip()) in anonymous(readme)

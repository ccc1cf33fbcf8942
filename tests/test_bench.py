"""The benchmark's own instruments: wrong answers are caught, and figures mean what they say."""

from __future__ import annotations

import contextlib
import json
import subprocess
import tempfile
import xml.etree.ElementTree as ElementTree
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

import bench
from bench import crud, native, parts, picture, process, report, static
from bench.cases import BY_NAME, DOCUMENT
from bench.crud import script
from bench.http import verify
from bench.http.run import FLOOR
from bench.http.targets import RING
from bench.observe.part import PART as OBSERVE
from bench.part import Options
from bench.process import Server, ServerFailed
from bench.static import nginx
from tests.support.services import unavailable

pytestmark = pytest.mark.once

HELLO = BY_NAME["hello"]
ANSWER = b"HTTP/1.1 200 OK\r\nContent-Type: text/plain\r\nContent-Length: 13\r\n\r\n" + HELLO.body


@contextlib.contextmanager
def floor(answer: bytes) -> Iterator[Server]:
    server = native.start_floor("floor-test", answer)
    try:
        yield server
    finally:
        server.stop()


def test_the_generator_counts_answers_and_reads_the_servers_clock() -> None:
    with floor(ANSWER) as server:
        before = server.cpu()
        load = native.load(server, HELLO.request, HELLO.body, connections=4, seconds=0.1)
        assert load.answers > 0
        assert 0 < load.server_cpu <= server.cpu() - before
        assert 0 < load.p50_us <= load.p99_us <= load.max_us


def test_the_floor_answers_every_pipelined_request_whatever_the_split() -> None:
    with floor(ANSWER) as server:
        assert len(verify.exchange(server.port, HELLO.request, 100)) == 100
        load = native.load(server, HELLO.request, HELLO.body, depth=16, seconds=0.1)
        assert load.answers % 16 == 0


@pytest.mark.parametrize(
    ("answer", "reason"),
    [
        (ANSWER.replace(b"World", b"Mars!"), "wrong body"),
        (ANSWER.replace(b"200 OK", b"503 No"), "not a 200"),
        (ANSWER + b"x", "more than was asked for"),
    ],
)
def test_a_wrong_answer_under_load_ends_the_round(answer: bytes, reason: str) -> None:
    with floor(answer) as server, pytest.raises(ServerFailed, match=reason):
        native.load(server, HELLO.request, HELLO.body, connections=1, seconds=0.1)


@pytest.mark.parametrize(
    ("answer", "reason"),
    [
        (ANSWER.replace(b"World", b"Mars!"), "wrong body"),
        (ANSWER.replace(b"200 OK", b"503 No"), "status 503"),
        (ANSWER.replace(b"text/plain", b"text/html"), "Content-Type text/html"),
        (ANSWER.replace(b"Content-Length: 13\r\n", b""), "neither Content-Length nor chunked"),
    ],
)
def test_a_wrong_answer_is_found_before_the_clock_runs(answer: bytes, reason: str) -> None:
    with floor(answer) as server, pytest.raises(ServerFailed, match=reason):
        verify.verify(server, HELLO)


def test_an_answer_is_read_only_when_it_is_whole_with_or_without_chunks() -> None:
    chunked = b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n3\r\nabc\r\n0\r\n\r\n"
    for raw, body in ((ANSWER, HELLO.body), (chunked, b"abc")):
        for end in range(len(raw)):
            assert verify.read_answer(raw[:end]) is None
        found = verify.read_answer(raw + b"next")
        assert found is not None
        assert (found[0].body, found[0].raw, found[1]) == (body, raw, b"next")


def test_the_document_has_one_kilobyte_and_the_browsers_request_fourteen_headers() -> None:
    assert len(DOCUMENT) == 1024
    head = BY_NAME["browser"].request.split(b"\r\n\r\n")[0]
    assert head.count(b"\r\n") == 14
    assert 750 < len(head) < 850


def results(*ours: float) -> dict[str, Any]:
    def figure(*rounds: float) -> dict[str, Any]:
        middle = sorted(rounds)[len(rounds) // 2]
        return {"cpu_us": middle, "rate": 1, "p50_us": 1, "p99_us": 1, "cpu_us_rounds": [*rounds]}

    by_name = {FLOOR: figure(4.0, 8.0, 4.0), RING: figure(*ours)}
    return {
        "meta": {"date": "today", "cpu": "a <fast> one", "kernel": "Linux", "python": "3"},
        "http": {
            "cases": {"hello": by_name},
            "titles": {"hello": "hello"},
            "targets": {RING: {"group": "ember", "version": "", "date": True}},
            "missing": {"express": "not installed: Node was not found"},
            "rounds": 3,
            "seconds": 1.0,
            "connections": 64,
        },
    }


@pytest.mark.parametrize(("ours", "met"), [((4.8, 9.6, 4.8), True), ((4.9, 9.8, 4.9), False)])
def test_a_bar_is_judged_by_the_median_of_the_ratios_round_by_round(
    ours: tuple[float, ...], met: bool
) -> None:
    judged = parts.judge(results(*ours))
    assert [(bar["text"], bar["met"]) for bar in judged] == [
        ("hello against the floor (aim 1.05)", met)
    ]


def test_what_is_missing_stands_in_the_report_with_its_reason() -> None:
    text = report.markdown(results(5.0, 5.0, 5.0), None)
    assert "- express: not installed: Node was not found" in text
    assert "| ember io_uring | 5.00 (1.25×) |" in text


def test_the_picture_is_well_formed_and_shows_every_server() -> None:
    drawn = picture.draw(results(5.0, 5.0, 5.0))
    assert drawn is not None
    text = " ".join(ElementTree.fromstring(drawn).itertext())
    assert FLOOR in text
    assert RING in text
    assert "a <fast> one" in text


EXTRA = """
from bench.bar import Bar, path
from bench.part import Part

PART = Part(
    "Extra",
    lambda options: {"figure": options.turns(9), "missing": {"half of it": "there was no time"}},
    (Bar("extra", "small", 2.0, "", path("extra", "figure")),),
    lambda part: [("An extra table", ["what", "figure"], [["it", str(part["figure"])]])],
)
"""


def test_a_part_is_added_by_its_folder_alone(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    for name, program in (("extra", {"part.py": EXTRA}), ("nopart", {"other.py": ""})):
        (tmp_path / name).mkdir()
        for file, text in {"__init__.py": "", **program}.items():
            (tmp_path / name / file).write_text(text)
    folders = [*bench.__path__, str(tmp_path)]
    monkeypatch.setattr(bench, "__path__", folders)
    found = parts.find(folders)
    assert [name for name in found if name not in parts.PARTS] == ["extra"]
    monkeypatch.setattr(parts, "PARTS", found)
    measured = {"meta": {}, "extra": found["extra"].run(Options(quick=True))}
    assert [(line["value"], line["met"]) for line in parts.judge(measured)] == [(1, True)]
    text = report.markdown(measured, None)
    assert "## An extra table" in text
    assert "- half of it: there was no time" in text
    assert picture.draw(measured) is None


def test_the_usual_parts_come_first_and_share_a_report() -> None:
    assert parts.USUAL == ("http", "micro", "db", "memory")
    assert list(parts.PARTS)[:4] == list(parts.USUAL)
    assert list(parts.PARTS)[4:] == sorted(set(parts.PARTS) - set(parts.USUAL))


def test_every_bar_names_the_part_that_has_it() -> None:
    for name, part in parts.PARTS.items():
        assert {bar.part for bar in part.bars} == {name}


SSE_REQUEST = b"GET / HTTP/1.1\r\nHost: a\r\n\r\n"
SSE_HEAD = (
    b"HTTP/1.1 200 OK\r\nContent-Type: text/event-stream\r\nTransfer-Encoding: chunked\r\n\r\n"
)


def event(number: int, said: int | None = None, end: str = "\n") -> bytes:
    data = f'{{"n":{number if said is None else said},"at":1,"text":"told"}}'
    lines = (": a comment", f"id: {number}", "event: tick", f"data: {data}", "", "")
    text = end.join(lines).encode()
    # Two chunks, which may end anywhere.
    return b"%x\r\n%b\r\n3\r\n%b\r\n" % (len(text) - 3, text[:-3], text[-3:])


def listen(stream: bytes) -> dict[str, Any]:
    program = native.build("streams")
    with floor(SSE_HEAD + stream) as server, tempfile.NamedTemporaryFile() as request:
        request.write(SSE_REQUEST)
        request.flush()
        command = [str(program), str(server.port), "2", "0", "0.05", request.name, "told"]
        done = subprocess.run(command, capture_output=True, text=True, check=False, timeout=120)
        if done.returncode:
            raise ServerFailed(done.stderr)
        found: dict[str, Any] = json.loads(done.stdout)
        return found


@pytest.mark.parametrize(
    ("numbers", "lost", "disorder"),
    [((7, 8, 9), 0, 0), ((7, 10), 2, 0), ((7, 8, 8), 0, 1), ((9, 7, 8), 0, 1)],
)
def test_the_listener_counts_what_is_lost_and_what_is_out_of_order(
    numbers: tuple[int, ...], lost: int, disorder: int
) -> None:
    for end in ("\n", "\r\n"):
        heard = listen(b"".join(event(n, end=end) for n in numbers))
        assert (heard["lost"], heard["disorder"]) == (2 * lost, 2 * disorder)
        assert heard["most"] == len(numbers)


@pytest.mark.parametrize(
    ("stream", "reason"),
    [
        (event(1).replace(b"told", b"tolt"), "wrong data"),
        (event(1) + b"0\r\n\r\n", "a stream ended"),
        (b"zz\r\n", "not the size of a chunk"),
    ],
)
def test_a_stream_that_is_wrong_ends_the_run(stream: bytes, reason: str) -> None:
    with pytest.raises(ServerFailed, match=reason):
        listen(stream)


CREATED = b'HTTP/1.1 201 Created\r\nContent-Length: 9\r\n\r\n{"id": 7}'


def mixed(answer: bytes, asked: list[tuple[script.Asked, bytes]]) -> dict[str, Any]:
    with floor(answer) as server:
        return crud._window(server, script.packed(asked), 0.0, 0.05)


def test_a_mix_is_asked_in_turn_and_counted_by_kind() -> None:
    counts = [sum(asked.kind == kind for asked in script._mixed()) for kind in range(3)]
    assert [100 * count // script.ENTRIES for count in counts] == list(script.SHARES)
    page = script.Asked(script.LIST, HELLO.request, {})
    heard = mixed(ANSWER, [(page, HELLO.body)])
    assert heard["answers"] == heard["by_kind"][script.LIST] > 0
    new = script.Asked(script.CREATE, HELLO.request, {})
    heard = mixed(CREATED, [(new, b"whatever")])
    assert heard["answers"] == heard["by_kind"][script.CREATE] > 0
    assert heard["sent_by_kind"][script.CREATE] >= heard["answers"]


@pytest.mark.parametrize(
    ("answer", "kind", "reason"),
    [
        (ANSWER.replace(b"World", b"Mars!"), script.GET, "wrong body"),
        (ANSWER, script.CREATE, "wrong status"),
        (ANSWER + b"x", script.GET, "more than was asked for"),
        (ANSWER.replace(b"Content-Length: 13\r\n", b""), script.GET, "no Content-Length"),
    ],
)
def test_a_wrong_answer_in_a_mix_ends_the_round(answer: bytes, kind: int, reason: str) -> None:
    asked = script.Asked(kind, HELLO.request, {})
    with pytest.raises(ServerFailed, match=reason):
        mixed(answer, [(asked, HELLO.body)])


def test_rows_of_the_mix_are_compared_whatever_the_spelling_of_their_times() -> None:
    said = script._task(4001)
    for spelling in ("2026-01-01T01:06:41Z", "2026-01-01T01:06:41.000+00:00"):
        heard = {**said, "created_at": spelling, "updated_at": spelling}
        assert script._comparable({"items": [heard]}) == {"items": [said]}
        assert script._comparable({**heard, "id": 4002}) != said


def static_results(**cpu: float) -> dict[str, Any]:
    names = {"ours": static.RING, "cached": static.NGINX, "plain": static.PLAIN}
    figures = {names[k]: {"cpu_us": v, "cpu_us_rounds": [v]} for k, v in cpu.items()}
    return {"static": {"cases": {"small": figures}}}


@pytest.mark.parametrize(
    ("cpu", "judged"),
    [
        ({"ours": 10.0, "cached": 5.0, "plain": 8.0}, (2.0, True)),
        ({"ours": 10.0, "cached": 9.0, "plain": 4.0}, (2.5, False)),
        ({"ours": 10.0, "plain": 8.0}, (1.25, True)),
        ({"ours": 10.0}, None),
    ],
)
def test_static_files_are_held_against_the_cheaper_nginx(
    cpu: dict[str, float], judged: tuple[float, bool] | None
) -> None:
    lines = parts.judge(static_results(**cpu))
    assert [(line["value"], line["met"]) for line in lines] == ([] if judged is None else [judged])


def test_nginx_gives_the_same_file(tmp_path: Path) -> None:
    if nginx.PROGRAM is None:
        unavailable("nginx")
    small, _ = static.cases(tmp_path / "files")
    for cached in (False, True):
        port = process.free_port()
        command = nginx.command(tmp_path / "files", cached=cached, prefix=tmp_path / "nginx")
        server = process.start("nginx-test", command(port), port=port, cpu=None)
        try:
            assert verify.verify(server, small).headers["accept-ranges"] == "bytes"
        finally:
            server.stop()


@pytest.mark.parametrize(("more", "met"), [(1.029, True), (1.031, False)])
def test_being_watched_may_cost_three_per_cent(more: float, met: bool) -> None:
    def figure(cpu: float) -> dict[str, Any]:
        return {"cpu_us": cpu, "rate": 1000, "cpu_us_rounds": [cpu, cpu]}

    hello = {"plain": figure(10.0), "metrics": figure(10 * more), "log": figure(10 * more)}
    part = {"cases": {"hello": hello}, "rounds": 2, "seconds": 1.0}
    lines = [bar.line({"observe": part}) for bar in OBSERVE.bars]
    assert [line["met"] for line in lines if line] == [met, met, False]
    assert OBSERVE.bars[2].measure({"observe": {"cases": {"hello": {}}}}) is None
    ((_, _, rows),) = OBSERVE.tables(part)
    assert rows[1][1] == "missing"  # not measured: neither nothing nor a figure
    assert rows[2][2] == f"+{(more - 1) * 100:.1f} %"

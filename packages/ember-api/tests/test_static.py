"""app.static over real sockets: what is given, and a corpus of what is not (P7)."""

from __future__ import annotations

import os
from pathlib import Path
from typing import Any

import pytest
from ember import Ember, Request
from ember.responses.negotiation import negotiate
from ember.responses.static import StaticFiles

from tests.support.server import Answer, Running, ServeFixture
from tests.support.waiting import eventually


@pytest.fixture
def tree(tmp_path: Path) -> Path:
    """A directory to serve, and beside it what must stay secret."""
    root = tmp_path / "site"
    (root / "docs" / "deep").mkdir(parents=True)
    (root / "empty").mkdir()
    (root / ".git").mkdir()
    (tmp_path / "site-secret").mkdir()
    for name, text in {
        "site/index.html": "<p>home",
        "site/app.js": "let a",
        "site/a b%.txt": "odd name",
        "site/docs/index.html": "<p>docs",
        "site/docs/deep/page.txt": "deep",
        "site/.env": "SECRET",
        "site/.git/config": "SECRET",
        "secret.txt": "SECRET",
        "site-secret/x.txt": "SECRET",
    }.items():
        (tmp_path / name).write_text(text)
    (root / "inside.txt").symlink_to(root / "app.js")
    (root / "escape.txt").symlink_to(tmp_path / "secret.txt")
    (root / "escape").symlink_to(tmp_path)
    (root / "sibling").symlink_to(tmp_path / "site-secret")
    (root / "hidden.txt").symlink_to(root / ".env")
    (root / "loop").symlink_to(root / "loop")
    (root / "dangling").symlink_to(root / "nothing")
    os.mkfifo(root / "pipe")
    return root


def start(serve: ServeFixture, root: Path, prefix: str = "/static", **options: Any) -> Running:
    app = Ember()
    app.static(prefix, root, **options)
    return serve(app)


def raw(running: Running, target: str, fields: str = "") -> Answer:
    """GET of exactly that target: clients tidy up what a corpus is about."""
    return running.exchange(f"GET {target} HTTP/1.1\r\nHost: a\r\n{fields}\r\n")


def test_files_are_given(serve: ServeFixture, tree: Path) -> None:
    running = start(serve, tree)
    answer = raw(running, "/static/app.js")
    assert (answer.status, answer.body) == (200, b"let a")
    assert answer.header("content-type") == "text/javascript; charset=utf-8"
    assert raw(running, "/static/docs/deep/page.txt").body == b"deep"
    assert raw(running, "/static/a%20b%25.txt").body == b"odd name"
    assert raw(running, "/static/inside.txt").body == b"let a"
    head = running.request("HEAD", "/static/app.js")
    assert (head.status, head.header("content-length"), head.body) == (200, "5", b"")
    assert running.request("POST", "/static/app.js", b"x").status == 405


@pytest.mark.parametrize(
    "target",
    [
        # dot segments, plain and encoded once, twice, too long
        "/static/../secret.txt", "/static/docs/../../secret.txt", "/static/docs/..", "/static/..",
        "/static/%2e%2e/secret.txt", "/static/%2E%2E/secret.txt", "/static/.%2e/secret.txt",
        "/static/%2e%2e%2fsecret.txt", "/static/..%2fsecret.txt",
        "/static/docs/..%2f..%2fsecret.txt", "/static/....//secret.txt",
        "/static/%252e%252e/secret.txt", "/static/%c0%ae%c0%ae/secret.txt",
        "/static/./app.js", "/static/docs/./index.html", "/static/docs/../app.js",
        # backslashes and drives
        "/static/..%5csecret.txt", "/static/..\\secret.txt", "/static/docs%5c..%5capp.js",
        "/static/c:/secret.txt", "/static/c:%5csecret.txt", "/static/app.js::$DATA",
        # absolute, empty segments, UNC
        "/static//etc/passwd", "/static/%2fetc%2fpasswd", "/static//app.js",
        "/static/docs//index.html",
        "/static/%2f%2fhost%2fshare", "/static/file:///etc/passwd",
        # NUL and control characters
        "/static/app.js%00", "/static/app.js%00.png", "/static/%00", "/static/app.js%0a",
        "/static/app.js%7f",
        # siblings with the same beginning
        "/static/../site-secret/x.txt", "/static-secret/x.txt", "/static/../site/app.js",
        # links that lead out, nowhere, in circles, or to dotfiles
        "/static/escape.txt", "/static/escape/secret.txt", "/static/sibling/x.txt", "/static/loop",
        "/static/dangling", "/static/hidden.txt",
        # dotfiles
        "/static/.env", "/static/%2eenv", "/static/.git/config", "/static/.git/", "/static/docs/.x",
        # folders, what is no file, what is not there, too long
        "/static/", "/static", "/static/docs", "/static/docs/", "/static/empty/", "/static/pipe",
        "/static/missing", "/static/app.js/", "/static/app.js/x", "/static/" + "x" * 300,
        "/static/" + "docs/" * 1000,
    ],
)  # fmt: skip
def test_the_traversal_corpus_is_refused(target: str, serve: ServeFixture, tree: Path) -> None:
    answer = raw(start(serve, tree), target)
    # 400: what is no path at all, such as bytes that are not UTF-8, stops before.
    assert answer.status in (404, 400)
    assert b"SECRET" not in answer.body
    assert str(tree).encode() not in answer.body


def test_dotfiles_are_given_where_that_is_asked_for(serve: ServeFixture, tree: Path) -> None:
    running = start(serve, tree, dotfiles=True)
    assert raw(running, "/static/.env").body == b"SECRET"
    assert raw(running, "/static/../secret.txt").status == 404


def test_an_index_answers_for_its_folder(serve: ServeFixture, tree: Path) -> None:
    running = start(serve, tree, index="index.html")
    assert raw(running, "/static/").body == b"<p>home"
    assert raw(running, "/static/docs/").body == b"<p>docs"
    for target, to in (("/static/docs?a=1", "./docs/?a=1"), ("/static", "./static/")):
        moved = raw(running, target)
        assert (moved.status, moved.header("location")) == (308, to)
    assert raw(running, "/static/empty/").status == 404
    assert raw(running, "/static/empty").status == 404
    assert raw(running, "/static/docs/deep/").status == 404


def test_static_at_the_root_leaves_other_routes_alone(serve: ServeFixture, tree: Path) -> None:
    app = Ember()
    app.static("/", tree, index="index.html")

    @app.get("/api")
    async def api() -> str:
        return "api"

    running = serve(app)
    assert raw(running, "/").body == b"<p>home"
    assert raw(running, "/app.js").body == b"let a"
    assert raw(running, "/api").body == b"api"


def test_conditions_and_ranges_of_files_in_memory_and_on_disk(
    serve: ServeFixture, tree: Path
) -> None:
    (tree / "large.bin").write_bytes(bytes(range(200)) * 1000)
    running = start(serve, tree, cache_control="public, max-age=60")
    for name, data in (("app.js", b"let a"), ("large.bin", bytes(range(200)) * 1000)):
        target = f"/static/{name}"
        for _ in range(2):  # read, and remembered
            answer = raw(running, target)
            assert (answer.status, answer.body) == (200, data)
            assert answer.header("cache-control") == "public, max-age=60"
            known = raw(running, target, f"If-None-Match: {answer.header('etag')}\r\n")
            assert (known.status, known.body) == (304, b"")
            assert known.header("cache-control") == "public, max-age=60"
            part = raw(running, target, "Range: bytes=1-3\r\n")
            assert (part.status, part.body) == (206, data[1:4])
            parts = raw(running, target, "Range: bytes=0-0,2-2\r\n")
            assert (parts.status, parts.body.count(b"Content-Range")) == (206, 2)
            assert raw(running, target, f"Range: bytes={len(data)}-\r\n").status == 416


@pytest.mark.parametrize("size", [20, 100_000])
def test_a_change_on_disk_is_seen_at_once_without_a_recheck_time(
    size: int, serve: ServeFixture, tree: Path
) -> None:
    (tree / "app.js").write_text("a" * size)
    running = start(serve, tree, recheck=0)
    first = raw(running, "/static/app.js")
    assert raw(running, "/static/app.js").body == first.body == b"a" * size
    (tree / "app.js").write_text("let b = 1")
    second = raw(running, "/static/app.js")
    assert second.body == b"let b = 1"
    assert second.header("etag") != first.header("etag")
    (tree / "app.js").unlink()
    assert raw(running, "/static/app.js").status == 404


def test_a_file_in_memory_is_compared_with_the_disk_once_in_a_while(
    serve: ServeFixture, tree: Path
) -> None:
    running = start(serve, tree, recheck=3600)
    first = raw(running, "/static/app.js")
    (tree / "app.js").write_text("let b = 1")
    assert raw(running, "/static/app.js").body == first.body
    # By default soon enough for whoever edits it.
    running = start(serve, tree)
    assert raw(running, "/static/app.js").body == b"let b = 1"
    (tree / "app.js").write_text("let c = 22")
    eventually(lambda: raw(running, "/static/app.js").body == b"let c = 22")
    (tree / "app.js").unlink()
    eventually(lambda: raw(running, "/static/app.js").status == 404)


def test_a_response_from_memory_is_the_response_from_disk(serve: ServeFixture, tree: Path) -> None:
    (tree / "app.js.gz").write_bytes(b"gz")
    options = {"cache_control": "public, max-age=60"}
    kept, read = start(serve, tree, **options), start(serve, tree, memory=0, **options)

    def seen(answer: Answer) -> Any:
        fields = [(n, v) for n, v in answer.headers.items() if n.lower() != "date"]
        return answer.status, answer.body, fields

    etag = raw(read, "/static/app.js").header("etag") or ""
    since = raw(read, "/static/app.js").header("last-modified") or ""
    coded = raw(read, "/static/app.js", "Accept-Encoding: gzip\r\n").header("etag")
    for fields in (
        "",
        "Accept-Encoding: gzip\r\n",
        "Accept-Encoding: br\r\nAccept-Encoding: gzip\r\n",
        f"If-None-Match: {etag}\r\n",
        f"If-None-Match: W/{etag}\r\n",
        f"If-None-Match: {etag}\r\nIf-Modified-Since: {since}\r\n",
        f"If-None-Match: {etag}, {coded}\r\nAccept-Encoding: gzip\r\n",
        f"If-None-Match: {coded}\r\nAccept-Encoding: gzip\r\n",
        f"If-None-Match: {coded}\r\n",
        f"If-Modified-Since: {since}\r\n",
        f"If-None-Match: {etag}\r\nIf-Match: {coded}\r\n",
        "Range: bytes=1-2\r\n",
        f"Range: bytes=0-0,2-2\r\nIf-Range: {coded}\r\n",
        "Range: bytes=9-\r\n",
    ):
        for _ in range(3):  # read; remembered; remembered as this path gives it
            assert seen(raw(kept, "/static/app.js", fields)) == seen(
                raw(read, "/static/app.js", fields)
            ), fields
    for method in ("HEAD", "GET"):
        one, other = (at.request(method, "/static/app.js") for at in (kept, read))
        assert seen(one) == seen(other)


def test_a_sibling_that_was_asked_for_by_its_own_name_keeps_its_types_apart(
    serve: ServeFixture, tree: Path
) -> None:
    (tree / "app.js.gz").write_bytes(b"gz")
    running = start(serve, tree)
    for _ in range(3):
        own = raw(running, "/static/app.js.gz")
        assert (own.header("content-type"), own.header("content-encoding")) == (
            "application/gzip",
            None,
        )
        coded = raw(running, "/static/app.js", "Accept-Encoding: gzip\r\n")
        assert (coded.header("content-type"), coded.header("content-encoding")) == (
            "text/javascript; charset=utf-8",
            "gzip",
        )


def test_a_middleware_may_change_an_answer_from_memory_for_itself(
    serve: ServeFixture, tree: Path
) -> None:
    app = Ember()
    app.static("/static", tree)
    seen: list[str] = []

    @app.add_middleware
    async def number(request: Request, call_next: Any) -> Any:
        response = await call_next(request)
        seen.append(response.headers["ETag"])
        response.headers["X-Number"] = str(len(seen))
        return response

    running = serve(app)
    for n in (1, 2, 3):
        answer = raw(running, "/static/app.js")
        assert (answer.body, answer.header("x-number")) == (b"let a", str(n))
    assert len(set(seen)) == 1


@pytest.mark.parametrize(
    ("accept", "coding"),
    [
        ("gzip, br, zstd", "zstd"),
        ("gzip, br", "br"),
        ("gzip", "gzip"),
        ("br;q=0.5, gzip;q=0.8", "gzip"),
        ("zstd;q=0, *", "br"),
        ("gzip;q=0", None),
        ("deflate", None),
        ("gzip;q=0.1, identity", None),
        ("", None),
    ],
)
def test_a_sibling_that_is_encoded_already_is_sent(
    accept: str, coding: str | None, serve: ServeFixture, tree: Path
) -> None:
    for ending in ("zst", "br", "gz"):
        (tree / f"app.js.{ending}").write_bytes(f"as {ending}".encode())
    answer = raw(start(serve, tree), "/static/app.js", f"Accept-Encoding: {accept}\r\n")
    expected = {"zstd": b"as zst", "br": b"as br", "gzip": b"as gz", None: b"let a"}[coding]
    assert answer.body == expected
    assert answer.header("content-encoding") == coding
    assert answer.header("vary") == "Accept-Encoding"
    assert answer.header("content-type") == "text/javascript; charset=utf-8"


def test_a_sibling_has_a_tag_of_its_own_and_may_not_lead_out(
    serve: ServeFixture, tree: Path
) -> None:
    (tree / "app.js.gz").write_bytes(b"gz")
    (tree / "app.js.br").symlink_to(tree.parent / "secret.txt")
    running = start(serve, tree)
    plain = raw(running, "/static/app.js")
    coded = raw(running, "/static/app.js", "Accept-Encoding: br, gzip\r\n")
    assert (coded.body, coded.header("content-encoding")) == (b"gz", "gzip")
    assert plain.header("etag") != coded.header("etag")
    known = raw(
        running,
        "/static/app.js",
        f"Accept-Encoding: gzip\r\nIf-None-Match: {coded.header('etag')}\r\n",
    )
    assert (known.status, known.header("vary")) == (304, "Accept-Encoding")


def test_without_siblings_nothing_varies(serve: ServeFixture, tree: Path) -> None:
    (tree / "app.js.gz").write_bytes(b"gz")
    running = start(serve, tree, precompressed=False)
    answer = raw(running, "/static/app.js", "Accept-Encoding: gzip\r\n")
    assert (answer.body, answer.header("vary")) == (b"let a", None)


@pytest.mark.parametrize(("size", "kept"), [(100, 100), (101, 0)])
def test_memory_keeps_files_up_to_a_size(
    size: int, kept: int, serve: ServeFixture, tree: Path
) -> None:
    (tree / "f").write_bytes(b"x" * size)
    app = Ember()
    files = StaticFiles(tree, memory=1000, memory_file=100)
    app.get("/{path:path}", inline=True)(files.__call__)
    assert raw(serve(app), "/f").body == b"x" * size
    assert files.in_memory == kept


def test_memory_is_bounded_and_forgets_what_was_asked_for_longest_ago(
    serve: ServeFixture, tree: Path
) -> None:
    for name in "abc":
        (tree / name).write_bytes(name.encode() * 40)
    app = Ember()
    files = StaticFiles(tree, memory=100)
    app.get("/{path:path}")(files.__call__)
    running = serve(app)
    for name in "abcab":
        assert raw(running, f"/{name}").body == name.encode() * 40
        assert files.in_memory <= 100
    assert files.in_memory == 80


@pytest.mark.parametrize(("most", "kept"), [(3, 3), (2, 2), (0, 0)])
def test_memory_keeps_so_many_files_and_no_more(
    most: int, kept: int, serve: ServeFixture, tree: Path
) -> None:
    for name in "abc":
        (tree / name).write_bytes(b"x")
    app = Ember()
    files = StaticFiles(tree, memory_files=most)
    app.get("/{path:path}")(files.__call__)
    running = serve(app)
    for name in "abcab":
        assert raw(running, f"/{name}").body == b"x"
    assert files.in_memory == kept


def test_a_new_sibling_is_noticed(serve: ServeFixture, tree: Path) -> None:
    running = start(serve, tree)
    assert raw(running, "/static/app.js", "Accept-Encoding: gzip\r\n").body == b"let a"
    (tree / "app.js.gz").write_bytes(b"gz")
    eventually(lambda: raw(running, "/static/app.js", "Accept-Encoding: gzip\r\n").body == b"gz")


def test_mistakes_are_named_when_they_are_made(tree: Path) -> None:
    app = Ember()
    with pytest.raises(NotADirectoryError, match="no such directory"):
        app.static("/s", tree / "missing")
    with pytest.raises(ValueError, match=r'static\(index="../x"|index='):
        app.static("/s", tree, index="../x")
    with pytest.raises(ValueError, match="Cache-Control"):
        app.static("/s", tree, cache_control="a\nb")
    with pytest.raises(ValueError, match="memory"):
        app.static("/s", tree, memory=-1)
    with pytest.raises(ValueError, match="memory_files"):
        app.static("/s", tree, memory_files=-1)
    with pytest.raises(ValueError, match="recheck"):
        app.static("/s", tree, recheck=-1)


@pytest.mark.parametrize(
    ("accept", "offered", "chosen"),
    [
        (None, ["gzip"], None),
        ("*", ["br", "gzip"], "br"),
        ("*;q=0", ["gzip"], None),
        ("GZIP", ["gzip"], "gzip"),
        ("x-gzip", ["gzip"], "gzip"),
        ("gzip;q=1.5", ["gzip"], None),
        ("gzip;q=x", ["gzip"], None),
        ("gzip; q=0.001", ["gzip"], "gzip"),
        ("identity;q=0, *;q=0.5", ["zstd"], "zstd"),
        (",,gzip,", ["gzip"], "gzip"),
    ],
)
def test_a_coding_is_negotiated(accept: str | None, offered: list[str], chosen: str | None) -> None:
    assert negotiate(accept, offered) == chosen

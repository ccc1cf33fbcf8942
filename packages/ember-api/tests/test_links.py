"""A file, a folder, a sibling or an index that was asked for a moment ago becomes a link: what lies
outside of the directory is not given, whatever was seen there before."""

from __future__ import annotations

import os
import shutil
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from ember import Ember, FileResponse, Request
from ember.protocol.server import openfile
from ember.responses.static import MIB, StaticFiles

from tests.support.server import Answer, Running, ServeFixture

SECRET = b"what lies outside"
SMALL, LARGE = b"public", b"public" * MIB


@pytest.fixture
def tree(tmp_path: Path) -> Path:
    """A directory to serve, and beside it what must stay secret, with the same names."""
    for folder in ("site/docs/deep", "outside/docs/deep"):
        (tmp_path / folder).mkdir(parents=True)
    for name in ("file.txt", "docs/file.txt", "docs/deep/file.txt", "docs/index.html"):
        (tmp_path / "site" / name).write_bytes(SMALL)
        (tmp_path / "site" / f"{name}.gz").write_bytes(SMALL)
        for ending in ("", ".gz"):
            (tmp_path / "outside" / f"{name}{ending}").write_bytes(SECRET)
    (tmp_path / "site" / "large.bin").write_bytes(LARGE)
    (tmp_path / "outside" / "large.bin").write_bytes(SECRET)
    return tmp_path / "site"


def outside(root: Path, name: str) -> Path:
    """What stands for `name` where nobody may look."""
    return root.parent / "outside" / name


def become_link(root: Path, name: str) -> None:
    """`name` is a link to what stands for it outside, from now on."""
    path = root / name
    if path.is_dir():
        shutil.rmtree(path)
    else:
        path.unlink()
    path.symlink_to(outside(root, name))


def start(serve: ServeFixture, root: Path, **options: Any) -> Running:
    app = Ember()
    app.static("/s", root, index="index.html", **options)
    return serve(app)


SWAPS = {
    # what is asked for: what becomes a link
    "/s/file.txt": ["file.txt"],
    "/s/large.bin": ["large.bin"],
    "/s/docs/file.txt": ["docs/file.txt", "docs"],
    "/s/docs/deep/file.txt": ["docs/deep/file.txt", "docs/deep", "docs"],
    "/s/docs/": ["docs/index.html", "docs"],
}
CASES = [(target, name) for target, names in SWAPS.items() for name in names]
HOW: dict[str, dict[str, str]] = {
    "whole": {},
    "encoded": {"Accept-Encoding": "gzip"},
    "part": {"Range": "bytes=0-3"},
}


@pytest.mark.parametrize("memory", [0, 16 * MIB], ids=["from disk", "from memory"])
@pytest.mark.parametrize("how", HOW)
@pytest.mark.parametrize(("target", "name"), CASES)
def test_what_has_become_a_link_is_not_followed(
    serve: ServeFixture, tree: Path, target: str, name: str, how: str, memory: int
) -> None:
    running = start(serve, tree, memory=memory, recheck=0)
    expected = 206 if how == "part" else 200
    for _ in range(3):
        assert running.get(target, HOW[how]).status == expected
    become_link(tree, name)
    for suffix in ("", ".gz"):
        if suffix and (tree / f"{name}.gz").exists():
            become_link(tree, f"{name}.gz")
    for _ in range(3):
        for method in ("GET", "HEAD"):
            answer = running.request(method, target, headers=HOW[how])
            assert answer.status == 404
            assert SECRET not in answer.body


@pytest.mark.parametrize("memory", [0, 16 * MIB], ids=["from disk", "from memory"])
def test_a_sibling_that_has_become_a_link_is_not_given(
    serve: ServeFixture, tree: Path, memory: int
) -> None:
    running = start(serve, tree, memory=memory, recheck=0)
    gzip = {"Accept-Encoding": "gzip"}
    assert running.get("/s/file.txt", gzip).header("content-encoding") == "gzip"
    become_link(tree, "file.txt.gz")
    for _ in range(3):
        answer = running.get("/s/file.txt", gzip)
        assert (answer.status, answer.body) == (200, SMALL)
        assert answer.header("content-encoding") is None


def test_a_link_that_comes_between_the_look_and_the_opening_is_not_followed(
    serve: ServeFixture, tree: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The very moment that a look before opening would miss."""
    find = StaticFiles._find

    def found_and_swapped(self: StaticFiles, path: str) -> Any:
        found = find(self, path)
        if not (tree / "docs").is_symlink():
            become_link(tree, "docs")
        return found

    monkeypatch.setattr(StaticFiles, "_find", found_and_swapped)
    answer = start(serve, tree).get("/s/docs/file.txt")
    assert answer.status == 404
    assert SECRET not in answer.body


def test_a_link_within_is_followed_at_once_where_a_file_was(
    serve: ServeFixture, tree: Path
) -> None:
    """As a deploy does it: nobody gets a 404 in between."""
    running = start(serve, tree, recheck=0)
    assert running.get("/s/file.txt").body == SMALL
    (tree / "file.2.txt").write_bytes(b"the second")
    os.symlink(tree / "file.2.txt", tree / "new")
    os.replace(tree / "new", tree / "file.txt")
    assert running.get("/s/file.txt").body == b"the second"


def test_that_a_folder_has_an_index_outside_is_not_told(serve: ServeFixture, tree: Path) -> None:
    running = start(serve, tree)
    assert running.get("/s/docs").status == 308
    become_link(tree, "docs/index.html")
    assert running.get("/s/docs").status == 404


@pytest.mark.once
def test_a_directory_that_is_reached_over_a_link_is_served(tree: Path) -> None:
    """What leads to the directory is the application's own choice."""
    (tree.parent / "current").symlink_to(tree)
    named = FileResponse("docs/file.txt", root=tree.parent / "current")
    assert named.read_all() == SMALL


# -- FileResponse(root=) ----------------------------------------------------------------------


def upload(serve: ServeFixture, root: Path) -> Callable[[str], Answer]:
    app = Ember()

    @app.get("/f/{name:path}")
    async def file(request: Request, name: str) -> FileResponse:
        try:
            return FileResponse(name, root=root)
        except FileNotFoundError:
            return FileResponse(root / "large.bin", status_code=404)

    return serve(app).get


def test_a_name_that_a_client_chose_does_not_leave_the_root(
    serve: ServeFixture, tree: Path
) -> None:
    get = upload(serve, tree)
    assert get("/f/docs/file.txt").body == SMALL
    become_link(tree, "file.txt")
    (tree / "away").symlink_to(tree.parent / "outside")
    (tree / "inside").symlink_to(tree / "docs")
    for name in (
        "file.txt",
        "away/file.txt",
        "inside/file.txt",  # not followed either: a name is a name
        "..%2foutside%2ffile.txt",
        "docs/..%2f..%2foutside/file.txt",
        f"{tree.parent}/outside/file.txt",
        "large.bin/x",
        "docs%00",
        "nothing",
    ):
        answer = get(f"/f/{name}")
        assert answer.status in (400, 404), name
        assert SECRET not in answer.body, name


@pytest.mark.once
def test_names_that_are_none_are_as_if_nothing_was_there(tree: Path) -> None:
    for name in ("", ".", "..", "/", "a//b", "./file.txt", "docs/../file.txt", "file.txt/", "\0"):
        with pytest.raises(FileNotFoundError):
            FileResponse(name, root=tree)
    with pytest.raises(IsADirectoryError):
        FileResponse("docs", root=tree)
    with pytest.raises(FileNotFoundError):
        FileResponse("file.txt", root=tree / "nothing")


# -- where folders have no descriptors --------------------------------------------------------


@pytest.mark.once
@pytest.mark.parametrize("walk", [True, False], ids=["by a walk", "by a look afterwards"])
def test_no_link_is_followed_on_any_system(
    tree: Path, monkeypatch: pytest.MonkeyPatch, walk: bool
) -> None:
    if not walk:
        monkeypatch.setattr(openfile, "_NO_LINK", 0)
    before = len(os.listdir("/proc/self/fd"))
    for name, swap in [
        ("file.txt", "file.txt"),
        ("docs/deep/file.txt", "docs/deep"),
        ("docs/file.txt", "docs"),
    ]:
        path = str(tree / name)
        opened = openfile.OpenFile(path, str(tree))
        assert opened.read_now(100, 0) == SMALL
        become_link(tree, swap)
        with pytest.raises(OSError, match=r"symbolic links|Not a directory"):
            openfile.OpenFile(path, str(tree))
        assert opened.read_now(100, 0) == SMALL  # what was opened stays what it was
        opened.close()
    with pytest.raises(FileNotFoundError):
        openfile.OpenFile(str(tree / "nothing" / "x"), str(tree))
    assert len(os.listdir("/proc/self/fd")) == before

"""Where log lines go: never waiting, dropping whole lines and saying so."""

from __future__ import annotations

import errno
import logging
import os
import socket
import sys
from pathlib import Path

import pytest
from ember.protocol.telemetry import logfile
from ember.protocol.telemetry.logfile import KEPT, LogFile


def test_lines_are_appended_to_a_path(tmp_path: Path) -> None:
    path = tmp_path / "log"
    path.write_text("before\n")
    file = LogFile(str(path))
    file.write(b"one\n")
    file.write(memoryview(b"two\n"))
    file.close()
    assert path.read_text() == "before\none\ntwo\n"


def test_a_path_that_cannot_be_opened_names_it_and_the_reason(tmp_path: Path) -> None:
    with pytest.raises(OSError, match=r"access log .*/none/log: No such file or directory"):
        LogFile(str(tmp_path / "none" / "log")).open()


def test_after_a_rotation_lines_go_to_the_new_file(tmp_path: Path) -> None:
    path = tmp_path / "log"
    file = LogFile(str(path))
    file.write(b"one\n")
    path.rename(tmp_path / "old")
    file.write(b"two\n")
    file.reopen()
    file.write(b"three\n")
    file.close()
    assert (tmp_path / "old").read_text() == "one\ntwo\n"
    assert path.read_text() == "three\n"


def test_a_rotation_that_fails_goes_on_in_the_old_file(
    tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    folder = tmp_path / "logs"
    folder.mkdir()
    file = LogFile(str(folder / "log"))
    file.write(b"one\n")
    folder.rename(tmp_path / "moved")
    file.reopen()
    file.write(b"two\n")
    file.close()
    assert (tmp_path / "moved" / "log").read_text() == "one\ntwo\n"
    assert "the old file stays in use" in caplog.text


def drain(fd: int) -> bytes:
    out = b""
    os.set_blocking(fd, False)
    while True:
        try:
            data = os.read(fd, 1 << 20)
        except BlockingIOError:
            return out
        if not data:
            return out
        out += data


@pytest.mark.parametrize("kind", ["pipe", "socket"])
def test_a_reader_that_stands_still_costs_whole_lines_and_one_warning(
    kind: str, caplog: pytest.LogCaptureFixture
) -> None:
    if kind == "pipe":
        reading, writing = os.pipe()
    else:
        ends = socket.socketpair()
        reading, writing = (end.detach() for end in ends)
    file = LogFile(writing)
    line = b"x" * 999 + b"\n"
    written = 0
    try:
        with caplog.at_level(logging.WARNING, "ember.access"):
            while not file.dropped:
                file.write(line * 50)
                written += 50
            before = file.dropped
            file.write(line * 50)
            written += 50
        assert before < file.dropped <= before + 50
        assert len(caplog.records) == 1
        assert os.get_blocking(writing), "the descriptor is not ours alone"
        assert file.waiting <= KEPT
        got = b""
        while True:
            got += drain(reading)
            if file.retry():
                break
        got += drain(reading)
        assert got.count(b"\n") == written - file.dropped
        assert set(got.splitlines(keepends=True)) == {line}
        caplog.clear()
        file.write(line)
        assert drain(reading) == line
    finally:
        file.close()
        os.close(reading)
        os.close(writing)


@pytest.mark.skipif(sys.platform != "linux", reason="only Linux can make a pipe larger")
def test_a_pipe_takes_what_a_busy_server_writes_at_once() -> None:
    reading, writing = os.pipe()
    file = LogFile(writing)
    line = b"x" * 999 + b"\n"
    try:
        file.write(line * 300)
        assert file.waiting == 0
        assert drain(reading) == line * 300
    finally:
        file.close()
        os.close(reading)
        os.close(writing)


@pytest.mark.skipif(sys.platform != "linux", reason="only Linux can make a pipe larger")
def test_a_pipe_that_may_not_grow_is_used_as_it_is(monkeypatch: pytest.MonkeyPatch) -> None:
    import fcntl

    real = fcntl.fcntl

    def refused(fd: int, what: int, *more: int) -> int:
        if what == fcntl.F_SETPIPE_SZ:
            raise PermissionError(errno.EPERM, os.strerror(errno.EPERM))
        return real(fd, what, *more)

    monkeypatch.setattr(fcntl, "fcntl", refused)
    reading, writing = os.pipe()
    file = LogFile(writing)
    line = b"x" * 999 + b"\n"
    try:
        file.write(line * 300)
        assert file.waiting
        got = b""
        while file.waiting:
            got += drain(reading)
            file.retry()
        assert got + drain(reading) == line * 300
    finally:
        file.close()
        os.close(reading)
        os.close(writing)


def test_a_full_disk_costs_lines_and_never_half_a_line(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    room = 1500
    real = os.write

    def full(fd: int, data: bytes) -> int:
        nonlocal room
        if not room:
            raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))
        taken = real(fd, bytes(data[:room]))
        room -= taken
        return taken

    path = tmp_path / "log"
    file = LogFile(str(path))
    file.open()
    monkeypatch.setattr(logfile.os, "write", full)
    line = b"x" * 999 + b"\n"
    file.write(line * 3)
    file.write(line * (KEPT // 1000))
    assert file.dropped > 0
    assert [record.message for record in caplog.records] == [
        f"access log {path}: No space left on device"
    ]
    room = 1 << 30
    assert file.retry()
    assert set(path.read_bytes().splitlines(keepends=True)) == {line}
    assert path.read_bytes().count(b"\n") == 3 + KEPT // 1000 - file.dropped
    file.close()


def test_a_line_that_was_torn_by_a_full_disk_is_not_continued_in_another_file(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    real = os.write
    room = [15]

    def full(fd: int, data: bytes) -> int:
        if not room[0]:
            raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))
        taken = real(fd, bytes(data[: room[0]]))
        room[0] -= taken
        return taken

    path = tmp_path / "log"
    file = LogFile(str(path))
    file.open()
    monkeypatch.setattr(logfile.os, "write", full)
    file.write(b"the first\nthe second\nthe third\n")
    path.rename(tmp_path / "old")
    file.reopen()
    room[0] = 1000
    file.close()
    assert (tmp_path / "old").read_text() == "the first\nthe s"
    assert path.read_text() == "the third\n"
    assert file.dropped == 1

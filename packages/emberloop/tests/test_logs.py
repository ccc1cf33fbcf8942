"""What the loggers make of what clients have chosen, and of floods."""

from __future__ import annotations

import logging
from collections.abc import Iterator

import pytest
from ember import _logs
from ember._logs import BURST, PERIOD, format_exception, get_logger, printable

pytestmark = pytest.mark.once

FORGED = "x\nINFO auth login ok\r\x1b[2J\x9b31m\x00\u2028\u202e\ud800é"
SHOWN = r"x\nINFO auth login ok\r\x1b[2J\x9b31m\x00\u2028\u202e\ud800é"


class Clock:
    now = 100.0

    def __call__(self) -> float:
        return self.now


class Lines(logging.Handler):
    """What a handler would write."""

    def __init__(self) -> None:
        super().__init__()
        self.texts: list[str] = []
        self.setFormatter(logging.Formatter("%(levelname)s %(message)s"))

    def emit(self, record: logging.LogRecord) -> None:
        self.texts.append(self.format(record))


@pytest.fixture
def lines() -> Iterator[Lines]:
    logger, handler = get_logger("ember.tested"), Lines()
    logger.addHandler(handler)
    logger.propagate = False
    logger.setLevel(logging.DEBUG)
    yield handler
    logger.removeHandler(handler)


log = get_logger("ember.tested")


def test_text_is_escaped_and_other_text_stays() -> None:
    assert printable(FORGED) == SHOWN
    assert printable("/é/ü 日本") == "/é/ü 日本"


def test_arguments_are_on_one_line(lines: Lines) -> None:
    log.error("%s failed: %s", FORGED, ValueError(FORGED))
    log.error("%(path)s failed", {"path": FORGED})
    log.error("%d of %s in %.1f s", 3, None, 1.5)
    assert lines.texts == [
        f"ERROR {SHOWN} failed: {SHOWN}",
        f"ERROR {SHOWN} failed",
        "ERROR 3 of None in 1.5 s",
    ]


def fail(error: BaseException) -> None:
    try:
        raise error
    except BaseException:
        log.exception("it failed")


def test_a_traceback_has_the_message_and_no_line_that_it_chose(lines: Lines) -> None:
    error = RuntimeError(FORGED)
    error.add_note("a note\nINFO of its own")
    error.__cause__ = KeyError(FORGED)
    fail(error)
    assert "RuntimeError: x\n    | INFO auth login ok\\r\\x1b[2J" in lines.texts[0]
    assert "\n    | INFO of its own" in lines.texts[0]
    assert "\nINFO" not in lines.texts[0]
    assert "test_logs.py" in lines.texts[0]


def test_the_members_of_a_group_are_told_the_same_way(lines: Lines) -> None:
    fail(ExceptionGroup("several", [ValueError("x\nINFO forged"), KeyError("\x1b")]))
    assert "| ValueError: x" in lines.texts[0]
    assert not any(line.startswith("INFO") for line in lines.texts[0].split("\n"))
    assert "\x1b" not in lines.texts[0]


class Broken(Exception):
    def __str__(self) -> str:
        raise RuntimeError("no text")

    __repr__ = __str__


class Rude(Exception):
    def __str__(self) -> str:
        raise SystemExit(3)

    __repr__ = __str__


@pytest.mark.parametrize("error", [Broken(), Rude()])
def test_an_exception_without_text_keeps_its_traceback(
    error: Exception, lines: Lines, capsys: pytest.CaptureFixture[str]
) -> None:
    fail(error)
    log.error("it failed: %s, %r", error, error)
    assert "test_logs.py" in lines.texts[0]
    assert type(error).__name__ in lines.texts[0]
    assert "its text raised" in lines.texts[1]
    assert capsys.readouterr().err == ""


def test_circles_of_exceptions_end() -> None:
    first, second = ValueError("a"), ValueError("b")
    first.__context__, second.__context__ = second, first
    assert "ValueError: a" in format_exception(first)


def test_a_flood_is_some_lines_and_how_many_more(
    lines: Lines, monkeypatch: pytest.MonkeyPatch
) -> None:
    clock = Clock()
    monkeypatch.setattr("ember._logs.time.monotonic", clock)
    for number in range(BURST + 7):
        log.warning("refused %s", number)
        log.info("noted %s", number)
    assert len(lines.texts) == 2 * BURST
    lines.texts.clear()
    clock.now += PERIOD
    log.warning("refused %s", "again")
    log.warning("another kind")
    assert lines.texts == [
        f"WARNING and 7 more like this in 10 s, the last: refused {BURST + 6}",
        "WARNING refused again",
        "WARNING another kind",
    ]


def test_lines_below_the_burst_are_all_written(
    lines: Lines, monkeypatch: pytest.MonkeyPatch
) -> None:
    clock = Clock()
    monkeypatch.setattr("ember._logs.time.monotonic", clock)
    for _ in range(3):
        for number in range(BURST):
            log.warning("refused %s", number)
        clock.now += PERIOD
    assert len(lines.texts) == 3 * BURST


def test_errors_are_never_held_back(lines: Lines) -> None:
    for number in range(3 * BURST):
        log.error("failed %s", number)
    assert len(lines.texts) == 3 * BURST


def test_where_a_loop_runs_the_rest_of_a_flood_is_told_when_it_is_over(
    lines: Lines, monkeypatch: pytest.MonkeyPatch
) -> None:
    import asyncio

    monkeypatch.setattr(_logs, "PERIOD", 0.05)

    async def flood() -> None:
        for number in range(BURST + 3):
            log.warning("refused %s", number)
        for _ in range(1000):
            if len(lines.texts) > BURST:
                break
            await asyncio.sleep(0.01)

    asyncio.run(flood())
    assert lines.texts[BURST:] == [
        f"WARNING and 3 more like this in 0.05 s, the last: refused {BURST + 2}"
    ]

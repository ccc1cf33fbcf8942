"""Values that a client chooses, wherever they are written: error lines, access logs, the debug
page."""

from __future__ import annotations

import logging
from typing import Any

import pytest
from ember import Ember
from ember.observability.access_log import colored

from tests.support.server import ServeFixture

PATH = "/items/x%0aINFO%20auth%20login%20ok%1b%5b2J%c2%9b31m%e2%80%a8"
SHOWN = r"/items/x\nINFO auth login ok\x1b[2J\x9b31m\u2028"


class Broken(Exception):
    def __str__(self) -> str:
        raise RuntimeError("no text")

    __repr__ = __str__


def app_that_raises(make: Any, debug: bool = False) -> Ember:
    app = Ember(debug=debug)

    @app.get("/items/{name}")
    async def item(name: str) -> None:
        raise make(name)

    return app


def written(caplog: pytest.LogCaptureFixture) -> str:
    formatter = logging.Formatter("%(levelname)s %(name)s %(message)s")
    return "\n".join(formatter.format(record) for record in caplog.records)


def test_an_error_line_is_one_line_whatever_the_path_is(
    serve: ServeFixture, caplog: pytest.LogCaptureFixture
) -> None:
    answer = serve(app_that_raises(lambda name: RuntimeError(f"no {name}"))).get(PATH)
    assert answer.status == 500
    text = written(caplog)
    assert f"GET {SHOWN} failed" in text
    assert not any(line.startswith("INFO auth") for line in text.split("\n"))
    assert not {"\x1b", "\x9b", "\u2028", "\r"} & set(text)
    assert "test_log_safety.py" in text, "with its traceback"


def test_an_exception_without_text_is_a_500_with_a_traceback(
    serve: ServeFixture, caplog: pytest.LogCaptureFixture, capfd: pytest.CaptureFixture[str]
) -> None:
    assert serve(app_that_raises(lambda name: Broken(name))).get("/items/1").status == 500
    assert "test_log_safety.py" in written(caplog)
    assert "Logging error" not in capfd.readouterr().err


def test_the_debug_page_shows_what_cannot_be_shown(serve: ServeFixture) -> None:
    html = {"Accept": "text/html"}
    for make in (Broken, lambda name: ValueError(f"{name}\ud800<script>")):
        answer = serve(app_that_raises(make, debug=True)).get(PATH, html)
        assert answer.status == 500
        assert answer.body.startswith(b"<!doctype html>")
        assert b"<script>" not in answer.body
        assert b"\x1b" not in answer.body


def test_floods_of_malformed_requests_are_summarised(
    serve: ServeFixture, caplog: pytest.LogCaptureFixture
) -> None:
    running = serve(Ember())
    for _ in range(50):
        with running.connect() as client:
            client.send("GET / HTTP/1.1\r\nHost : x\r\n\r\n")
            assert client.recv_response().status == 400
    warnings = [r for r in caplog.records if r.levelno == logging.WARNING]
    assert 0 < len(warnings) < 30


@pytest.mark.once
def test_the_coloured_log_has_no_orders_for_the_terminal() -> None:
    paint = colored(False)
    line = (
        b'{"time":"2026-01-01T00:00:00.000000Z","id":"x","method":"GET\\u009b","route":null,'
        b'"path":"/\\u009b31m\\u001b[2J\\n","status":200,"bytes":1,"duration":0.1,'
        b'"client":"\\u009b2J\\u202e","worker":0}\n'
    )
    text = paint(line).decode()
    assert text.count("\n") == 1
    assert text.rstrip("\n").isprintable()
    assert r"/\x9b31m\x1b[2J\n" in text

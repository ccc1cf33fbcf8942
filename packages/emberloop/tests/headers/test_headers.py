"""`Headers`, `MutableHeaders`, and the one check of names and values."""

from __future__ import annotations

import subprocess
import sys

import pytest
from ember.headers import Headers, MutableHeaders, check_name, check_value
from ember.limits import RouteLimits, ServerLimits


def test_names_compare_without_case_and_values_keep_their_order() -> None:
    headers = Headers([("Accept", "a"), ("X", "1"), ("accept", "b")])
    assert headers["ACCEPT"] == "a"
    assert headers.get_all("accept") == ["a", "b"]
    assert headers.get("missing") is None
    assert "x" in headers
    assert "y" not in headers
    assert headers.raw[0] == (b"Accept", b"a")
    with pytest.raises(KeyError):
        headers["missing"]


def test_setting_replaces_every_field_of_the_name_and_adding_appends() -> None:
    headers = MutableHeaders({"A": "1"})
    headers.add("a", "2")
    headers.add("B", "3")
    assert headers.get_all("A") == ["1", "2"]
    headers["a"] = "4"
    assert headers.items() == [("a", "4"), ("B", "3")]
    del headers["B"]
    assert "b" not in headers


@pytest.mark.parametrize("name", ["", "a b", "a:", "a\r\n", "ä", "a\0", "(a)"])
def test_a_name_that_is_no_token_is_refused(name: str) -> None:
    with pytest.raises(ValueError, match="not a token"):
        check_name(name)


@pytest.mark.parametrize("value", ["a\r\nb", "a\nb", "a\rb", "a\0b", "a\x7f", "a\x01", "€"])
def test_a_value_that_could_end_its_line_is_refused(value: str) -> None:
    with pytest.raises(ValueError, match="header X"):
        check_value("X", value)


def test_white_space_around_a_value_is_taken_off() -> None:
    assert check_value("X", " \ta b\t ") == "a b"


@pytest.mark.parametrize("wrong", [0, -1, "1", True])
def test_limits_name_the_argument_that_is_wrong(wrong: object) -> None:
    with pytest.raises(ValueError, match="ServerLimits\\(keep_alive_timeout="):
        ServerLimits(keep_alive_timeout=wrong)  # type: ignore[arg-type]
    with pytest.raises(ValueError, match="RouteLimits\\(timeout="):
        RouteLimits(timeout=wrong)  # type: ignore[arg-type]


def test_headers_alone_load_neither_asyncio_nor_heavy_modules() -> None:
    heavy = ["asyncio", "dataclasses", "inspect", "email", "urllib", "http.cookies", "json"]
    code = f"import sys, ember.headers; sys.exit(' '.join(set({heavy!r}) & set(sys.modules)) or 0)"
    run = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, timeout=120)
    assert run.returncode == 0, run.stderr

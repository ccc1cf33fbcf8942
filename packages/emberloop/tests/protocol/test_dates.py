"""HTTP dates in their three forms (RFC 9110 section 5.6.7), always UTC."""

from __future__ import annotations

import os
import time
from collections.abc import Iterator
from datetime import UTC, datetime

import pytest
from ember.protocol.message.cookies import parse_cookies
from ember.protocol.message.dates import http_date, parse_http_date
from ember.response import Response

pytestmark = pytest.mark.once

#: Sun, 06 Nov 1994 08:49:37 GMT, the example of the RFC.
EXAMPLE = 784111777


@pytest.fixture(params=["UTC", "America/New_York", "Asia/Kolkata"])
def _zone(request: pytest.FixtureRequest) -> Iterator[None]:
    before = os.environ.get("TZ")
    os.environ["TZ"] = request.param
    time.tzset()
    yield
    if before is None:
        del os.environ["TZ"]
    else:
        os.environ["TZ"] = before
    time.tzset()


@pytest.mark.usefixtures("_zone")
@pytest.mark.parametrize(
    "text",
    [
        "Sun, 06 Nov 1994 08:49:37 GMT",
        "Sunday, 06-Nov-94 08:49:37 GMT",
        "Sun Nov  6 08:49:37 1994",
        " Sun, 06 Nov 1994 08:49:37 GMT\t",
    ],
)
def test_every_form_is_the_same_moment_wherever_the_server_stands(text: str) -> None:
    assert parse_http_date(text) == EXAMPLE


@pytest.mark.parametrize("moment", [0, 1, EXAMPLE, 951782400, 4102444799])
def test_what_is_written_is_read(moment: int) -> None:
    assert parse_http_date(http_date(moment)) == moment


def test_a_year_of_two_digits_is_at_most_fifty_years_ahead() -> None:
    year = time.gmtime().tm_year
    ahead = parse_http_date(f"Sunday, 06-Nov-{(year + 50) % 100:02} 08:49:37 GMT")
    behind = parse_http_date(f"Sunday, 06-Nov-{(year + 51) % 100:02} 08:49:37 GMT")
    assert ahead is not None
    assert behind is not None
    assert time.gmtime(ahead).tm_year == year + 50
    assert time.gmtime(behind).tm_year == year - 49


@pytest.mark.parametrize(
    "text",
    [
        "",
        "0",
        "-1",
        "Sun, 06 Nov 1994 08:49:37",
        "Sun, 06 Nov 1994 08:49:37 +0200",
        "Sun, 06 Nov 1994 08:49:37 EST",
        "Sun, 31 Feb 1994 08:49:37 GMT",
        "Sun, 06 Nov 1994 24:00:00 GMT",
        "Sun, 06 Xxx 1994 08:49:37 GMT",
        "Sun, 00 Nov 0000 08:49:37 GMT",
        "1994-11-06T08:49:37Z",
        "Sun, \u0660\u0666 Nov 1994 08:49:37 GMT",
    ],
)
def test_what_is_no_such_date_is_none(text: str) -> None:
    assert parse_http_date(text) is None


# -- cookies ----------------------------------------------------------------------------------


@pytest.mark.usefixtures("_zone")
def test_a_cookie_expires_at_utc_where_no_zone_is_said() -> None:
    response = Response()
    response.set_cookie("a", "1", expires=datetime(1994, 11, 6, 8, 49, 37))
    response.set_cookie("b", "1", expires=datetime(1994, 11, 6, 8, 49, 37, tzinfo=UTC))
    for field in response.headers.get_all("set-cookie"):
        assert "Expires=Sun, 06 Nov 1994 08:49:37 GMT" in field


@pytest.mark.parametrize(
    ("value", "sent"),
    [
        ("plain", "plain"),
        ("", ""),
        ("a b", '"a b"'),
        ("a,b", r'"a\054b"'),
        ("a;b", r'"a\073b"'),
        ('a"b', r'"a\"b"'),
        ("a\\b", r'"a\\b"'),
        ("100%", "100%"),
        ('{"x":1}', r'"{\"x\":1}"'),
        ("caf\xe9", r'"caf\303\251"'),
        ("\u65e5", r'"\346\227\245"'),
        ("a\\054", r'"a\\054"'),
        ('"a"', r'"\"a\""'),
    ],
)
def test_a_value_that_needs_quotes_comes_back_as_it_was(value: str, sent: str) -> None:
    response = Response()
    response.set_cookie("k", value)
    field = response.headers["set-cookie"].partition("; Path")[0]
    assert field == f"k={sent}"
    assert parse_cookies(f"other=1; {field}; last=2") == {"other": "1", "k": value, "last": "2"}


@pytest.mark.parametrize(
    ("sent", "value"),
    [
        (r'"\"', "\\"),
        (r'"\400"', "400"),
        (r'"\377"', "\ufffd"),
        (r'"\\"', "\\"),
        ('"', '"'),
        (r"a\054b", r"a\054b"),
    ],
)
def test_odd_quoting_is_read_without_a_failure(sent: str, value: str) -> None:
    assert parse_cookies(f"k={sent}") == {"k": value}

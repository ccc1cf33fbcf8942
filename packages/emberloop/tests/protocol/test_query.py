"""Query strings and urlencoded forms: both speeds of `ember.protocol.message.query`."""

from __future__ import annotations

import pytest
from ember.protocol.message.query import parse_query
from ember.request import QueryParams

from tests.support.app import App
from tests.support.server import ServeFixture


@pytest.mark.parametrize(
    ("query", "pairs"),
    [
        (b"", []),
        (b"a=1&b=2&a=3", [("a", "1"), ("b", "2"), ("a", "3")]),
        (b"&&a=1&&", [("a", "1")]),
        (b"a", [("a", "")]),
        (b"=v", [("", "v")]),
        (b"a=b=c", [("a", "b=c")]),
        (b"a+b=c+d", [("a b", "c d")]),
        (b"a%20b=%C3%A9&x=%2B", [("a b", "é"), ("x", "+")]),
        (b"a=%&b=%4&c=%zz", [("a", "%"), ("b", "%4"), ("c", "%zz")]),
        (b"a=%26%3D", [("a", "&=")]),
        (b"a=%FF&b=%e9x", [("a", "\ufffd"), ("b", "\ufffdx")]),
        (b"a=\xc3\xa9&b=\xff&c=1", [("a", "é"), ("b", "\ufffd"), ("c", "1")]),
    ],
)
def test_pairs_in_order(query: bytes, pairs: list[tuple[str, str]]) -> None:
    assert parse_query(query) == pairs


@pytest.mark.parametrize("more", [0, 7, 8, 1000])
def test_names_are_found_in_short_and_in_long_queries(more: int) -> None:
    query = b"a=1&b=&a=2" + b"".join(b"&n%d=%d" % (i, i) for i in range(more))
    params = QueryParams(parse_query(query))
    assert params.get("a") == params["a"] == "1"
    assert params.get_all("a") == ["1", "2"]
    assert params.get("b") == ""
    assert params.get_all("b") == [""]
    assert params.get("c") is None
    assert params.get("c", "x") == "x"
    assert params.get_all("c") == []
    assert "b" in params
    assert "c" not in params
    assert 1 not in params
    with pytest.raises(KeyError):
        params["c"]
    assert len(params) == 3 + more
    assert list(params)[:2] == params.keys()[:2] == ["a", "b"]
    assert params.items()[:3] == [("a", "1"), ("b", ""), ("a", "2")]
    assert params == QueryParams(parse_query(query))
    assert params != QueryParams([])
    assert params != {}


def test_what_is_returned_can_be_changed_without_harm() -> None:
    params = QueryParams([("a", "1")])
    params.get_all("a").append("2")
    params.items().clear()
    assert params.get_all("a") == ["1"]
    assert len(params) == 1


@pytest.mark.parametrize(
    ("query", "value"),
    [
        ("q=100%", "100%"),
        ("q=20%+tax", "20% tax"),
        ("a&utm=50%off&q=1", "1"),
        ("q=%zz%41%", "%zzA%"),
        ("q=%4", "%4"),
    ],
)
def test_a_percent_sign_that_begins_no_escape_stands_for_itself(
    query: str, value: str, serve: ServeFixture
) -> None:
    running = serve(App({"/": lambda request: request.args["q"]}))
    for target in (f"/?{query}", f"http://x/?{query}"):
        answer = running.exchange(f"GET {target} HTTP/1.1\r\nHost: x\r\n\r\n")
        assert (answer.status, answer.body.decode()) == (200, value)
    assert running.exchange("GET /100%?q=1 HTTP/1.1\r\nHost: x\r\n\r\n").status == 400

"""Queries, cookies and who the client is."""

from __future__ import annotations

import pytest
from ember.headers import Headers
from ember.protocol.message.cookies import parse_cookies
from ember.protocol.message.forwarded import TrustedProxies, client_ip
from ember.protocol.message.query import QueryParams, parse_query


def test_a_query_is_a_multi_map() -> None:
    args = QueryParams(parse_query(b"a=1&b=x+y&a=%C3%A9&c&=d&&e=%zz&f=%ff"))
    assert args.get_all("a") == ["1", "é"]
    assert args["b"] == "x y"
    assert args.get("c") == ""
    assert args["e"] == "%zz"
    assert args["f"] == "\ufffd"
    assert args.get("missing", "default") == "default"


def test_cookies_of_every_shape() -> None:
    field = 'a=1; b="two"; a=3; novalue; =x; c=d=e;;'
    assert parse_cookies(field) == {"a": "1", "b": "two", "c": "d=e"}


@pytest.mark.parametrize(
    ("trusted", "headers", "expected"),
    [
        ((), {"X-Forwarded-For": "1.1.1.1"}, "10.0.0.1"),
        (("10.0.0.9",), {"X-Forwarded-For": "1.1.1.1"}, "10.0.0.1"),
        (("10.0.0.1",), {"X-Forwarded-For": "6.6.6.6, 1.1.1.1"}, "1.1.1.1"),
        (("10.0.0.1", "10.0.0.2"), {"X-Forwarded-For": "1.1.1.1, 10.0.0.2"}, "1.1.1.1"),
        (("10.0.0.1",), {"Forwarded": "for=6.6.6.6"}, "10.0.0.1"),
        (("*",), {"X-Forwarded-For": "1.1.1.1:99, 2.2.2.2"}, "1.1.1.1"),
        (("10.0.0.1",), {}, "10.0.0.1"),
    ],
)
def test_the_client_is_who_trusted_proxies_say(
    trusted: tuple[str, ...], headers: dict[str, str], expected: str
) -> None:
    assert client_ip(("10.0.0.1", 5), Headers(headers), trusted) == expected


@pytest.mark.parametrize(
    ("trusted", "expected"),
    [((), None), (("127.0.0.1",), None), (("unix",), "1.1.1.1"), (("*",), "6.6.6.6")],
)
def test_who_comes_by_a_unix_socket_is_trusted_by_that_name(
    trusted: tuple[str, ...], expected: str | None
) -> None:
    fields = Headers({"X-Forwarded-For": "6.6.6.6, 1.1.1.1"})
    assert client_ip(None, fields, trusted) == expected
    assert client_ip(("10.0.0.1", 5), fields, ("unix",)) == "10.0.0.1"


@pytest.mark.parametrize(
    ("trusted", "expected"),
    [
        (["10.0.0.0/8"], "1.1.1.1"),
        (["10.0.0.0/30", "1.1.0.0/16", "2001:db8::/32"], "6.6.6.6"),
        (["10.0.0.4/30"], "10.0.0.1"),
        (["::/0"], "10.0.0.1"),
        (["10.0.0.1"], "1.1.1.1"),
        (["*"], "6.6.6.6"),
        ([], "10.0.0.1"),
    ],
)
def test_a_network_of_proxies_is_trusted(trusted: list[str], expected: str) -> None:
    proxies = TrustedProxies(trusted)
    fields = Headers({"X-Forwarded-For": "not an address, 6.6.6.6, 1.1.1.1"})
    for _ in range(2):
        assert client_ip(("10.0.0.1", 5), fields, proxies) == expected
    assert tuple(proxies) == tuple(trusted)


def test_what_clients_write_is_not_remembered_for_ever() -> None:
    proxies = TrustedProxies(["10.0.0.1"])
    for number in range(3000):
        assert f"x{number}" not in proxies
    assert len(proxies._known) <= 1024


@pytest.mark.parametrize("wrong", ["proxy.local", "10.0.0.1/8", "10.0.0.0/40", ""])
def test_an_invalid_proxy_is_refused(wrong: str) -> None:
    with pytest.raises(ValueError, match=f"trusted_proxies='{wrong}': .*expected addresses"):
        TrustedProxies([wrong])

"""Who the client is: what proxies write, and what clients write into the same fields."""

from __future__ import annotations

import pytest
from ember.headers import Headers
from ember.protocol.message.forwarded import MAX_HOPS, TrustedProxies, client_ip

from tests.support.growth import assert_linear

pytestmark = pytest.mark.once

PROXY = ("10.0.0.1", 5)
LISTED = TrustedProxies(["10.0.0.0/8"])
FORWARDED = TrustedProxies(["10.0.0.0/8", "2001:db8::/32"], "Forwarded")


def listed(*values: str) -> str | None:
    return client_ip(PROXY, fields("X-Forwarded-For", *values), LISTED)


def forwarded(*values: str) -> str | None:
    return client_ip(PROXY, fields("Forwarded", *values), FORWARDED)


def fields(name: str, *values: str) -> Headers:
    return Headers([(name, value) for value in values])


@pytest.mark.parametrize(
    ("value", "address"),
    [
        ("1.1.1.1", "1.1.1.1"),
        ("6.6.6.6, 1.1.1.1, 10.0.0.2", "1.1.1.1"),
        ("1.1.1.1:4711", "1.1.1.1"),
        ("2001:DB8::1", "2001:db8::1"),
        ("[2001:db8::1]", "2001:db8::1"),
        ("[2001:db8::1]:4711", "2001:db8::1"),
        ("::ffff:1.1.1.1", "1.1.1.1"),
        ("1.1.1.1, ::ffff:10.0.0.2", "1.1.1.1"),
        ("1.1.1.1,, ,", "1.1.1.1"),
    ],
)
def test_an_address_is_taken_in_every_form(value: str, address: str) -> None:
    assert listed(value) == address


@pytest.mark.parametrize(
    "junk",
    [
        "unknown",
        "_hidden",
        "unix:",
        "localhost",
        "<script>",
        '"1.1.1.1"',
        "1.1.1.1:",
        "1.1.1.1:x",
        "1.1.1.1:4711:1",
        "1.1.1",
        "01.1.1.1",
        "[1.1.1.1]",
        "[2001:db8::1",
        "[2001:db8::1]x",
        "fe80::1%eth0",
        "fe80::1%\x9b31m",
        "a" * 100,
    ],
)
@pytest.mark.parametrize("begin", ["", "6.6.6.6, "])
def test_what_is_no_address_is_not_taken_and_hides_what_is_before_it(junk: str, begin: str) -> None:
    assert listed(begin + junk) == "10.0.0.1"
    assert listed(f"{begin}{junk}, 10.0.0.2") == "10.0.0.2", "the last proxy that is known"
    assert forwarded(f'for=6.6.6.6, for="{junk.replace(chr(34), "")}x"') == "10.0.0.1"


def test_only_the_named_field_is_read() -> None:
    both = Headers([("X-Forwarded-For", "1.1.1.1"), ("Forwarded", "for=2.2.2.2")])
    assert client_ip(PROXY, both, LISTED) == "1.1.1.1"
    assert client_ip(PROXY, both, FORWARDED) == "2.2.2.2"
    real = TrustedProxies(["10.0.0.1"], "X-Real-IP")
    assert client_ip(PROXY, both, real) == "10.0.0.1"
    assert client_ip(PROXY, Headers({"X-Real-IP": "3.3.3.3"}), real) == "3.3.3.3"


@pytest.mark.parametrize(
    ("value", "address"),
    [
        ("for=1.1.1.1", "1.1.1.1"),
        ("For=1.1.1.1;proto=https;by=10.0.0.1", "1.1.1.1"),
        ("proto=https ; for=1.1.1.1", "1.1.1.1"),
        ('for="1.1.1.1:80"', "1.1.1.1"),
        ('for="[2001:db9::1]:80";proto=https', "2001:db9::1"),
        ('for="1.1.1\\.1"', "1.1.1.1"),
        ("for=6.6.6.6, for=1.1.1.1, for=10.0.0.2", "1.1.1.1"),
        ('for=1.1.1.1, for="[2001:db8::2]"', "1.1.1.1"),
        ('host="a,for=6.6.6.6";for=1.1.1.1', "1.1.1.1"),
        ('for=1.1.1.1;host="a;for=6.6.6.6"', "1.1.1.1"),
        (", ,for=1.1.1.1,;,", "1.1.1.1"),
        ('for="1.1.1.1:_p"', "1.1.1.1"),
    ],
)
def test_forwarded_is_read_by_its_grammar(value: str, address: str) -> None:
    assert forwarded(value) == address


@pytest.mark.parametrize(
    "value",
    [
        "",
        "for=unknown",
        "for=6.6.6.6, for=unknown",
        'for=6.6.6.6, for="_hidden"',
        "for=6.6.6.6, proto=https",
        "for=6.6.6.6;for=7.7.7.7",
        "for=6.6.6.6, for = 1.1.1.1",
        "for=6.6.6.6, for=[2001:db9::1]",
        'for=6.6.6.6;x=", for=1.1.1.1',
        'for=6.6.6.6;x=", for="1.1.1.1"',
        'for="6.6.6.6"x, for=1.1.1.1',
        'for="6.6.6.6\\',
    ],
)
def test_forwarded_that_is_malformed_or_says_nothing_names_the_proxy(value: str) -> None:
    assert forwarded(value) == "10.0.0.1"


def test_a_quote_that_a_client_leaves_open_does_not_hide_the_line_of_the_proxy() -> None:
    assert forwarded('for=6.6.6.6;x="', "for=1.1.1.1") == "1.1.1.1"
    assert forwarded("for=1.1.1.1", 'for=6.6.6.6;x="') == "10.0.0.1"


def test_no_more_hops_are_looked_at_than_requests_have() -> None:
    hops = ["10.0.0.2"] * MAX_HOPS
    assert listed(", ".join(["1.1.1.1", *hops[1:]])) == "1.1.1.1"
    assert listed(", ".join(["1.1.1.1", *hops])) == "10.0.0.2"


def test_a_client_of_a_unix_socket_before_a_trusted_proxy_is_passed_over() -> None:
    trusted = TrustedProxies(["10.0.0.1", "unix"])
    assert client_ip(PROXY, fields("X-Forwarded-For", "1.1.1.1, unix:"), trusted) == "1.1.1.1"


def test_a_peer_of_a_socket_of_both_versions_is_the_proxy_that_was_named() -> None:
    peer = ("::ffff:10.0.0.1", 5)
    assert client_ip(peer, fields("X-Forwarded-For", "1.1.1.1"), LISTED) == "1.1.1.1"


@pytest.mark.parametrize("name", ["", "X Forwarded", "a:b", "é"])
def test_a_field_that_cannot_be_is_refused(name: str) -> None:
    with pytest.raises(ValueError, match="proxy_header"):
        TrustedProxies(["10.0.0.1"], name)


@pytest.mark.parametrize(
    "unit", [",", '"', '\\"', "for=1,", 'for="', "for=10.0.0.1,", ";", "for", 'for="\\",', " ", "="]
)
def test_no_field_takes_more_than_linear_time(unit: str) -> None:
    def make(size: int) -> list[str]:
        return [unit * (size // len(unit))]

    assert_linear(lambda values: forwarded(*values), make)
    assert_linear(lambda values: listed(*values), make)
    # Many lines of the same field.
    assert_linear(lambda values: forwarded(*values), lambda n: [unit] * (n // 512), 65536)

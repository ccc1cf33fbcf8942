"""RFC 9111 for a shared cache, case by case."""

from typing import Any

import pytest
from ember.cache import policy
from ember.cache.fields import http_date
from ember.cache.policy import Decision, decide

NOW = 1_700_000_000.0  # Tue, 14 Nov 2023 22:13:20 GMT
DATE = "Tue, 14 Nov 2023 22:13:20 GMT"
HALF_A_MINUTE_AGO = "Tue, 14 Nov 2023 22:12:50 GMT"
IN_A_MINUTE = "Tue, 14 Nov 2023 22:14:20 GMT"

Case = dict[str, Any]


def answer(case: Case) -> Decision:
    """GET, 200 and a route with ttl=60, unless the case says otherwise."""
    return decide(
        case.get("method", "GET"),
        list(case.get("request", {}).items()),
        case.get("status", 200),
        list(case.get("response", {}).items()),
        ttl=case.get("ttl", 60),
        now=NOW,
        keyed=case.get("keyed", ()),
    )


def cc(value: str) -> dict[str, str]:
    return {"Cache-Control": value}


STORED: list[tuple[str, Case, float]] = [
    ("nothing is said: the route's ttl", {}, 60),
    ("HEAD", {"method": "HEAD"}, 60),
    ("203", {"status": 203}, 60),
    ("204", {"status": 204}, 60),
    ("202 with explicit freshness", {"status": 202, "response": cc("max-age=5")}, 5),
    ("201 that is public", {"status": 201, "response": cc("public")}, 60),
    ("max-age shortens", {"response": cc("max-age=10")}, 10),
    ("max-age does not lengthen", {"response": cc("max-age=1000")}, 60),
    ("max-age alone", {"response": cc("max-age=1000"), "ttl": None}, 1000),
    ("s-maxage before max-age", {"response": cc("max-age=5, s-maxage=20")}, 20),
    ("names in any case, quoted argument", {"response": cc('MAX-AGE="10"')}, 10),
    ("max-age before Expires", {"response": {**cc("max-age=10"), "Expires": IN_A_MINUTE}}, 10),
    (
        "Expires counts from Date",
        {"response": {"Expires": IN_A_MINUTE, "Date": DATE}, "ttl": 99},
        60,
    ),
    ("Expires without Date counts from now", {"response": {"Expires": IN_A_MINUTE}, "ttl": 99}, 60),
    (
        "Expires in RFC 850 form",
        {"response": {"Expires": "Tuesday, 14-Nov-23 22:14:20 GMT"}, "ttl": 99},
        60,
    ),
    (
        "Expires in asctime form",
        {"response": {"Expires": "Tue Nov 14 22:14:20 2023"}, "ttl": 99},
        60,
    ),
    ("what it has aged is taken off", {"response": {**cc("max-age=50"), "Age": "20"}}, 30),
    ("by its Date too", {"response": {**cc("max-age=50"), "Date": HALF_A_MINUTE_AGO}}, 20),
    ("a Date in the future is no age", {"response": {**cc("max-age=9"), "Date": IN_A_MINUTE}}, 9),
    (
        "an Age that is not a number does not count",
        {"response": {**cc("max-age=9"), "Age": "-5"}},
        9,
    ),
    (
        "max-age too large to represent",
        {"response": cc("max-age=99999999999999"), "ttl": None},
        2**31,
    ),
    ("must-revalidate", {"response": cc("max-age=10, must-revalidate")}, 10),
    ("an unknown directive", {"response": cc("max-age=10, x-y=z")}, 10),
    ("Vary on a field", {"response": {"Vary": "Accept-Encoding"}}, 60),
    ("the request says no-cache", {"request": cc("no-cache")}, 60),
    ("Authorization, public", {"request": {"Authorization": "x"}, "response": cc("public")}, 60),
    (
        "Authorization, s-maxage",
        {"request": {"authorization": "x"}, "response": cc("s-maxage=9")},
        9,
    ),
    (
        "Authorization in the key",
        {"request": {"Authorization": "x"}, "keyed": ["Authorization"]},
        60,
    ),
    ("Cookie, public", {"request": {"Cookie": "a=1"}, "response": cc("public")}, 60),
    ("Cookie in Vary", {"request": {"Cookie": "a=1"}, "response": {"Vary": "cookie"}}, 60),
    ("the same directive twice, equal", {"response": cc("max-age=10, max-age=10")}, 10),
    ("an extension that quotes no-store", {"response": cc('ext="a, no-store", max-age=10')}, 10),
]

REFUSED: list[tuple[str, Case, str]] = [
    ("POST", {"method": "POST", "response": cc("max-age=10")}, "3:"),
    ("OPTIONS", {"method": "OPTIONS"}, "3:"),
    ("a method in lower case is another one", {"method": "get"}, "3:"),
    ("199", {"status": 199}, "status 199"),
    ("301", {"status": 301}, "status 301"),
    ("304", {"status": 304}, "status 304"),
    ("404 with freshness", {"status": 404, "response": cc("max-age=10")}, "status 404"),
    ("500", {"status": 500}, "status 500"),
    ("206", {"status": 206}, "3.3"),
    ("Content-Range in a 200", {"response": {"Content-Range": "bytes 0-1/2"}}, "3.3"),
    ("202 without freshness", {"status": 202}, "3:"),
    ("no-store", {"response": cc("no-store")}, "5.2.2.5"),
    ("no-store beside max-age", {"response": cc("max-age=10, no-store")}, "5.2.2.5"),
    ("no-store with must-understand", {"response": cc("must-understand, no-store")}, "5.2.2.5"),
    ("private", {"response": cc("private")}, "5.2.2.7"),
    ("private with names", {"response": cc('private="set-cookie", max-age=9')}, "5.2.2.7"),
    ("private and public", {"response": cc("public, private")}, "5.2.2.7"),
    ("no-cache", {"response": cc("no-cache")}, "5.2.2.4"),
    ("no-cache with names", {"response": cc('no-cache="x-a, x-b"')}, "5.2.2.4"),
    ("Set-Cookie", {"response": {"Set-Cookie": "a=1"}}, "7.3"),
    ("Set-Cookie, public", {"response": {"set-cookie": "a=1", **cc("public")}}, "7.3"),
    ("Vary: *", {"response": {"Vary": "*"}}, "4.1"),
    ("Vary: * among others", {"response": {"Vary": "accept, *"}}, "4.1"),
    ("the request says no-store", {"request": cc("no-store")}, "5.2.1.5"),
    ("Authorization", {"request": {"Authorization": "Bearer x"}}, "3.5"),
    (
        "Authorization, max-age",
        {"request": {"Authorization": "x"}, "response": cc("max-age=9")},
        "3.5",
    ),
    (
        "Authorization, must-revalidate",
        {"request": {"Authorization": "x"}, "response": cc("max-age=9, must-revalidate")},
        "3.5",
    ),
    ("Cookie", {"request": {"COOKIE": "session=1"}}, "3.5"),
    (
        "Authorization in the key, Cookie not",
        {"request": {"Cookie": "a=1", "Authorization": "x"}, "keyed": ["authorization"]},
        "3.5: the request has Cookie",
    ),
    ("max-age=0", {"response": cc("max-age=0")}, "4.2"),
    ("s-maxage=0 before max-age", {"response": cc("s-maxage=0, max-age=60")}, "4.2"),
    ("max-age that is no number", {"response": cc("max-age=soon")}, "4.2"),
    ("a negative max-age", {"response": cc("max-age=-1")}, "4.2"),
    ("max-age without a value", {"response": cc("max-age")}, "4.2"),
    ("max-age twice, different", {"response": cc("max-age=10, max-age=20")}, "4.2"),
    ("Expires: 0", {"response": {"Expires": "0"}}, "4.2"),
    ("Expires in the past", {"response": {"Expires": HALF_A_MINUTE_AGO, "Date": DATE}}, "4.2"),
    *(
        (f"Expires that is no date: {value}", {"response": {"Expires": value}}, "4.2")
        for value in (
            "",
            "-1",
            "tomorrow",
            "1700000060",
            "Tue, 14 Nov 2099 22:14:20",  # no zone
            "Tue, 14 Nov 2099 22:14:20 +0200",
            "Tue, 14 Nov 2099 22:14:20 EST",
            "Tue, 14 Nov 2099 22:14:20 GMT and more",
            "Tue, 14 Nov 2099 25:14:20 GMT",
            "Tue, 31 Feb 2099 22:14:20 GMT",
            "14 Nov 2099 22:14:20 GMT",
            "2099-11-14T22:14:20Z",
            "Tue, 1\u0664 Nov 2099 22:14:20 GMT",  # a digit of another script
        )
    ),
    ("as old as it may get", {"response": {**cc("max-age=30"), "Age": "30"}}, "4.2"),
    ("no freshness and no ttl", {"ttl": None}, "4.2.1"),
]


@pytest.mark.parametrize(
    ("case", "seconds"), [(c, s) for _, c, s in STORED], ids=[name for name, _, _ in STORED]
)
def test_stored(case: Case, seconds: float) -> None:
    decision = answer(case)
    assert decision.store, decision.reason
    assert decision.lifetime == seconds
    assert decision.reason == ""


@pytest.mark.parametrize(
    ("case", "reason"), [(c, r) for _, c, r in REFUSED], ids=[name for name, _, _ in REFUSED]
)
def test_not_stored(case: Case, reason: str) -> None:
    decision = answer(case)
    assert not decision.store
    assert decision.reason.startswith(reason)


@pytest.mark.parametrize(
    ("directives", "windows"),
    [
        ("max-age=9, stale-while-revalidate=30, stale-if-error=60", (30, 60)),
        ("max-age=9, stale-while-revalidate=x", (0, 0)),
        ("max-age=9, stale-while-revalidate=30, must-revalidate", (0, 0)),
        ("max-age=9, stale-if-error=30, proxy-revalidate", (0, 0)),
        ("s-maxage=9, stale-if-error=30", (0, 0)),
    ],
)
def test_windows_of_staleness_are_closed_by_must_revalidate(
    directives: str, windows: tuple[int, int]
) -> None:
    decision = answer({"response": cc(directives)})
    assert (decision.stale_while_revalidate, decision.stale_if_error) == windows


def test_the_age_it_arrives_with_is_the_larger_one() -> None:
    response = {**cc("max-age=500"), "Date": HALF_A_MINUTE_AGO, "Age": "20"}
    assert answer({"response": response, "ttl": None}).age == 30
    response["Age"] = "40"
    assert answer({"response": response, "ttl": None}).age == 40


REUSE: list[tuple[str, Case, bool]] = [
    ("a plain request", {}, True),
    ("HEAD", {"method": "HEAD"}, True),
    ("POST", {"method": "POST"}, False),
    ("no-cache", {"request": cc("no-cache")}, False),
    ("no-store forbids to store, not to give", {"request": cc("no-store")}, True),
    ("max-age as old as it is", {"request": cc("max-age=10")}, True),
    ("max-age less than it is", {"request": cc("max-age=9")}, False),
    ("max-age that is no number", {"request": cc("max-age=x")}, False),
    ("min-fresh that it has", {"request": cc("min-fresh=50")}, True),
    ("min-fresh that it has not", {"request": cc("min-fresh=51")}, False),
    ("max-stale", {"request": cc("max-stale=100")}, True),
    ("Pragma: no-cache", {"request": {"Pragma": "no-cache"}}, False),
    ("Pragma beside Cache-Control", {"request": {"Pragma": "no-cache", **cc("max-age=99")}}, True),
    ("credentials", {"request": {"Authorization": "x"}}, False),
    ("a cookie", {"request": {"Cookie": "a=1"}}, False),
    ("a cookie, for all", {"request": {"Cookie": "a=1"}, "for_all": True}, True),
    ("a cookie in the key", {"request": {"Cookie": "a=1"}, "keyed": ["Cookie"]}, True),
]


@pytest.mark.parametrize(
    ("case", "given"), [(c, g) for _, c, g in REUSE], ids=[name for name, _, _ in REUSE]
)
def test_a_stored_answer_is_given(case: Case, given: bool) -> None:
    request = list(case.get("request", {}).items())
    assert given is policy.may_reuse(
        case.get("method", "GET"),
        request,
        age=10,
        fresh_for=50,
        for_all=case.get("for_all", False),
        keyed=case.get("keyed", ()),
    )


@pytest.mark.parametrize(
    ("method", "status", "expected"),
    [
        ("POST", 201, True),
        ("PUT", 204, True),
        ("DELETE", 303, True),
        ("PATCH", 400, False),
        ("POST", 500, False),
        ("UNHEARD-OF", 200, True),
        ("GET", 200, False),
        ("HEAD", 200, False),
        ("OPTIONS", 204, False),
    ],
)
def test_an_unsafe_method_that_succeeded_invalidates(
    method: str, status: int, expected: bool
) -> None:
    assert policy.invalidates(method, status) is expected


@pytest.mark.parametrize(
    ("text", "seconds"),
    [
        ("Sun, 06 Nov 1994 08:49:37 GMT", 784111777.0),
        ("sun, 06 NOV 1994 08:49:37 utc", 784111777.0),  # RFC 9111, 4.2: in any case
        ("Sunday, 06-Nov-94 08:49:37 GMT", 784111777.0),
        ("Sun Nov  6 08:49:37 1994", 784111777.0),
        ("Wednesday, 06-Nov-30 08:49:37 GMT", 1920185377.0),  # less than 50 years ahead
        ("Sat, 31 Dec 2016 23:59:60 GMT", 1483228799.0),  # a leap second
        ("Sun, 06 Nov 1994 08:49:37 CET", None),
        ("Sun, 6 Nov 1994 08:49:37 GMT", None),
        ("0", None),
    ],
)
def test_a_date_is_read_in_its_three_forms_and_in_no_other(
    text: str, seconds: float | None
) -> None:
    assert http_date(text) == seconds


def test_a_key_is_method_host_path_query_and_the_varying_fields() -> None:
    assert policy.key("GET", "/a") == "GET /a"
    assert policy.key("GET", "/a", "b=1&c") == "GET /a?b=1&c"
    assert policy.key("GET", "/a", host="Example.ORG:80") == "GET //example.org:80/a"
    assert policy.key("GET", "/a", host="a", scheme="https") == "GET https://a/a"
    request = [("Accept", "text/html"), ("X", "1"), ("accept", " text/plain ")]
    vary = ["Accept", "Accept-Language"]
    assert policy.key("GET", "/", vary=vary, request=request) == (
        "GET /\naccept: text/html, text/plain\naccept-language-"
    )


def test_different_requests_never_share_a_key() -> None:
    def make(**fields: str) -> str:
        return policy.key("GET", "/", vary=["a", "b"], request=list(fields.items()))

    variants = [{}, {"a": ""}, {"a": "1"}, {"b": "1"}, {"a": "1", "b": ""}, {"a": "-"}]
    assert len({make(**fields) for fields in variants}) == len(variants)
    assert policy.key("GET", "/a") != policy.key("HEAD", "/a")
    assert policy.key("GET", "/A") != policy.key("GET", "/a")


def test_a_key_does_not_show_credentials_and_tells_them_apart() -> None:
    def make(token: str) -> str:
        return policy.key("GET", "/", vary=["Authorization"], request=[("authorization", token)])

    assert "secret" not in make("Bearer secret")
    assert make("Bearer secret") == make("Bearer secret")
    assert make("Bearer secret") != make("Bearer other")


@pytest.mark.parametrize(
    "parts",
    [
        {"path": "/a?b"},
        {"path": "/a\nb"},
        {"path": "/a b"},
        {"path": "/a", "query": "b\nc"},
        {"path": "/a", "host": "h/x"},
        {"path": "/a", "host": "u@h"},
    ],
)
def test_a_key_of_decoded_parts_is_refused(parts: dict[str, str]) -> None:
    with pytest.raises(ValueError, match="key"):
        policy.key("GET", **parts)  # type: ignore[arg-type]


@pytest.mark.parametrize(
    ("values", "names"),
    [
        ([], ()),
        (["Accept, accept-encoding", "ACCEPT"], ("accept", "accept-encoding")),
        ([" , "], ()),
        (["*"], None),
        (["accept", "*"], None),
    ],
)
def test_vary_is_a_list_of_names_or_everything(
    values: list[str], names: tuple[str, ...] | None
) -> None:
    assert policy.vary_names(values) == names


@pytest.mark.parametrize(
    ("value", "directives"),
    [
        ("", {}),
        (" , ,", {}),
        ("no-cache", {"no-cache": None}),
        ("No-Cache , MAX-AGE=5", {"no-cache": None, "max-age": "5"}),
        ('private="a, b", x="c\\"d"', {"private": "a, b", "x": 'c"d'}),
        ("max-age=", {"max-age": ""}),
        ("=5", {}),
        ('x="never closed, no-store', {"x": '"never closed, no-store'}),
        ("a, a=1", {"a": ""}),
    ],
)
def test_cache_control_is_read_as_it_is_written(
    value: str, directives: dict[str, str | None]
) -> None:
    assert policy.cache_control([value]) == directives


def test_several_lines_of_cache_control_are_one() -> None:
    assert policy.cache_control(["max-age=5", "no-store"]) == {"max-age": "5", "no-store": None}


ETAG = '"abc"'
CONDITIONAL: list[tuple[str, Case, bool]] = [
    ("no condition", {}, False),
    ("the same tag", {"If-None-Match": '"abc"'}, True),
    ("weakly the same", {"If-None-Match": 'W/"abc"'}, True),
    ("one of several", {"if-none-match": '"x", W/"y" , "abc"'}, True),
    ("a tag with a comma in it", {"If-None-Match": '"x,\\"abc\\""'}, False),
    ("after a tag that ends in a backslash", {"If-None-Match": '"x\\", "abc"'}, True),
    ("in two lines' worth", {"If-None-Match": '"x","abc",'}, True),
    ("another tag", {"If-None-Match": '"abcd"'}, False),
    ("without its quotes", {"If-None-Match": "abc"}, False),
    ("anything", {"If-None-Match": "*"}, True),
    ("unchanged since", {"If-Modified-Since": DATE}, True),
    ("changed since", {"If-Modified-Since": HALF_A_MINUTE_AGO}, False),
    ("an invalid date", {"If-Modified-Since": "yesterday"}, False),
    ("the tag decides over the date", {"If-None-Match": '"x"', "If-Modified-Since": DATE}, False),
]


@pytest.mark.parametrize(
    ("request_fields", "expected"),
    [(f, e) for _, f, e in CONDITIONAL],
    ids=[n for n, _, _ in CONDITIONAL],
)
def test_a_condition_is_evaluated(request_fields: dict[str, str], expected: bool) -> None:
    fields = list(request_fields.items())
    assert policy.not_modified("GET", fields, etag=ETAG, last_modified=DATE) is expected
    assert policy.not_modified("HEAD", fields, etag=ETAG, last_modified=DATE) is expected
    assert policy.not_modified("POST", fields, etag=ETAG, last_modified=DATE) is False


def test_without_validators_only_the_star_matches() -> None:
    assert not policy.not_modified("GET", [("If-None-Match", '"abc"')])
    assert not policy.not_modified("GET", [("If-Modified-Since", DATE)])
    assert policy.not_modified("GET", [("If-None-Match", "*")])


def test_an_entity_tag_follows_the_content() -> None:
    assert policy.entity_tag(b"a") == policy.entity_tag(b"a")
    assert policy.entity_tag(b"a") != policy.entity_tag(b"b")
    assert policy.weak_match(policy.entity_tag(b"a"), "W/" + policy.entity_tag(b"a"))


def test_a_304_repeats_what_it_must_and_no_more() -> None:
    fields = [
        ("Content-Type", "text/plain"),
        ("ETag", ETAG),
        ("Cache-Control", "max-age=5"),
        ("Content-Length", "3"),
        ("VARY", "accept"),
    ]
    assert policy.not_modified_fields(fields) == [fields[1], fields[2], fields[4]]


def test_age_is_a_whole_number_that_never_overflows() -> None:
    assert policy.age_value(policy.current_age(10.0, 2.9)) == "12"
    assert policy.age_value(-1) == "0"
    assert policy.age_value(1e300) == str(2**31)
    assert policy.current_age(-5, -5) == 0


def test_only_if_cached_is_seen() -> None:
    assert policy.only_if_cached([("cache-control", "only-if-cached, max-age=0")])
    assert not policy.only_if_cached([])

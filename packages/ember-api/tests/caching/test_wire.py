"""How responses are stored outside of this process, and what a damaged record is read as."""

from __future__ import annotations

import json
import math
import random

import pytest
from ember.cache import BytesSerializer, JSONSerializer, RedisCache, TTLCache
from ember.protocol.http1.render import render_head
from ember.response import Response
from ember.route_cache.stored_response import StoredResponse
from ember.route_cache.wire import STATUSES, Wire

TEXT = Wire(RedisCache(serializer=JSONSerializer()))
BINARY = Wire(RedisCache(serializer=BytesSerializer()))


def answer() -> StoredResponse:
    fields = [("ETag", '"é"'), ("X-One", "a=b"), ("X-One", "c=d"), ("Content-Language", "de")]
    body = bytes(range(256)) + b"E1"
    return StoredResponse(
        "GET /x", 203, "text/plain; charset=utf-8", fields, body, True, 1.5, 1000.25
    )


def parts(found: StoredResponse | None) -> list[object]:
    assert found is not None
    names = ("label", "status", "content_type", "fields", "body", "for_all", "freshness", "born")
    return [getattr(found, name) for name in names]


@pytest.mark.parametrize(("wire", "kind"), [(TEXT, str), (BINARY, bytes)])
def test_an_answer_comes_back_as_it_went_whatever_its_bytes(wire: Wire, kind: type) -> None:
    packed = wire.pack(answer())
    assert type(packed) is kind
    assert parts(wire.unpack(packed)) == parts(answer())


def test_in_this_process_an_answer_is_kept_as_it_is() -> None:
    wire, kept = Wire(TTLCache()), answer()
    assert wire.pack(kept) is kept
    assert wire.unpack(kept) is kept


@pytest.mark.parametrize(
    "value",
    [
        None,
        5,
        b"",
        "",
        b"E1",
        b"E0" + BINARY.pack(answer())[2:],  # of another version
        b"E1zzzzzzzz[]",
        b"E100000002[]",  # no answer has no parts
        b'E100000012["a",200,null,[["n"]]]',
        b"E1000000ff" + BINARY.pack(answer())[10:],  # the head is said to be longer than it is
        "E1\u20ac",  # text that no answer of ours is written as
    ],
)
def test_what_is_not_a_response_is_a_miss(value: object) -> None:
    assert TEXT.unpack(value) is None
    assert BINARY.unpack(value) is None


def planted(at: int, value: object, body: bytes = b"body") -> bytes:
    """What an answer is written as, with another value in one of its places."""
    head: list[object] = [
        " /x", 200, "text/plain", [["X", "y"]], False, 60.0, 1_700_000_000.0
    ]  # fmt: skip
    head[at] = value
    text = json.dumps(head).encode()
    return b"E1%08x%s%s" % (len(text), text, body)


LABEL, STATUS, TYPE, FIELDS, FOR_ALL, FRESHNESS, BORN = range(7)
NO_STATUS: list[object] = [0, 99, 100, 101, 199, 206, 240, 299, 304, 404, 500, 1000, -1, 10**30]
NO_STATUS += [None, [], True, 200.0, 200.5, "200"]
NO_TYPE: list[object] = [5, [], "", "a\r\nInjected: 1", "\ud800", "\u20ac", " a", "a\x00"]
NO_FIELDS: list[object] = [None, 5, "ab", {"X": "y"}, [["X"]], [["X", "y", "z"]], [5]]
NO_TIME: list[object] = [None, "x", [], True, -1, 1e12, 1e308, -1e308, 10**400, math.nan, math.inf]
NO_TRUTH: list[object] = [None, 0, 1, "true", []]
NO_FIELD: list[tuple[object, object]] = [
    ("X\r\nInjected", "y"),
    ("X", "y\r\nInjected: 1"),
    ("X", "y\nz"),
    ("X", "\x00"),
    ("X", "\ud800"),
    ("X", " y"),
    ("X y", "z"),
    ("X:", "y"),
    ("", "y"),
    ("X", None),
    ("X", 5),
    (None, "y"),
    ("Age", "1"),
    ("Connection", "close"),
    ("Content-Length", "0"),
    ("Keep-Alive", "x"),
    ("Set-Cookie", "sid=evil"),
    ("set-cookie", "sid=evil"),
    ("Trailer", "x"),
    ("Transfer-Encoding", "chunked"),
    ("Upgrade", "websocket"),
    ("X-Cache", "HIT"),
]
PLANTED: list[tuple[int, object]] = [
    *((LABEL, value) for value in (None, 5, ["x"])),
    *((STATUS, value) for value in NO_STATUS),
    *((TYPE, value) for value in NO_TYPE),
    *((FIELDS, value) for value in NO_FIELDS),
    *((FIELDS, [pair]) for pair in NO_FIELD),
    *((FOR_ALL, value) for value in NO_TRUTH),
    *((at, value) for at in (FRESHNESS, BORN) for value in NO_TIME),
]


def test_the_planted_responses_are_valid_but_for_what_is_planted() -> None:
    found = BINARY.unpack(planted(STATUS, 200))
    assert found is not None
    assert (found.status, found.fields, found.body) == (200, [("X", "y")], b"body")


@pytest.mark.parametrize(("at", "value"), PLANTED)
def test_what_others_have_put_into_the_store_is_a_miss(at: int, value: object) -> None:
    assert BINARY.unpack(planted(at, value)) is None


@pytest.mark.parametrize("status", [204, 205])
def test_an_answer_without_content_has_none(status: int) -> None:
    assert BINARY.unpack(planted(STATUS, status)) is None
    assert BINARY.unpack(planted(STATUS, status, b"")) is not None


def test_json_too_deep_to_read_and_numbers_too_long_are_misses() -> None:
    for head in (b"[" * 200_000, b'["a",' + b"9" * 100_000 + b"]"):
        assert BINARY.unpack(b"E1%08x%s" % (len(head), head)) is None
    assert BINARY.unpack(b"E1-0000001[]") is None
    assert BINARY.unpack(b"E1 0000001[]") is None


def test_whatever_a_damaged_answer_says_it_says_what_may_be_sent() -> None:
    choose = random.Random(9)
    whole = planted(STATUS, 200)
    read = 0
    for _ in range(20_000):
        damaged = bytearray(whole)
        for _ in range(choose.choice((1, 2, 5))):
            damaged[choose.randrange(len(damaged))] = choose.randrange(256)
        found = BINARY.unpack(bytes(damaged))
        if found is None:
            continue
        read += 1
        assert found.status in STATUSES
        response = found.response("HIT", 1.0)
        assert b"\r\n\r\n" not in render_head(response, "GET", 1, True).head[:-4]
        Response(b"", found.status, found.fields, found.content_type)  # raises for what it refuses
    assert read > 100

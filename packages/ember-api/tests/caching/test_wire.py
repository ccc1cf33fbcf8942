"""How answers travel to a store outside of this process, and what comes back for what is none."""

from __future__ import annotations

import pytest
from ember.cache import BytesSerializer, JSONSerializer, RedisCache, TTLCache
from ember.caching.answer import Answer
from ember.caching.wire import Wire

TEXT = Wire(RedisCache(serializer=JSONSerializer()))
BINARY = Wire(RedisCache(serializer=BytesSerializer()))


def answer() -> Answer:
    fields = [("ETag", '"é"'), ("Set-Cookie", "a=b"), ("Set-Cookie", "c=d")]
    body = bytes(range(256)) + b"E1"
    return Answer("GET /x", 404, "text/plain; charset=utf-8", fields, body, True, 1.5, 1000.25)


def parts(found: Answer | None) -> list[object]:
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
def test_what_is_no_answer_is_a_miss(value: object) -> None:
    assert TEXT.unpack(value) is None
    assert BINARY.unpack(value) is None

"""Bodies of many values: as many as the limit allows, counted as they are, and read in one go."""

from __future__ import annotations

import gc
import json
from collections.abc import Callable, Iterator
from typing import Any

import msgspec
import pytest
from ember._json import loads
from ember.exceptions import PayloadTooLarge
from ember.limits import RouteLimits
from ember.protocol.message.values import (
    check_values,
    json_exceeds,
    msgpack_exceeds,
    read_json,
    undisturbed,
)
from ember.request import Request
from hypothesis import given
from hypothesis import strategies as st

from tests.support.app import App
from tests.support.growth import assert_linear
from tests.support.server import ServeFixture

JSON = {"Content-Type": "application/json"}
MOST = 5000


async def count(request: Request) -> Any:
    return len(await request.json())


def items(many: int) -> bytes:
    """A list of `many` items, which is as many values by the count of `[` and `,`."""
    return b"[" + b",".join([b"1"] * many) + b"]"


# -- the limit ------------------------------------------------------------------------------------


def test_a_json_body_may_have_the_limit_and_no_value_more(serve: ServeFixture) -> None:
    server = serve(App({"/": count}, route_limits={"/": RouteLimits(max_values=MOST)}))
    assert server.request("POST", "/", items(MOST), JSON).body == b"5000"
    answer = server.request("POST", "/", items(MOST + 1), JSON)
    assert answer.status == 413
    assert b"more than 5000 values" in answer.body
    # It was read whole, so the connection goes on; and so does one that comes in two halves.
    with server.connect() as client:
        for body, status in ((items(MOST + 1), 413), (items(MOST), 200)):
            head = b"POST / HTTP/1.1\r\nHost: x\r\nContent-Length: %d\r\n\r\n" % len(body)
            client.send(head + body[:5000])
            client.send(body[5000:])
            assert client.recv_response().status == status


@pytest.mark.once
def test_there_is_a_limit_by_default() -> None:
    most = RouteLimits().max_values
    assert read_json(items(most), most)[-1] == 1
    with pytest.raises(PayloadTooLarge):
        read_json(items(most + 1), most)


@pytest.mark.once
def test_a_limit_below_what_costs_nothing_is_refused() -> None:
    with pytest.raises(ValueError, match=r"max_values=4095.*at least 4096"):
        RouteLimits(max_values=4095)
    assert RouteLimits(max_values=4096).max_values == 4096


# -- counting -------------------------------------------------------------------------------------

plain = st.recursive(
    st.none() | st.booleans() | st.integers(0, 2**32) | st.floats() | st.text() | st.binary(),
    lambda inner: st.lists(inner) | st.dictionaries(st.text(), inner),
    max_leaves=30,
)
#: What is between values, and in strings of them, in any order.
shards = st.lists(st.sampled_from(['"', "\\", '\\"', "[", "{", ",", "x", "\\\\"])).map("".join)


def values_of(value: Any) -> int:
    """As `max_values` counts JSON: each list and object, and each item that is not its first."""
    if isinstance(value, dict | list):
        inner = list(value.values() if isinstance(value, dict) else value)
        return max(len(inner), 1) + sum(values_of(item) for item in inner)
    return 0


def msgpack_values_of(value: Any) -> int:
    """As `max_values` counts MessagePack: everything, and the keys of maps too."""
    if isinstance(value, dict):
        return 1 + sum(1 + msgpack_values_of(item) for item in value.values())
    return 1 + sum(msgpack_values_of(item) for item in value) if isinstance(value, list) else 1


@pytest.mark.once
@given(plain | st.lists(shards))
def test_every_value_of_json_counts_and_what_strings_hold_does_not(value: Any) -> None:
    data = msgspec.json.encode(value)
    many = values_of(json.loads(data))
    assert not json_exceeds(data, many)
    assert many == 0 or json_exceeds(data, many - 1)


@pytest.mark.once
@given(plain)
def test_every_value_of_messagepack_counts(value: Any) -> None:
    data = msgspec.msgpack.encode(value)
    many = msgpack_values_of(value)
    assert not msgpack_exceeds(data, many)
    assert msgpack_exceeds(data, many - 1)


@pytest.mark.once
@pytest.mark.parametrize("size", [1, 100, 300, 70_000])
def test_messagepack_of_every_width_is_stepped_over(size: int) -> None:
    whole = ["x" * size, b"x" * size, msgspec.msgpack.Ext(5, b"x" * size), [0] * size]
    whole += [2**63, -(2**63), 2**31, -1, 1.5, {str(n): n for n in range(size)}]
    whole += [msgspec.msgpack.Ext(5, b"x" * size) for size in (1, 2, 4, 8, 16, 17)]
    data = msgspec.msgpack.encode(whole)
    many = 1 + len(whole) + size + 2 * size
    assert not msgpack_exceeds(data, many)
    assert msgpack_exceeds(data, many - 1)


@pytest.mark.once
@given(st.binary(max_size=200), st.integers(0, 200))
def test_what_is_no_body_at_all_is_counted_to_its_end(data: bytes, most: int) -> None:
    for exceeds in (json_exceeds, msgpack_exceeds):
        assert exceeds(data, most) in (True, False)


@pytest.mark.once_per_build
@pytest.mark.parametrize(
    ("exceeds", "unit"),
    [
        (json_exceeds, b'"",'),
        (json_exceeds, b'"\\"'),
        (json_exceeds, b',"' + b"\\" * 999),
        (json_exceeds, b"\\"),
        (msgpack_exceeds, b"\xdb\0\0\0\x01x"),
    ],
)
def test_counting_takes_linear_time(exceeds: Callable[[bytes, int], bool], unit: bytes) -> None:
    assert_linear(lambda data: exceeds(data, 1 << 40), lambda n: unit * (n // len(unit)))
    # With more marks in all than are allowed, but not of values.
    assert_linear(lambda data: exceeds(data, 1), lambda n: b'"' + unit * (n // len(unit)))


# -- the garbage collector ------------------------------------------------------------------------


@pytest.fixture
def collections() -> Iterator[list[int]]:
    """The generations of what was collected."""
    seen: list[int] = []

    def note(phase: str, info: dict[str, int]) -> None:
        if phase == "start":
            seen.append(info["generation"])

    gc.callbacks.append(note)
    yield seen
    gc.callbacks.remove(note)
    gc.enable()


LISTS = b"[" + b"[]," * 90_000 + b"1]"


@pytest.mark.once
def test_a_large_body_is_read_without_collections(collections: list[int]) -> None:
    def read() -> Any:
        collections.clear()
        value = loads(LISTS)
        return value, len(collections)

    value, during = undisturbed(read)
    assert (len(value), during) == (90_001, 0)
    assert gc.isenabled()
    assert len(read_json(LISTS, 1 << 20)) == 90_001


@pytest.mark.once
def test_collections_go_on_after_a_body_that_is_wrong(collections: list[int]) -> None:
    with pytest.raises(ValueError, match="truncated"):
        undisturbed(loads, LISTS[:-1])
    assert gc.isenabled()


@pytest.mark.once
def test_who_has_switched_collections_off_finds_them_off(collections: list[int]) -> None:
    gc.disable()
    assert len(read_json(LISTS, 1 << 20)) == 90_001
    assert not gc.isenabled()


def test_the_handler_runs_with_collections(serve: ServeFixture) -> None:
    async def look(request: Request) -> Any:
        value = await request.json()
        return [len(value), gc.isenabled()]

    server = serve(App({"/": look}))
    assert server.request("POST", "/", LISTS, JSON).body == b"[90001,true]"


@pytest.mark.once
def test_small_bodies_are_not_counted() -> None:
    check_values(b"," * 4096, 4096)
    with pytest.raises(PayloadTooLarge):
        check_values(b"," * 4097, 4096)

"""Which codec writes does not show in what is written."""

from __future__ import annotations

import enum
import sys
from dataclasses import dataclass
from datetime import UTC, date, datetime, time
from decimal import Decimal
from typing import Any
from uuid import UUID

import msgspec
import pytest
from ember._json import preferring_orjson
from hypothesis import given
from hypothesis import strategies as st

pytestmark = pytest.mark.once

pytest.importorskip("orjson")

slow = msgspec.json.Encoder().encode
fast = preferring_orjson(slow)

plain = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats() | st.text(),
    lambda inner: st.lists(inner) | st.dictionaries(st.text(), inner),
    max_leaves=20,
)


class Colour(enum.Enum):
    RED = "red"


class Level(enum.IntEnum):
    HIGH = 3


class Name(str):
    __slots__ = ()


class Point(msgspec.Struct):
    x: int


@dataclass
class Size:
    wide: int


@given(plain)
def test_plain_values_are_written_alike(value: Any) -> None:
    try:
        expected = slow([value])
    except (TypeError, ValueError, OverflowError):
        with pytest.raises((TypeError, ValueError, OverflowError)):
            fast([value])
    else:
        # The digits of a float are each codec's own; the number is the same.
        assert msgspec.json.decode(fast([value])) == msgspec.json.decode(expected)


@pytest.mark.parametrize(
    "value",
    [
        datetime(2026, 1, 2, 3, 4, 5, 600, tzinfo=UTC),
        datetime(2026, 1, 2, 3, 4, 5),
        date(2026, 1, 2),
        time(3, 4, 5),
        UUID("12345678-1234-5678-1234-567812345678"),
        Decimal("1.50"),
        Colour.RED,
        Level.HIGH,
        Point(1),
        Size(2),
        b"bytes",
        (1, 2),
        {1, 2},
        2**64,
        float("nan"),
        {1: "a number as a key"},
        {Colour.RED: 1},
        "\N{SNOWMAN} \x00 \x7f \u2028 </script>",
    ],
    ids=repr,
)
def test_other_values_inside_are_written_as_msgspec_writes_them(value: object) -> None:
    assert fast({"x": [value]}) == slow({"x": [value]})


@pytest.mark.parametrize("value", [object(), Name("Ada")], ids=["object", "subclass of str"])
def test_what_has_no_form_is_the_same_error(value: object) -> None:
    with pytest.raises(TypeError, match=type(value).__name__):
        fast({"x": value})


def test_without_orjson_the_encoder_is_what_it_was(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, "orjson", None)
    assert preferring_orjson(slow) is slow

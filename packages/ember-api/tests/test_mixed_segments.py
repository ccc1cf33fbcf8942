"""Segments of several parameters: what each one takes, and that no text takes long to split."""

from __future__ import annotations

import re
from typing import Any

import pytest
from ember.routing.mixed import MAX_TRIES, MixedSegment
from ember.routing.router import Converter, Router, Template, add_converter, built_in_converters
from hypothesis import given, settings
from hypothesis import strategies as st

from tests.support.growth import assert_linear

pytestmark = pytest.mark.once_per_build

CONVERTERS = built_in_converters()
REGEXES = {"str": ".+", "int": "-?[0-9]+", "float": r"-?[0-9]+(?:\.[0-9]+)?"}


def mixed(path: str, converters: dict[str, Converter] = CONVERTERS) -> MixedSegment:
    return MixedSegment(Template(path).segments[0], converters)


@pytest.mark.parametrize(
    ("path", "text", "parts"),
    [
        ("/{a}-{b}", "x-y-z", ["x-y", "z"]),
        ("/{a}-{b}", "x-", None),
        ("/{a}-{b}", "---", ["-", "-"]),
        ("/{name}-{version}.tar.gz", "a-b-1.0.tar.gz", ["a-b", "1.0"]),
        ("/{name}-{version}.tar.gz", "a-b-1.0.tar", None),
        ("/v{major:int}.{minor:int}", "v3.12", ["3", "12"]),
        ("/{id:int}-{slug}", "5-a-b", ["5", "a-b"]),
        ("/{a:int}-{b:int}", "-1--2", ["-1", "-2"]),
        ("/{a:int}-{b:int}", "1-x", None),
        ("/{a:int}1{b:int}", "2111", ["21", "1"]),
        ("/{lat:float},{lon:float}", "-1.5,20.25", ["-1.5", "20.25"]),
        ("/{v:float}.{ext}", "1.5.json", ["1.5", "json"]),
        ("/{v:float}.{ext}", "1.5", ["1", "5"]),
        ("/@{name}", "@me", ["me"]),
        ("/@{name}", "@", None),
    ],
)
def test_each_parameter_takes_as_much_as_it_can(
    path: str, text: str, parts: list[str] | None
) -> None:
    assert mixed(path).split(text) == parts


def test_a_uuid_is_found_between_other_text() -> None:
    uuid = "12345678-1234-1234-1234-123456789abc"
    assert mixed("/{a}-{id:uuid}-{b}").split(f"x-{uuid}-y") == ["x", uuid, "y"]
    assert mixed("/{a}-{id:uuid}-{b}").split(f"x-{uuid[:-1]}-y") is None


def test_a_converter_of_the_application_decides_with_its_regex() -> None:
    converters = built_in_converters()
    add_converter(converters, "word", "[a-z]+", str)
    segment = mixed("/{a:word}-{b}", converters)
    assert segment.split("ab-c-d") == ["ab", "c-d"]
    assert segment.split("4-c") is None


def test_a_converter_of_the_application_is_asked_a_limited_number_of_times() -> None:
    asked: list[str] = []

    class Counted(Converter):
        name = "counted"

        def matches(self, text: str) -> bool:
            asked.append(text)
            return False

    converters = {**built_in_converters(), "counted": Counted()}
    segment = mixed("/{a:counted}-{b}", converters)
    assert segment.split("a" + "-" * MAX_TRIES + "b") is None
    assert len(asked) == MAX_TRIES
    asked.clear()
    assert segment.split("a" + "-" * (MAX_TRIES + 1) + "b") is None
    assert len(asked) == MAX_TRIES


@st.composite
def segments(draw: Any) -> tuple[str, str]:
    """A path of one segment, and the regular expression that says the same."""
    path = pattern = draw(st.sampled_from(["", "-", "a1"]))
    for index in range(draw(st.integers(2, 4))):
        if index:
            literal = draw(st.sampled_from(["-", ".", "1", "--", "a", ".1"]))
            path, pattern = path + literal, pattern + re.escape(literal)
        kind = draw(st.sampled_from([*REGEXES]))
        path, pattern = f"{path}{{p{index}:{kind}}}", f"{pattern}({REGEXES[kind]})"
    literal = draw(st.sampled_from(["", "-", ".1"]))
    return f"/{path}{literal}", pattern + re.escape(literal)


@settings(max_examples=400, deadline=None)
@given(segments(), st.text(alphabet="a1-.", max_size=14))
def test_the_parts_are_those_that_a_backtracking_search_finds(
    segment: tuple[str, str], text: str
) -> None:
    path, pattern = segment
    match = re.fullmatch(pattern, text, re.DOTALL)
    assert mixed(path).split(text) == (None if match is None else list(match.groups()))


@pytest.mark.parametrize(
    ("path", "unit"),
    [
        ("/{a}-{b}.tar.gz", "-"),
        ("/{a}-{b}-{c}.json", "-"),
        ("/{a}-{b}-{c}-{d}x", "-a"),
        ("/{a:int}1{b:int}1{c:int}x", "1"),
        ("/{a:float}.{b:float}x", "1."),
        ("/{a:float}1{b:float}x", "1"),
        ("/{a}-{b:uuid}x", "-1"),
        ("/{rest:path}/{a}-{b}", "/-"),
        ("/{rest:path}/x/y", "/a"),
        ("/{rest:path}/x/{y:int}", "/x"),
        ("/{a}/{b:float}", "1/1"),
        ("/{b:float}", "1"),
        ("/{b:int}", "1"),
        ("/{b:uuid}", "1"),
    ],
)
def test_no_path_takes_more_than_linear_time(path: str, unit: str) -> None:
    router = Router(built_in_converters())

    class Endpoint:
        owner = "here"

    router.add("GET", Template(path), Endpoint())
    assert_linear(
        lambda text: router.find("GET", text, []), lambda n: "/" + unit * (n // len(unit)) + "!"
    )


def test_a_long_fraction_is_read_once_for_all_digits_before_it() -> None:
    segment = mixed("/{a:float}1{b:float}1{c:float}x")
    assert_linear(segment.split, lambda n: "1" * (n // 2) + "." + "1" * (n // 2) + "!x")

"""A body of many values is bounded before anything checks it, whoever that is."""

from __future__ import annotations

import gc
from collections.abc import Callable
from decimal import Decimal
from typing import Annotated, Any

import msgspec
import pydantic
import pytest
from ember.binding.markers import Body
from ember.limits import RouteLimits

TYPE_CHECKING = False
if TYPE_CHECKING:
    from .conftest import Ask  # type: ignore[import-not-found,unused-ignore]

pytestmark = pytest.mark.once

MOST = RouteLimits().max_values


class Numbers(msgspec.Struct):
    n: list[int]


class Model(pydantic.BaseModel):
    n: list[int]


async def untyped(n: Annotated[list[Any], Body()]) -> int:
    return len(n)


async def typed(n: Annotated[list[int], Body()]) -> int:
    return len(n)


async def decimals(n: Annotated[list[Decimal], Body()]) -> int:
    return len(n)


async def struct(x: Numbers) -> int:
    return len(x.n)


async def model(x: Model) -> int:
    return len(x.n)


async def members(n: Annotated[list[int], Body()], m: Annotated[int, Body()] = 0) -> int:
    return len(n)


Make = Callable[[int, str], Any]


def bare(many: int, item: str) -> str:
    return f"[{','.join([item] * many)}]"


def in_object(many: int, item: str) -> str:
    # The object is a value, too.
    return f'{{"n":{bare(many - 1, item)}}}'


CASES = [
    (untyped, bare, 0),
    (typed, bare, 0),
    (decimals, bare, 0),
    (struct, in_object, 1),
    (model, in_object, 1),
    (members, in_object, 1),
]


@pytest.mark.parametrize(
    ("handler", "make", "less"), CASES, ids=lambda x: getattr(x, "__name__", "")
)
def test_a_body_may_have_the_limit_and_no_value_more(
    handler: Any, make: Callable[[int, str], str], less: int, ask: Ask
) -> None:
    fits = make(MOST, "1").encode()
    answer = ask(handler, method="POST", body=fits, content_type="application/json")
    assert (answer.status, answer.json) == (200, MOST - less)
    over = make(MOST + 1, "1").encode()
    answer = ask(handler, method="POST", body=over, content_type="application/json")
    assert answer.status == 413
    assert answer.json["detail"] == "the request body has more than 200000 values"


@pytest.mark.parametrize("handler", [untyped, members])
def test_messagepack_has_the_same_limit(handler: Any, ask: Ask) -> None:
    around = 3 if handler is members else 1  # the map and the key
    for many, status in ((MOST - around, 200), (MOST - around + 1, 413)):
        value: Any = [1] * many
        body = msgspec.msgpack.encode({"n": value} if handler is members else value)
        answer = ask(handler, method="POST", body=body, content_type="application/msgpack")
        assert answer.status == status


class Watched(msgspec.Struct):
    n: int = 0

    def __post_init__(self) -> None:
        enabled.append(gc.isenabled())


class WatchedModel(pydantic.BaseModel):
    n: int = 0

    @pydantic.model_validator(mode="before")
    @classmethod
    def look(cls, value: Any) -> Any:
        enabled.append(gc.isenabled())
        return value


enabled: list[bool] = []


@pytest.mark.parametrize("item", [Watched, WatchedModel])
@pytest.mark.parametrize("end", ["{}", '{"n": []}'])
@pytest.mark.parametrize("alone", [True, False])
def test_a_large_body_is_checked_without_collections(
    item: Any, end: str, alone: bool, ask: Ask
) -> None:
    if alone:

        async def handler(n: Annotated[list[Any], Body()]) -> bool:
            return gc.isenabled()
    else:

        async def handler(  # type: ignore[misc]
            n: Annotated[list[Any], Body()], m: Annotated[int, Body()] = 0
        ) -> bool:
            return gc.isenabled()

    handler.__annotations__["n"] = Annotated[list[item], Body()]
    items = bare(2000, "{}")[:-1] + f",{end}]"
    body = (items if alone else f'{{"n": {items}}}').encode()
    enabled.clear()
    answer = ask(handler, method="POST", body=body, content_type="application/json")
    assert (answer.status, answer.body) == (200, b"true") if end == "{}" else answer.status == 422
    assert len(enabled) >= 2000
    assert not any(enabled)
    assert gc.isenabled()

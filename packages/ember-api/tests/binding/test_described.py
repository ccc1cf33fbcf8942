"""What the description promises to take is taken, and what it does not is refused."""

from __future__ import annotations

import datetime
from typing import Annotated, Any, Literal

import msgspec
import pydantic
import pytest
from ember.binding.markers import Body, Form, Query

TYPE_CHECKING = False
if TYPE_CHECKING:
    from .conftest import Ask  # type: ignore[import-not-found,unused-ignore]

FORM = "application/x-www-form-urlencoded"


class Count(msgspec.Struct):
    number: int
    ratio: float = 0.5
    inner: list[int] = []


class Closed(msgspec.Struct, forbid_unknown_fields=True):
    limit: int = 10
    day: datetime.date | None = None
    mode: Literal["on", "off"] | None = None


class Exact(pydantic.BaseModel):
    model_config = pydantic.ConfigDict(strict=True, extra="forbid")
    amount: int
    flag: bool = False


def taking(annotation: Any, seen: list[Any]) -> Any:
    async def handler(item: Any) -> None:
        seen.append(item)

    handler.__annotations__["item"] = annotation
    return handler


def test_a_whole_number_may_be_written_with_a_point(ask: Ask) -> None:
    seen: list[Any] = []
    body = b'{"number": 3.0, "ratio": 2.0, "inner": [1e2]}'
    kind = "application/json"
    assert ask(taking(Count, seen), method="POST", body=body, content_type=kind).status == 204
    assert seen == [Count(3, 2.0, [100])]
    assert type(seen[0].number) is int
    one = taking(Annotated[int, Body(ge=0)], seen)
    assert ask(one, method="POST", body=b"7.0", content_type=kind).status == 204
    assert seen[-1] == 7
    answer = ask(taking(Count, seen), method="POST", content_type=kind,
                 body=b'{"number": 1.5, "inner": [1.0, "x"]}')  # fmt: skip
    assert answer.errors == {"body.number": "int_type", "body.inner.1": "int_type"}
    answer = ask(one, method="POST", body=b"-1.0", content_type=kind)
    assert answer.errors == {"body": "greater_than_equal"}


@pytest.mark.parametrize("body", [b'{"number": 1.5', b'{"number": 1.5, "ratio": NaN}'])
def test_what_is_broken_behind_a_number_with_a_point_is_still_400(body: bytes, ask: Ask) -> None:
    answer = ask(taking(Count, []), method="POST", body=body, content_type="application/json")
    assert answer.status == 400


@pytest.mark.parametrize("annotation", [Closed, Annotated[Closed, Form()]])
def test_a_model_that_forbids_other_fields_forbids_them_in_a_form(
    annotation: Any, ask: Ask
) -> None:
    handler = taking(annotation, [])
    assert ask(handler, method="POST", body=b"limit=3", content_type=FORM).status == 204
    answer = ask(handler, method="POST", body=b"limit=3&limt=4", content_type=FORM)
    assert list(answer.errors) == ["body.limt"]


def test_a_model_that_forbids_other_fields_forbids_them_in_a_query(ask: Ask) -> None:
    seen: list[Any] = []
    handler = taking(Annotated[Closed, Query()], seen)
    assert ask(handler, "/?limit=3").status == 204
    assert list(ask(handler, "/?limit=3&limt=4").errors) == ["query.limt"]

    async def with_another(item: Annotated[Closed, Query()], q: str = "") -> None: ...

    assert ask(with_another, "/?limit=3&q=x").status == 204


def test_the_text_null_is_no_null(ask: Ask) -> None:
    seen: list[Any] = []
    handler = taking(Annotated[Closed, Query()], seen)
    assert list(ask(handler, "/?day=null").errors) == ["query.day"]
    assert list(ask(handler, "/?mode=Null").errors) == ["query.mode"]
    one = taking(Annotated[datetime.date | None, Query()], seen)
    assert list(ask(one, "/?item=null").errors) == ["query.item"]


def test_a_strict_model_takes_the_text_of_a_form(ask: Ask) -> None:
    seen: list[Any] = []
    handler = taking(Exact, seen)
    done = ask(handler, method="POST", body=b"amount=3&flag=true", content_type=FORM)
    assert done.status == 204
    assert seen == [Exact(amount=3, flag=True)]
    assert list(ask(handler, method="POST", body={"amount": "3"}).errors) == ["body.amount"]
    other = ask(handler, method="POST", body=b"amount=3&more=1", content_type=FORM)
    assert list(other.errors) == ["body.more"]


def test_a_body_may_be_of_one_type_only(ask: Ask) -> None:
    seen: list[Any] = []
    handler = taking(Annotated[Closed, Body(media_type="application/json")], seen)
    assert ask(handler, method="POST", body={"limit": 1}).status == 204
    for kind in (FORM, "text/plain", "application/msgpack"):
        answer = ask(handler, method="POST", body=b"{}", content_type=kind)
        assert answer.status == 415
        assert answer.detail == f'this route takes application/json, not "{kind}"'
    packed = taking(Annotated[Closed, Body(media_type="application/msgpack")], seen)
    body = msgspec.msgpack.encode({"limit": 5})
    kind = "application/msgpack"
    assert ask(packed, method="POST", body=body, content_type=kind).status == 204
    assert seen[-1].limit == 5
    assert ask(packed, method="POST", body={"limit": 1}).status == 415

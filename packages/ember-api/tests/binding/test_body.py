"""Bodies: every kind of data class, every content type, and all that can be wrong with them."""

from __future__ import annotations

import dataclasses
import datetime
from typing import Annotated, Any, NotRequired, Optional, TypedDict
from urllib.parse import urlencode

import attrs
import msgspec
import pydantic
import pytest
import typing_extensions
from ember.binding import compile_binding
from ember.binding.markers import Body, File, Form, Query

TYPE_CHECKING = False
if TYPE_CHECKING:
    from .conftest import Ask  # type: ignore[import-not-found,unused-ignore]


class Place(msgspec.Struct):
    city: str
    zip: Annotated[str, msgspec.Meta(pattern="^[0-9]+$")] = "0"


class StructItem(msgspec.Struct):
    name: str
    price: float
    tags: list[str] = []
    place: Place | None = None


@dataclasses.dataclass
class DataItem:
    name: str
    price: float
    tags: list[str] = dataclasses.field(default_factory=list)
    place: Place | None = None


@attrs.define
class AttrsItem:
    name: str
    price: float
    tags: list[str] = attrs.field(factory=list)
    place: Place | None = None


class TypedItem(TypedDict):
    name: str
    price: float
    tags: NotRequired[list[str]]
    place: NotRequired[Place | None]


class ExtensionsItem(typing_extensions.TypedDict):  # another class up to Python 3.12
    name: str
    price: float
    tags: typing_extensions.NotRequired[list[str]]
    place: typing_extensions.NotRequired[Place | None]


class ModelPlace(pydantic.BaseModel):
    city: str
    zip: str = pydantic.Field("0", pattern="^[0-9]+$")


class ModelItem(pydantic.BaseModel):
    name: str
    price: float
    tags: list[str] = []
    place: ModelPlace | None = None


KINDS = [StructItem, DataItem, AttrsItem, TypedItem, ExtensionsItem, ModelItem]
GOOD = {"name": "pen", "price": 1.5, "tags": ["a"], "place": {"city": "Ulm"}}


def name_of(item: Any) -> Any:
    return item["name"] if isinstance(item, dict) else item.name


def bound(annotation: Any, seen: list[Any]) -> Any:
    async def handler(item: Any) -> None:
        seen.append(item)

    handler.__annotations__["item"] = annotation
    return handler


@pytest.mark.parametrize("kind", KINDS)
def test_a_data_class_is_the_json_body(kind: Any, ask: Ask) -> None:
    seen: list[Any] = []
    answer = ask(bound(kind, seen), method="POST", body=GOOD)
    assert answer.status == 204
    assert type(seen[0]) is (dict if kind in (TypedItem, ExtensionsItem) else kind)
    assert name_of(seen[0]) == "pen"


@pytest.mark.parametrize("kind", KINDS)
def test_every_error_of_a_body_is_listed(kind: Any, ask: Ask) -> None:
    body = {"price": "x", "tags": ["a", 1, 2], "place": {"zip": "z"}}
    answer = ask(bound(kind, []), method="POST", body=body)
    assert set(answer.errors) == {
        "body.name",
        "body.price",
        "body.tags.1",
        "body.tags.2",
        "body.place.city",
        "body.place.zip",
    }
    assert answer.errors["body.name"] == "missing"
    assert answer.errors["body.place.city"] == "missing"
    assert answer.errors["body.place.zip"] == "string_pattern_mismatch"


@pytest.mark.parametrize("kind", KINDS)
@pytest.mark.parametrize("body", [b"{", b"", b'{"name": "x"} x', b'{"name": "\xff"}', b"nope"])
def test_a_body_that_is_no_json_is_400_and_an_empty_one_is_missing(
    kind: Any, body: bytes, ask: Ask
) -> None:
    answer = ask(bound(kind, []), method="POST", body=body, content_type="application/json")
    if body:
        assert answer.status == 400
        assert "the body is not valid JSON" in answer.detail
    else:
        assert answer.errors == {"body": "missing"}


@pytest.mark.parametrize("kind", KINDS)
def test_no_body_at_all_is_missing(kind: Any, ask: Ask) -> None:
    assert ask(bound(kind, []), method="POST").errors == {"body": "missing"}


@pytest.mark.parametrize("kind", KINDS)
@pytest.mark.parametrize("content_type", ["text/plain", "application/xml", None, "json"])
def test_another_content_type_is_415(kind: Any, content_type: str | None, ask: Ask) -> None:
    answer = ask(bound(kind, []), method="POST", body=b"{}", content_type=content_type)
    assert answer.status == 415
    assert "this route takes application/json" in answer.detail


@pytest.mark.parametrize("kind", KINDS)
@pytest.mark.parametrize(
    "content_type",
    ["application/json; charset=utf-8", "Application/JSON", "application/vnd.a+json"],
)
def test_json_has_several_content_types(kind: Any, content_type: str, ask: Ask) -> None:
    body = msgspec.json.encode(GOOD)
    answer = ask(bound(kind, []), method="POST", body=body, content_type=content_type)
    assert answer.status == 204


@pytest.mark.parametrize("kind", KINDS)
def test_a_form_by_its_content_type(kind: Any, ask: Ask) -> None:
    form = "application/x-www-form-urlencoded"
    seen: list[Any] = []
    body = urlencode([("name", "pen & ink"), ("price", "1.5"), ("tags", "a"), ("tags", "b")])
    answer = ask(bound(kind, seen), method="POST", body=body.encode(), content_type=form)
    assert answer.status == 204
    assert name_of(seen[0]) == "pen & ink"
    answer = ask(bound(kind, []), method="POST", body=b"price=x", content_type=form)
    assert set(answer.errors) == {"body.name", "body.price"}


@pytest.mark.parametrize("kind", KINDS)
def test_msgpack_by_its_content_type(kind: Any, ask: Ask) -> None:
    msgpack = "application/msgpack"
    seen: list[Any] = []
    body = msgspec.msgpack.encode(GOOD)
    answer = ask(bound(kind, seen), method="POST", body=body, content_type=msgpack)
    assert answer.status == 204
    assert name_of(seen[0]) == "pen"
    wrong = msgspec.msgpack.encode({"price": "x"})
    answer = ask(bound(kind, []), method="POST", body=wrong, content_type=msgpack)
    assert set(answer.errors) == {"body.name", "body.price"}
    answer = ask(bound(kind, []), method="POST", body=b"\xc1", content_type=msgpack)
    assert answer.status == 400
    assert "the body is not valid MessagePack" in answer.detail


@pytest.mark.parametrize("kind", KINDS)
def test_a_list_of_them(kind: Any, ask: Ask) -> None:
    seen: list[Any] = []
    assert ask(bound(list[kind], seen), method="POST", body=[GOOD, GOOD]).status == 204
    assert [name_of(item) for item in seen[0]] == ["pen", "pen"]
    answer = ask(bound(list[kind], []), method="POST", body=[GOOD, {"name": 1}, {"price": 1}])
    assert set(answer.errors) == {"body.1.name", "body.1.price", "body.2.name"}
    answer = ask(bound(list[kind], []), method="POST", body={})
    assert answer.errors == {"body": "list_type"}


@pytest.mark.parametrize("kind", KINDS)
def test_a_body_that_may_be_missing(kind: Any, ask: Ask) -> None:
    seen: list[Any] = []

    async def handler(item: Any = None) -> None:
        seen.append(item)

    handler.__annotations__["item"] = Optional[kind]  # noqa: UP045
    assert ask(handler, method="POST").status == 204
    assert ask(handler, method="POST", body=b"", content_type="application/json").status == 204
    assert ask(handler, method="POST", body=None).status == 204
    assert seen == [None, None, None]
    assert ask(handler, method="POST", body=GOOD).status == 204
    assert name_of(seen[3]) == "pen"
    assert ask(handler, method="POST", body={"name": 1}).status == 422


@pytest.mark.parametrize("kind", KINDS)
def test_its_schema_names_it(kind: Any) -> None:
    (parameter,) = compile_binding(bound(kind, []), methods=["POST"], where="route").parameters
    assert parameter.source == "body"
    schema, named = parameter.schema()
    assert schema == {"$ref": f"#/components/schemas/{kind.__name__}"}
    assert set(named[kind.__name__]["properties"]) == {"name", "price", "tags", "place"}
    assert named[kind.__name__]["required"] == ["name", "price"]


def test_errors_of_body_and_query_come_together(ask: Ask) -> None:
    async def handler(item: StructItem, limit: int, sort: str) -> None: ...

    answer = ask(handler, "/?limit=x", method="POST", body={"name": "a"})
    assert answer.errors == {
        "query.limit": "int_parsing",
        "query.sort": "missing",
        "body.price": "missing",
    }


def test_a_plain_dict_or_list_of_anything(ask: Ask) -> None:
    async def handler(data: dict[str, Any]) -> Any:
        return data

    assert ask(handler, method="POST", body={"a": [1]}).json == {"a": [1]}
    assert ask(handler, method="POST", body=[1]).errors == {"body": "dict_type"}

    async def counts(data: dict[str, int]) -> Any:
        return data

    answer = ask(counts, method="POST", body={"a": 1, "b": "x", "c": None})
    assert answer.errors == {"body.b": "int_type", "body.c": "int_type"}


def test_several_body_parameters_are_members_of_one_object(ask: Ask) -> None:
    async def handler(
        item: StructItem,
        model: ModelItem,
        count: Annotated[int, Body(ge=1)],
        note: str = Body("none"),
    ) -> list[Any]:
        return [item.name, model.name, count, note]

    body = {"item": GOOD, "model": GOOD, "count": 2}
    assert ask(handler, method="POST", body=body).json == ["pen", "pen", 2, "none"]
    answer = ask(handler, method="POST", body={"item": {"name": 1}, "count": 0, "note": 3})
    assert answer.errors == {
        "body.item.name": "string_type",
        "body.item.price": "missing",
        "body.model": "missing",
        "body.count": "greater_than_equal",
        "body.note": "string_type",
    }
    assert ask(handler, method="POST", body=[]).errors == {"body": "dict_type"}
    assert ask(handler, method="POST", body=b"{", content_type="application/json").status == 400
    assert ask(handler, method="POST", body=b"{}", content_type="text/plain").status == 415
    assert ask(handler, method="POST", body=b"{}").status == 415
    assert set(ask(handler, method="POST").errors) == {"body.item", "body.model", "body.count"}
    packed = msgspec.msgpack.encode(body)
    answer = ask(handler, method="POST", body=packed, content_type="application/msgpack")
    assert answer.json == ["pen", "pen", 2, "none"]


def test_one_body_parameter_can_be_a_member_too(ask: Ask) -> None:
    async def handler(item: Annotated[StructItem, Body(embed=True)]) -> str:
        return item.name

    assert ask(handler, method="POST", body={"item": GOOD}).body == b"pen"
    assert ask(handler, method="POST", body=GOOD).errors == {"body.item": "missing"}


def test_a_scalar_body(ask: Ask) -> None:
    async def handler(day: Annotated[datetime.date, Body()]) -> int:
        return day.year

    assert ask(handler, method="PUT", body="2026-01-01").json == 2026
    assert ask(handler, method="PUT", body="x").errors == {"body": "date_parsing"}


def test_bytes_are_the_body_as_it_is(ask: Ask) -> None:
    async def handler(data: Annotated[bytes, Body()]) -> bytes:
        return data

    assert (
        ask(handler, method="POST", body=b"\x00\xff", content_type="image/png").body == b"\x00\xff"
    )
    assert ask(handler, method="POST").errors == {"body": "missing"}

    async def optional(data: Annotated[bytes, Body()] = b"none") -> bytes:
        return data

    assert ask(optional, method="POST").body == b"none"


def test_form_fields(ask: Ask) -> None:
    async def handler(
        name: Annotated[str, Form(min_length=2)],
        age: Annotated[int, Form()] = 18,
        tags: Annotated[list[str], Form()] = [],  # noqa: B006
        agree: Annotated[bool, Form()] = False,
    ) -> list[Any]:
        return [name, age, tags, agree]

    form = "application/x-www-form-urlencoded"
    body = b"name=Ann&age=&tags=a&tags=b&agree=on"
    assert ask(handler, method="POST", body=body, content_type=form).json == [
        "Ann",
        18,
        ["a", "b"],
        True,
    ]
    assert ask(handler, method="POST", body=b"name=A&age=x", content_type=form).errors == {
        "body.name": "string_too_short",
        "body.age": "int_parsing",
    }
    assert ask(handler, method="POST", body={"name": "Ann"}).status == 415


def test_a_data_class_marked_form_takes_only_forms(ask: Ask) -> None:
    class Login(msgspec.Struct):
        user: str
        remember: bool = False
        age: int | None = None

    async def handler(login: Annotated[Login, Form()]) -> list[Any]:
        return [login.user, login.remember, login.age]

    form = "application/x-www-form-urlencoded"
    answer = ask(handler, method="POST", body=b"user=ann&remember=on&age=", content_type=form)
    assert answer.json == ["ann", True, None]
    assert ask(handler, method="POST", body=b"remember=x", content_type=form).errors == {
        "body.user": "missing",
        "body.remember": "bool_parsing",
    }
    assert ask(handler, method="POST", body={"user": "ann"}).status == 415


def test_a_form_field_where_a_file_is_asked_for_is_422(ask: Ask) -> None:
    async def handler(avatar: Annotated[bytes, File()]) -> int:
        return len(avatar)

    form = "application/x-www-form-urlencoded"
    assert ask(handler, method="POST", body=b"avatar=x", content_type=form).errors == {
        "body.avatar": "file_type"
    }
    assert ask(handler, method="POST", body=b"other=x", content_type=form).errors == {
        "body.avatar": "missing"
    }


def test_a_model_inside_a_struct(ask: Ask) -> None:
    class Order(msgspec.Struct):
        item: ModelItem
        count: int

    async def handler(order: Order) -> Order:
        assert type(order.item) is ModelItem
        return order

    answer = ask(handler, method="POST", body={"item": {"name": "pen", "price": 2}, "count": 1})
    assert answer.json["item"]["name"] == "pen"
    answer = ask(handler, method="POST", body={"item": {"name": "pen"}, "count": "x"})
    assert answer.errors == {"body.item.price": "missing", "body.count": "int_type"}


def test_pydantic_types_and_fields_outside_of_models(ask: Ask) -> None:
    async def handler(
        url: pydantic.HttpUrl,
        age: Annotated[int, pydantic.Field(ge=18)],
        items: Annotated[list[pydantic.PositiveInt], Query()],
        day: Annotated[pydantic.PastDate | None, Query()] = None,
    ) -> list[Any]:
        return [url.host, age, items]

    assert ask(handler, "/?url=http://x.y/&age=18&items=1&items=2").json == ["x.y", 18, [1, 2]]
    assert ask(handler, "/?url=x&age=1&items=0&day=2999-01-01").errors == {
        "query.url": "url_parsing",
        "query.age": "greater_than_equal",
        "query.items.0": "greater_than",
        "query.day": "date_past",
    }


def test_unknown_fields_are_named_where_a_struct_forbids_them(ask: Ask) -> None:
    class Strict(msgspec.Struct, forbid_unknown_fields=True):
        a: int

    async def handler(item: Strict) -> None: ...

    answer = ask(handler, method="POST", body={"a": "x", "b": 1, "c": 2})
    assert answer.errors == {
        "body.a": "int_type",
        "body.b": "extra_forbidden",
        "body.c": "extra_forbidden",
    }


def test_names_on_the_wire_can_differ(ask: Ask) -> None:
    class Camel(msgspec.Struct, rename="camel"):
        first_name: str

    class Aliased(pydantic.BaseModel):
        first_name: str = pydantic.Field(alias="firstName")

    form = "application/x-www-form-urlencoded"
    for kind in (Camel, Aliased):
        seen: list[Any] = []
        assert ask(bound(kind, seen), method="POST", body={"firstName": "Ann"}).status == 204
        body = b"firstName=Ann"
        assert ask(bound(kind, seen), method="POST", body=body, content_type=form).status == 204
        assert [item.first_name for item in seen] == ["Ann", "Ann"]
        answer = ask(bound(kind, []), method="POST", body={"first_name": "Ann"})
        assert answer.errors == {"body.firstName": "missing"}


def test_a_check_of_the_whole_is_reported_at_the_whole(ask: Ask) -> None:
    class Range(msgspec.Struct):
        low: int
        high: int

        def __post_init__(self) -> None:
            if self.low > self.high:
                raise ValueError("low is above high")

    async def handler(item: Range) -> None: ...

    answer = ask(handler, method="POST", body={"low": 2, "high": 1})
    assert answer.messages == {"body": "low is above high"}


def test_the_list_of_errors_is_bounded(ask: Ask) -> None:
    async def handler(item: list[StructItem]) -> None: ...

    answer = ask(handler, method="POST", body=[{}] * 1000)
    assert len(answer.json["errors"]) == 100


def test_a_huge_body_costs_no_more_than_its_first_error(ask: Ask) -> None:
    async def handler(item: list[StructItem]) -> None: ...

    good = {"name": "a", "price": 1}
    answer = ask(handler, method="POST", body=[good] * 20_000 + [{"name": 1, "price": 1}])
    assert answer.errors == {"body.20000.name": "string_type"}

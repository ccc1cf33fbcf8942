"""The OpenAPI document says what the annotations say (P6); a validator agrees."""

from __future__ import annotations

import asyncio
import enum
import re
import uuid
from collections.abc import AsyncIterator
from dataclasses import dataclass
from datetime import date, datetime, time
from decimal import Decimal
from typing import Annotated, Any, Literal, TypedDict

import attrs
import msgspec
import pydantic
import pytest
from ember import (
    Body,
    Cookie,
    Depends,
    Ember,
    File,
    FileResponse,
    Form,
    Header,
    HTMLResponse,
    Path,
    Query,
    RedirectResponse,
    Request,
    Response,
    SSEResponse,
    UploadFile,
)
from ember.application.blueprint import Blueprint
from ember.openapi import document
from ember.openapi.components import Components
from openapi_spec_validator import validate


class Color(enum.Enum):
    RED = "red"
    BLUE = "blue"


class Owner(msgspec.Struct):
    name: str


class Item(msgspec.Struct):
    """Something in a box."""

    title: Annotated[str, msgspec.Meta(min_length=1, max_length=80)]
    owner: Owner | None = None
    children: list[Item] = []


class Model(pydantic.BaseModel):
    size: int = pydantic.Field(ge=1)
    owner: Nested | None = None

    @pydantic.computed_field  # type: ignore[prop-decorator]
    @property
    def double(self) -> int:
        return self.size * 2


class Nested(pydantic.BaseModel):
    name: str


@dataclass
class Point:
    x: int
    y: int = 0


class Patch(TypedDict, total=False):
    title: str
    color: Color


@attrs.define
class Crate:
    weight: float


class Page(msgspec.Struct):
    limit: int = 20
    offset: int = 0
    tags: list[str] = []


class Mixed(msgspec.Struct):
    model: Model


def operation(handler: Any, path: str = "/", method: str = "get", **options: Any) -> dict[str, Any]:
    app = Ember()
    app.add_route(path, handler, [method.upper()], **options)
    found = document(app)
    validate(found)
    (item,) = found["paths"].values()
    result: dict[str, Any] = item[method]
    return result


def parameters(handler: Any, path: str = "/", method: str = "get") -> dict[str, Any]:
    return {p["name"]: p for p in operation(handler, path, method).get("parameters", [])}


def content(handler: Any, path: str = "/") -> dict[str, Any]:
    """Content type to schema of the answer that has one."""
    responses = operation(handler, path)["responses"]
    (answer,) = (r for code, r in responses.items() if code.isdigit() and "content" in r)
    return {kind: media.get("schema") for kind, media in answer["content"].items()}


def test_every_source_of_a_parameter_is_described() -> None:
    async def pager(limit: Annotated[int, Query(ge=1, le=100)] = 20) -> int:
        return limit

    async def show(
        id: int,
        limit: Annotated[int, Depends(pager)],
        q: Annotated[str | None, Query(description="Words", examples=["a"], alias="search")] = None,
        tags: list[str] = [],  # noqa: B006
        color: Color = Color.RED,
        since: date | None = None,
        x_token: Annotated[str, Header(deprecated=True)] = "none",
        session: Annotated[str | None, Cookie()] = None,
        hidden: Annotated[str, Query(include_in_schema=False)] = "",
    ) -> None: ...

    found = parameters(show, "/{id}/{rest:path}")
    assert list(found) == [
        "id", "rest", "limit", "search", "tags", "color", "since", "x-token", "session",
    ]  # fmt: skip
    assert found["id"] == {
        "name": "id",
        "in": "path",
        "required": True,
        "schema": {"type": "integer"},
    }
    assert found["rest"]["schema"] == {"type": "string"}
    assert found["limit"]["schema"] == {
        "type": "integer",
        "minimum": 1,
        "maximum": 100,
        "default": 20,
    }
    assert found["search"]["description"] == "Words"
    assert found["search"]["examples"] == {"example 1": {"value": "a"}}
    assert found["tags"]["schema"] == {"type": "array", "items": {"type": "string"}, "default": []}
    assert found["color"]["schema"] == {"$ref": "#/components/schemas/Color", "default": "red"}
    assert found["since"]["schema"] == {"type": "string", "format": "date"}
    assert found["x-token"]["in"] == "header"
    assert found["x-token"]["deprecated"]
    assert found["session"]["in"] == "cookie"
    assert [p["required"] for p in found.values()].count(True) == 2


def test_the_fields_of_a_data_class_are_parameters() -> None:
    async def search(page: Annotated[Page, Query()]) -> None: ...

    found = parameters(search)
    assert found["limit"]["schema"] == {"type": "integer", "default": 20}
    assert found["tags"]["schema"]["items"] == {"type": "string"}
    assert not found["limit"]["required"]


@pytest.mark.parametrize(
    ("path", "schema"),
    [
        ("/{x}", {"type": "string"}),
        ("/{x:int}", {"type": "integer"}),
        ("/{x:float}", {"type": "number"}),
        ("/{x:uuid}", {"type": "string", "format": "uuid"}),
        ("/:x", {"type": "string"}),
    ],
)
def test_a_path_parameter_without_annotation_is_what_its_converter_takes(
    path: str, schema: dict[str, Any]
) -> None:
    async def show(x) -> None: ...  # type: ignore[no-untyped-def]

    async def ignore(request: Request) -> None: ...

    for handler in (show, ignore):
        assert parameters(handler, path)["x"]["schema"] == schema


@pytest.mark.parametrize("annotation", [Item, Model, Point, Patch, Crate, list[Item], Mixed])
def test_a_body_is_described_by_content_type(annotation: Any) -> None:
    async def create(body: Any) -> None: ...

    create.__annotations__["body"] = annotation
    body = operation(create, method="post")["requestBody"]
    assert body["required"]
    kinds = list(body["content"])
    assert kinds[0] == "application/json"
    assert "application/msgpack" in kinds
    # A form has no way to say an object inside of another.
    assert ("multipart/form-data" in kinds) is (annotation in (Point, Patch, Crate))
    assert body["content"]["application/json"]["schema"]


def test_a_decimal_says_what_it_looks_like() -> None:
    async def pay(amount: Decimal) -> None: ...

    schema = parameters(pay)["amount"]["schema"]
    assert re.fullmatch(schema["pattern"], "-12.50")
    assert not re.fullmatch(schema["pattern"], "")


def test_times_say_what_they_look_like_wherever_they_are() -> None:
    class Diary(msgspec.Struct):
        at: datetime
        alarm: time | None = None
        days: dict[str, list[datetime]] = {}
        pair: tuple[time, int] | None = None

    async def write(
        diary: Diary, when: datetime | None = None, soon: Annotated[time, Query()] = time(8)
    ) -> None: ...

    app = Ember()
    app.post("/")(write)
    described = document(app)
    validate(described)
    properties = described["components"]["schemas"]["Diary"]["properties"]
    assert properties["at"]["format"] == "date-time"
    assert re.fullmatch(properties["alarm"]["anyOf"][0]["pattern"], "08:30:00.5+01:00")
    assert not re.fullmatch(properties["alarm"]["anyOf"][0]["pattern"], "24:00:00")
    assert properties["days"]["additionalProperties"]["items"]["format"] == "date-time"
    named = {p["name"]: p["schema"] for p in described["paths"]["/"]["post"]["parameters"]}
    assert named["when"] == {"type": "string", "format": "date-time"}
    assert "pattern" in named["soon"]


def test_text_has_no_null_and_what_is_required_is_not_empty() -> None:
    async def find(ids: list[int], size: int | None = None, words: list[str] = []) -> None:  # noqa: B006
        ...

    schemas = {name: item["schema"] for name, item in parameters(find).items()}
    assert schemas["ids"]["minItems"] == 1
    assert schemas["size"] == {"type": "integer"}
    assert "minItems" not in schemas["words"]


def test_a_status_that_only_the_handler_knows_is_any_of_success() -> None:
    async def create() -> tuple[dict[str, int], int]:
        return {}, 202

    async def exactly() -> tuple[dict[str, int], Literal[201]]:
        return {}, 201

    assert "2XX" in operation(create)["responses"]
    assert "201" in operation(exactly)["responses"]


def test_several_bodies_are_members_of_one_object() -> None:
    async def create(
        item: Item, point: Point, note: Annotated[str, Body(description="n")] = ""
    ) -> None: ...

    schema = operation(create, method="post")["requestBody"]["content"]["application/json"][
        "schema"
    ]
    assert schema["required"] == ["item", "point"]
    assert schema["properties"]["point"] == {"$ref": "#/components/schemas/Point"}
    assert schema["properties"]["note"] == {"type": "string", "default": ""}


def test_forms_and_files_are_described() -> None:
    async def upload(
        picture: Annotated[bytes, File(description="A PNG")],
        more: Annotated[list[bytes], File()],
        title: Annotated[str, Form(max_length=5)] = "x",
    ) -> None: ...

    async def fields(point: Annotated[Point, Form()]) -> None: ...

    body = operation(upload, method="post")["requestBody"]
    assert list(body["content"]) == ["multipart/form-data"]
    schema = body["content"]["multipart/form-data"]["schema"]
    assert schema["properties"]["picture"]["contentMediaType"] == "application/octet-stream"
    assert schema["properties"]["more"]["type"] == "array"
    assert schema["properties"]["title"] == {"type": "string", "maxLength": 5, "default": "x"}
    assert schema["required"] == ["picture", "more"]
    body = operation(fields, method="post")["requestBody"]
    assert set(body["content"]) == {"application/x-www-form-urlencoded", "multipart/form-data"}
    assert body["content"]["multipart/form-data"]["schema"] == {
        "$ref": "#/components/schemas/Point"
    }


async def none() -> None: ...


async def text() -> str:
    return "text"


async def raw() -> bytes:
    return b"raw"


async def items() -> list[Item]:
    return [Item("one", Owner("me"))]


async def maybe() -> Item | None:
    return None


async def pair() -> tuple[Item, Literal[201], dict[str, str]]:
    return Item("one"), 201, {"X-One": "1"}


async def either() -> Item | Model | HTMLResponse:
    return Model(size=1)


async def stream() -> AsyncIterator[bytes]:
    yield b"one"


async def events() -> SSEResponse:
    async def one() -> AsyncIterator[str]:
        yield "one"

    return SSEResponse(one())


async def moved() -> RedirectResponse:
    return RedirectResponse("/")


async def file() -> FileResponse:
    return FileResponse(__file__)


async def whatever() -> Response:
    return Response()


async def unsaid():  # type: ignore[no-untyped-def]
    return 1


ITEM = {"$ref": "#/components/schemas/Item"}


@pytest.mark.parametrize(
    ("handler", "answers"),
    [
        (none, {"204": None}),
        (text, {"200": {"text/plain": {"type": "string"}}}),
        (raw, {"200": {"application/octet-stream": None}}),
        (items, {"200": {"application/json": {"type": "array", "items": ITEM}}}),
        (maybe, {"204": None, "200": {"application/json": ITEM}}),
        (pair, {"201": {"application/json": ITEM}}),
        (stream, {"200": {"application/octet-stream": None}}),
        (events, {"200": {"text/event-stream": None}}),
        (moved, {"302": None}),
        (file, {"200": {"*/*": None}}),
        (whatever, {"200": None}),
        (unsaid, {"200": None}),
    ],
)
def test_what_a_handler_returns_is_described(handler: Any, answers: dict[str, Any]) -> None:
    found = operation(handler)["responses"]
    assert found["default"]["content"]["application/problem+json"]
    del found["default"]
    assert {
        code: {k: m.get("schema") for k, m in answer["content"].items()}
        if "content" in answer
        else None
        for code, answer in found.items()
    } == answers


def test_each_kind_of_answer_of_a_union_is_described() -> None:
    found = content(either)
    assert found["text/html"] == {"type": "string"}
    assert {"$ref": "#/components/schemas/Model"} in found["application/json"]["anyOf"]


def test_the_status_of_the_route_is_that_of_its_answer() -> None:
    assert "201" in operation(items, method="post", status_code=201)["responses"]
    assert operation(maybe, status_code=202)["responses"].keys() == {"202", "default"}


def test_a_computed_field_is_in_answers_and_not_in_bodies() -> None:
    app = Ember()

    @app.post("/models")
    async def create(model: Model) -> Model:
        return model

    found = document(app)
    validate(found)
    schemas = found["components"]["schemas"]
    post = found["paths"]["/models"]["post"]
    sent = post["requestBody"]["content"]["application/json"]["schema"]["$ref"].rpartition("/")[2]
    answered = post["responses"]["200"]["content"]["application/json"]["schema"]["$ref"]
    assert "double" not in schemas[sent]["properties"]
    assert "double" in schemas[answered.rpartition("/")[2]]["properties"]


def test_errors_are_described_where_there_can_be_some() -> None:
    async def asks(q: int) -> None: ...

    assert "422" in operation(asks)["responses"]
    assert "422" not in operation(none)["responses"]


def test_names_words_and_marks_of_a_route_are_taken_over() -> None:
    async def show_item() -> None:
        """Show one
        item.

        With **everything** in it.
        """

    found = operation(show_item, tags=["items"], deprecated=True)
    assert found["operationId"] == "show_item"
    assert found["summary"] == "Show one item."
    assert found["description"] == "With **everything** in it."
    assert (found["tags"], found["deprecated"]) == (["items"], True)
    found = operation(show_item, summary="Short", name="other")
    assert (found["operationId"], found["summary"]) == ("other", "Short")
    assert found["description"].startswith("Show one item.\n\n")
    assert operation(none)["summary"] == "None"


def test_operation_ids_are_unique_and_hidden_routes_are_left_out() -> None:
    app = Ember()
    app.add_route("/a", none, ["GET", "PUT"])
    app.add_route("/b", none)
    app.add_route("/c", none)
    app.add_route("/hidden", none, include_in_schema=False)
    app.add_route("/odd", none, ["PURGE"])
    found = document(app)
    validate(found)
    assert list(found["paths"]) == ["/a", "/b", "/c"]
    ids = [o["operationId"] for item in found["paths"].values() for o in item.values()]
    assert ids == ["none_get", "none_put", "none", "none_2"]


def test_paths_that_differ_in_names_alone_are_one_path() -> None:
    app = Ember()

    @app.get("/items/{id}")
    async def show(id: int) -> None: ...

    @app.delete("/items/{item_id:int}")
    async def remove(item_id: int) -> None: ...

    found = document(app)
    validate(found)
    assert list(found["paths"]) == ["/items/{id}"]
    assert found["paths"]["/items/{id}"]["delete"]["parameters"][0]["name"] == "id"


def test_two_classes_of_one_name_are_told_apart() -> None:
    def one() -> Any:
        thing = msgspec.defstruct("Thing", [("a", int)])
        return msgspec.defstruct("Box", [("thing", thing)])

    def two() -> Any:
        thing = pydantic.create_model("Thing", b=(str, ...))
        return pydantic.create_model("Box", thing=(thing, ...))

    app = Ember()
    for number, box in enumerate((one(), two(), one())):

        async def create(box: Any) -> None: ...

        create.__annotations__["box"] = box
        app.add_route(f"/{number}", create, ["POST"])
    found = document(app)
    validate(found)
    schemas = found["components"]["schemas"]
    refs = [
        item["post"]["requestBody"]["content"]["application/json"]["schema"]["$ref"]
        for item in found["paths"].values()
    ]
    assert [ref.rpartition("/")[2] for ref in refs] == ["Box", "Box_2", "Box"]
    assert "a" in schemas["Thing"]["properties"]
    assert "b" in schemas["Thing_2"]["properties"]
    assert schemas["Box_2"]["properties"]["thing"]["$ref"] == "#/components/schemas/Thing_2"


def test_who_refers_to_a_renamed_schema_is_renamed_too() -> None:
    components = Components()
    ref = {"$ref": "#/components/schemas/B"}
    same = {"properties": {"b": ref}}
    components.add({"$ref": "#/components/schemas/A"}, {"A": same, "B": {"type": "string"}})
    again = components.add({"$ref": "#/components/schemas/A"}, {"A": same, "B": {"type": "null"}})
    assert again == {"$ref": "#/components/schemas/A_2"}
    assert components.schemas["A_2"] == {"properties": {"b": {"$ref": "#/components/schemas/B_2"}}}
    assert components.schemas["A"] == same


def test_a_schema_that_contains_itself_is_one_schema() -> None:
    async def create(item: Item) -> Item:
        return item

    app = Ember()
    app.add_route("/", create, ["POST"])
    found = document(app)
    validate(found)
    assert {"Item", "Owner"} <= found["components"]["schemas"].keys()
    assert not any(name.endswith("_2") for name in found["components"]["schemas"])


def test_uploads_without_a_marker_are_files_of_a_form() -> None:
    async def upload(picture: UploadFile, more: list[UploadFile]) -> None: ...

    body = operation(upload, method="post")["requestBody"]
    assert list(body["content"]) == ["multipart/form-data"]
    properties = body["content"]["multipart/form-data"]["schema"]["properties"]
    assert properties["picture"]["format"] == properties["more"]["items"]["format"] == "binary"


def test_the_routes_of_a_blueprint_are_described_where_they_are() -> None:
    part = Blueprint()
    part.add_route("/items/{id:int}", none)
    app = Ember()
    app.add_blueprint(part, prefix="/v1")
    assert list(document(app)["paths"]) == ["/v1/items/{id}"]


def forty_routes() -> Ember:
    """Every annotation form, many times over."""
    app = Ember(title="Forty", version="2")
    sequence: Any = list
    bodies = [Item, Model, Point, Patch, Crate, list[Item], dict[str, int], Mixed, Item | None]
    scalars = [
        int,
        float,
        str,
        bool,
        date,
        uuid.UUID,
        Decimal,
        Color,
        Literal["a", "b"],
        int | None,
    ]

    def post(body: Any) -> Any:
        async def create(body: Any) -> Any:
            return body

        create.__annotations__.update({"body": body, "return": body})
        return create

    def get(kind: Any, default: Any) -> Any:
        async def show(value: Any = default) -> None: ...

        show.__annotations__["value"] = kind
        return show

    for number, body in enumerate(bodies):
        app.add_route(f"/bodies/{number}", post(body), ["POST", "PUT"], tags=["bodies"])
    for number, kind in enumerate(scalars):
        app.add_route(f"/scalars/{number}", get(kind, None))
        app.add_route(f"/lists/{number}", get(sequence[kind], []))
    for number, handler in enumerate((none, text, raw, items, maybe, pair, either, stream, events)):
        app.add_route(f"/answers/{number}", handler)

    @app.get("/path/{a}/{b:int}/{c:uuid}/{d:path}")
    async def path(a: Annotated[str, Path(max_length=3)], b: int, c: uuid.UUID, d: str) -> str:
        return d

    @app.get("/headers")
    async def headers(
        page: Annotated[Page, Header()], x_a: Annotated[list[str], Header()]
    ) -> None: ...

    return app


def test_forty_routes_with_every_annotation_make_a_valid_document() -> None:
    app = forty_routes()
    assert len(app.routes) >= 40
    app.freeze()
    found = document(app)
    validate(found)
    assert sum(len(item) for item in found["paths"].values()) >= 40


def test_the_document_is_served_and_made_again_when_routes_are_added() -> None:
    app = forty_routes()

    async def main() -> None:
        async with app.test_client() as c:
            response = await c.get("/openapi.json")
            assert response.headers["content-type"] == "application/json"
            assert response.json() == document(app)
            app.add_route("/late", none)
            assert "/late" in (await c.get("/openapi.json")).json()["paths"]

    asyncio.run(main())


def test_the_document_can_be_elsewhere_or_nowhere() -> None:
    async def main() -> None:
        async with Ember(openapi_url="/api/spec", docs_url=None).test_client() as c:
            assert (await c.get("/api/spec")).json()["openapi"] == "3.1.0"
            assert (await c.get("/docs")).status_code == 404
        async with Ember(openapi_url=None).test_client() as c:
            assert (await c.get("/openapi.json")).status_code == 404
            assert (await c.get("/docs")).status_code == 404
        app = Ember()

        @app.get("/docs")
        async def own() -> str:
            return "mine"

        async with app.test_client() as c:
            assert (await c.get("/docs")).text == "mine"

    asyncio.run(main())


def test_a_path_that_some_hosts_have_to_themselves_is_described_for_the_others() -> None:
    app, admin = Ember(), Blueprint(hosts=["admin.x", "[::1]"])

    @admin.get("/")
    async def dashboard() -> str:
        return "admin"

    @admin.get("/users")
    async def users() -> list[int]:
        return []

    app.add_blueprint(admin)

    @app.get("/")
    async def index() -> str:
        return "public"

    described = document(app)
    validate(described)
    paths = described["paths"]
    assert paths["/"]["get"]["operationId"] == "index"
    assert "servers" not in paths["/"]["get"]
    assert paths["/users"]["get"]["servers"] == [{"url": "//admin.x"}, {"url": "//[::1]"}]

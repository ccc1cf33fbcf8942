"""What the document forbids is refused, and no input is a failure of ours."""

from __future__ import annotations

import dataclasses
import datetime
import re
from decimal import Decimal
from typing import Annotated, Any, TypedDict
from urllib.parse import quote

import msgspec
import pydantic
import pytest
from ember import Body, Depends, Ember, Form, Path, Query, Request
from ember.schema import codec_for

from tests.support.server import ServeFixture

JSON = {"Content-Type": "application/json"}
MSGPACK = {"Content-Type": "application/msgpack"}


class Tree(msgspec.Struct):
    kids: list[Tree] = []


@dataclasses.dataclass
class DataTree:
    kids: list[DataTree] = dataclasses.field(default_factory=list)


class ModelTree(pydantic.BaseModel):
    kids: list[ModelTree] = []


class Typed(TypedDict, total=False):
    kids: list[Any]


DEPTH = 5000
KIDS = '{"kids":[' * DEPTH + "]}" * DEPTH
#: Deep enough for Python's own functions, and wrong at the bottom.
WRONG = '{"kids":[' * 300 + '{"kids":1}' + "]}" * 300


# -- depth ------------------------------------------------------------------------------------


@pytest.mark.parametrize("kind", [Tree, DataTree, ModelTree, Typed, dict, Annotated[Any, Body()]])
def test_json_that_is_nested_deeper_than_the_stack_is_400(kind: Any, serve: ServeFixture) -> None:
    app = Ember()

    async def whole(x: kind) -> str:
        return "ok"

    async def member(x: kind, y: dict) -> str:  # type: ignore[type-arg]
        return "ok"

    app.post("/whole")(whole)
    app.post("/member")(member)
    running = serve(app)
    answer = running.request("POST", "/whole", KIDS.encode(), JSON)
    assert answer.status == 400, answer.body
    answer = running.request("POST", "/member", f'{{"y":{{}},"x":{KIDS}}}'.encode(), JSON)
    assert answer.status == 400, answer.body
    deep = b"\x81\xa4kids\x91" * DEPTH + b"\x80"
    assert running.request("POST", "/whole", deep, MSGPACK).status in (400, 422)


@pytest.mark.parametrize("kind", [Tree, DataTree, ModelTree])
def test_an_error_at_a_depth_is_not_ours(kind: Any, serve: ServeFixture) -> None:
    app = Ember()

    async def handler(x: kind) -> str:
        return "ok"

    app.post("/")(handler)
    answer = serve(app).request("POST", "/", WRONG.encode(), JSON)
    assert answer.status in (400, 422), answer.body


@pytest.mark.parametrize("body", [b"\xc1", b"\x81", b"", b"\x92\x01", b"\xd9\xff"])
@pytest.mark.parametrize("kind", [Tree, ModelTree])
def test_broken_msgpack_is_400(kind: Any, body: bytes, serve: ServeFixture) -> None:
    app = Ember()

    async def handler(x: kind) -> str:
        return "ok"

    app.post("/")(handler)
    assert serve(app).request("POST", "/", body, MSGPACK).status in (400, 422)


def test_request_json_says_what_is_wrong_with_the_depth(serve: ServeFixture) -> None:
    app = Ember()

    @app.post("/")
    async def handler(request: Request) -> str:
        await request.json()
        return "ok"

    assert serve(app).request("POST", "/", KIDS.encode(), JSON).status == 400


# -- decimals ---------------------------------------------------------------------------------

NO_DECIMALS = [
    "NaN",
    "sNaN",
    "Infinity",
    "-Infinity",
    "1_0",
    "\u0663",
    "1e999999999",
    "1e10000",
    " 1 ",
    "1\n",
    "1.",
    ".5",
    "",
    "0x1",
    "--1",
    "1e",
]
DECIMALS = ["0", "-0.0", "+1.50", "1e9999", "1E-9999", "9" * 5000, "0." + "1" * 5000]


class Price(msgspec.Struct):
    x: Decimal | None
    all: list[Decimal] = []


def test_a_decimal_takes_what_its_schema_says_and_nothing_else(serve: ServeFixture) -> None:
    app = Ember()

    @app.get("/q")
    async def query(x: Decimal) -> dict[str, Any]:
        return {"x": x}

    @app.get("/optional")
    async def optional(x: Decimal | None = None) -> dict[str, Any]:
        return {"x": x}

    @app.get("/list")
    async def several(x: Annotated[list[Decimal], Query()]) -> dict[str, Any]:
        return {"x": x}

    @app.get("/p/{x}")
    async def path(x: Decimal) -> dict[str, Any]:
        return {"x": x}

    @app.post("/body")
    async def body(x: Price) -> dict[str, Any]:
        return {"x": x.x}

    running = serve(app)
    document = msgspec.json.decode(running.get("/openapi.json").body)
    pattern = document["paths"]["/q"]["get"]["parameters"][0]["schema"]["pattern"]
    # As ECMA-262 reads it.
    fits = re.compile(pattern.replace("$", r"\Z")).search
    for text in (*NO_DECIMALS, *DECIMALS):
        expected = 200 if fits(text) else 422
        assert expected == (200 if text in DECIMALS else 422)
        for where in ("/q?x=", "/optional?x=", "/list?x=1&x="):
            answer = running.get(where + quote(text))
            assert answer.status == expected, (where, text, answer.body)
        if text and "/" not in text and len(text) < 100:
            assert running.get(f"/p/{quote(text)}").status == expected, text
        sent = msgspec.json.encode({"x": text})
        assert running.request("POST", "/body", sent, JSON).status == expected, text
        sent = msgspec.json.encode({"x": None, "all": ["1", text]})
        answer = running.request("POST", "/body", sent, JSON)
        assert answer.status == expected, text
        if expected == 422:
            assert msgspec.json.decode(answer.body)["errors"][0]["loc"] == ["body", "all", 1]
        sent = msgspec.msgpack.encode({"x": text})
        assert running.request("POST", "/body", sent, MSGPACK).status == expected, text


@pytest.mark.parametrize(
    ("number", "status"), [("1.50", 200), ("1e999999999", 422), ("12345678901234567890.1", 200)]
)
def test_a_json_number_as_a_decimal_is_exact_and_of_common_size(
    number: str, status: int, serve: ServeFixture
) -> None:
    app = Ember()

    @app.post("/")
    async def body(x: Price) -> dict[str, Any]:
        return {"x": x.x}

    answer = serve(app).request("POST", "/", f'{{"x":{number}}}'.encode(), JSON)
    assert answer.status == status
    if status == 200:
        assert answer.body == f'{{"x":"{number}"}}'.encode()


@pytest.mark.parametrize(
    ("annotation", "good", "bad"),
    [
        (
            Annotated[Decimal, Query(multiple_of=0.1)],
            ["1e9999", "0.3", "-1.1"],
            ["0.25", "1e-9999"],
        ),
        (Annotated[Decimal, Query(gt=0)], ["1e-9999"], ["NaN", "-1e9999", "0"]),
        (Annotated[int, Query(multiple_of=3)], ["9" * 30, "0", "-3"], ["1" + "0" * 30]),
        (Annotated[float, Query(multiple_of=0.5)], ["1e300", "1.5"], ["nan", "inf", "0.3"]),
        (Annotated[datetime.timedelta, Query(gt=datetime.timedelta(0))], ["PT1S"], ["-P1D"]),
    ],
)
def test_bounds_of_numbers_of_any_size_are_answered(
    annotation: Any, good: list[str], bad: list[str], serve: ServeFixture
) -> None:
    app = Ember()

    async def handler(x: annotation) -> str:
        return "ok"

    app.get("/")(handler)
    running = serve(app)
    for text in good:
        assert running.get(f"/?x={quote(text)}").status == 200, text
    for text in bad:
        assert running.get(f"/?x={quote(text)}").status == 422, text


# -- patterns ---------------------------------------------------------------------------------


class Named(msgspec.Struct):
    q: Annotated[str, msgspec.Meta(pattern="^[a-z]+$")]


class Model(pydantic.BaseModel):
    q: Annotated[str, pydantic.Field(pattern="^[a-z]+$")]


def test_the_end_of_a_pattern_is_the_end_of_the_text(serve: ServeFixture) -> None:
    app = Ember()

    @app.get("/query")
    async def query(q: Annotated[str, Query(pattern="^[a-z]+$")]) -> str:
        return q

    @app.get("/path/{q}")
    async def path(q: Annotated[str, Path(pattern="^[a-z]+$")]) -> str:
        return q

    @app.post("/form")
    async def form(q: Annotated[str, Form(pattern="^[a-z]+$")]) -> str:
        return q

    @app.post("/struct")
    async def struct(x: Named) -> Any:
        return x

    @app.post("/nested")
    async def nested(x: dict[str, list[Named]]) -> Any:
        return x

    @app.post("/pydantic")
    async def model(x: Model) -> Any:
        return x

    running = serve(app)
    form_type = {"Content-Type": "application/x-www-form-urlencoded"}
    for text, status in (("abc", 200), ("abc\n", 422)):
        sent = msgspec.json.encode({"q": text})
        escaped = sent.replace(b"\\n", b"\\u000a")
        nested_body = msgspec.json.encode({"k": [{"q": text}]})
        assert running.get(f"/query?q={quote(text)}").status == status
        assert running.get(f"/path/{quote(text)}").status == status
        assert running.request("POST", "/form", f"q={quote(text)}".encode(), form_type).status == (
            status
        )
        for path_ in ("/struct", "/pydantic"):
            assert running.request("POST", path_, sent, JSON).status == status
            assert running.request("POST", path_, escaped, JSON).status == status
        assert running.request("POST", "/nested", nested_body, JSON).status == status
        packed = msgspec.msgpack.encode({"q": text})
        assert running.request("POST", "/struct", packed, MSGPACK).status == status


@pytest.mark.once
@pytest.mark.parametrize(
    ("pattern", "text", "passes"),
    [
        (r"^a[$]\n$", "a$\n", True),
        (r"^a\$\n$", "a$\n", True),
        (r"^a$|b", "a\n", False),
        (r"^[^$]+\n$", "ab\n", True),
        (r"a", "a\n", True),
    ],
)
def test_only_a_dollar_that_is_an_anchor_is_the_end(pattern: str, text: str, passes: bool) -> None:
    codec = codec_for(str, {"pattern": pattern})
    if passes:
        assert codec.convert(text) == text
    else:
        with pytest.raises(codec.errors):
            codec.convert(text)


# -- times ------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    "annotation", [datetime.datetime, datetime.timedelta, datetime.datetime | None]
)
@pytest.mark.parametrize("text", ["1700000000", "-5", "1.5", "1e5"])
def test_a_number_is_no_date_and_no_duration(
    annotation: Any, text: str, serve: ServeFixture
) -> None:
    app = Ember()

    async def handler(x: annotation) -> str:
        return "ok"

    app.get("/")(handler)
    assert serve(app).get(f"/?x={text}").status == 422


# -- classes as dependencies ------------------------------------------------------------------


class Page(pydantic.BaseModel):
    limit: int = pydantic.Field(10, le=100)

    @pydantic.model_validator(mode="after")
    def even(self) -> Page:
        if self.limit % 2:
            raise ValueError("limit must be even")
        return self

    @pydantic.field_validator("limit")
    @classmethod
    def not_seven(cls, value: int) -> int:
        if value == 7:
            raise ValueError("not seven")
        return value


@dataclasses.dataclass
class DataPage:
    limit: int = 10

    def __post_init__(self) -> None:
        if self.limit % 2:
            raise ValueError("limit must be even")


class StructPage(msgspec.Struct):
    limit: int = 10

    def __post_init__(self) -> None:
        if self.limit % 2:
            raise ValueError("limit must be even")


@pytest.mark.parametrize("cls", [Page, DataPage, StructPage])
def test_what_a_data_class_refuses_as_a_dependency_is_422(cls: Any, serve: ServeFixture) -> None:
    app = Ember()

    async def items(page: Annotated[cls, Depends()]) -> dict[str, int]:
        return {"limit": page.limit}

    app.get("/")(items)
    running = serve(app)
    assert running.get("/?limit=4").body == b'{"limit":4}'
    answer = running.get("/?limit=3")
    assert answer.status == 422
    (found,) = msgspec.json.decode(answer.body)["errors"]
    assert found["loc"] == ["query"]
    assert "limit must be even" in found["msg"]
    if cls is Page:
        (found,) = msgspec.json.decode(running.get("/?limit=7").body)["errors"]
        assert found["loc"] == ["query", "limit"]

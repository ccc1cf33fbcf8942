"""Forms: without a body, with inputs that nobody used, with files and JSON inside of a class."""

from __future__ import annotations

import dataclasses
import json
from collections.abc import Callable
from typing import Annotated, Any

import msgspec
import pydantic
import pytest
from ember import Ember, Form, Header, Query, UploadFile

from tests.support.server import Answer, ServeFixture

URLENCODED = {"Content-Type": "application/x-www-form-urlencoded"}
MULTIPART = {"Content-Type": "multipart/form-data; boundary=X"}
END = b"--X--\r\n"

Handler = Callable[..., Any]


def part(name: str, content: bytes, filename: str | None = None) -> bytes:
    file = "" if filename is None else f'; filename="{filename}"'
    head = f'--X\r\nContent-Disposition: form-data; name="{name}"{file}\r\n\r\n'
    return head.encode() + content + b"\r\n"


@pytest.fixture
def post(serve: ServeFixture) -> Callable[..., Answer]:
    def send(handler: Handler, body: bytes = b"", headers: dict[str, str] | None = None) -> Answer:
        app = Ember()
        app.post("/")(handler)
        return serve(app).request("POST", "/", body or None, headers)

    return send


Post = Callable[..., Answer]


def value(answer: Answer) -> Any:
    assert answer.status == 200, answer.body
    return json.loads(answer.body)


# -- nothing was sent -------------------------------------------------------------------------


class Fields(msgspec.Struct):
    a: str = "default"
    b: int | None = None


def test_an_optional_form_without_a_body_has_its_deerrors(post: Post) -> None:
    async def field(a: Annotated[str, Form()] = "default") -> str:
        return a

    async def file(f: UploadFile | None = None) -> str:
        return "default" if f is None else "file"

    async def files(f: list[UploadFile] = []) -> str:  # noqa: B006
        return "default" if f == [] else "files"

    async def whole(form: Annotated[Fields, Form()]) -> str:
        return form.a

    async def optional(form: Annotated[Fields | None, Form()] = None) -> str:
        return "default" if form is None else "form"

    for handler in (field, file, files, whole, optional):
        assert post(handler).body == b"default", handler


def test_a_required_field_without_a_body_is_missing(post: Post) -> None:
    async def field(a: Annotated[str, Form()]) -> str:
        return a

    async def file(f: UploadFile) -> str:
        return f.filename

    for handler, place in ((field, ["body", "a"]), (file, ["body", "f"])):
        answer = post(handler)
        assert answer.status == 422
        (found,) = json.loads(answer.body)["errors"]
        assert (found["loc"], found["type"]) == (place, "missing")


def test_a_body_without_a_type_is_still_not_guessed_at(post: Post) -> None:
    async def field(a: Annotated[str, Form()] = "default") -> str:
        return a

    assert post(field, b"a=1").status == 415
    assert post(field, b"{}", {"Content-Type": "application/json"}).status == 415


# -- inputs that nobody used ------------------------------------------------------------------

UNUSED = {
    "an empty text": part("f", b""),
    "a browser's empty input": part("f", b"", ""),
    "nothing": b"",
}


class Upload(msgspec.Struct):
    f: UploadFile | None = None
    all: list[UploadFile] = []


@pytest.mark.parametrize("unused", UNUSED.values(), ids=UNUSED.keys())
def test_an_input_that_nobody_used_is_no_file(unused: bytes, post: Post) -> None:
    async def one(f: UploadFile | None = None) -> bool:
        return f is not None

    async def many(f: list[UploadFile] = []) -> bool:  # noqa: B006
        return bool(f)

    async def content(f: Annotated[bytes | None, msgspec.Meta()] = None) -> bool:
        return f is not None

    async def struct(x: Annotated[Upload, Form()]) -> bool:
        return x.f is not None

    for handler in (one, many, struct):
        assert value(post(handler, unused + END, MULTIPART)) is False

    async def required(f: UploadFile) -> bool:
        return True

    answer = post(required, unused + END, MULTIPART)
    assert answer.status == 422
    assert json.loads(answer.body)["errors"][0]["type"] == "missing"


def test_a_file_without_a_name_or_without_content_is_one(post: Post) -> None:
    async def many(f: list[UploadFile]) -> list[list[Any]]:
        return [[upload.filename, upload.size] for upload in f]

    body = part("f", b"x", "") + part("f", b"", "empty.txt") + part("f", b"", "") + END
    assert value(post(many, body, MULTIPART)) == [["", 1], ["empty.txt", 0]]


def test_text_where_a_file_is_expected_is_still_an_error(post: Post) -> None:
    async def one(f: UploadFile | None = None) -> bool:
        return f is not None

    assert post(one, part("f", b"text") + END, MULTIPART).status == 422


# -- files inside of a class ------------------------------------------------------------------


@dataclasses.dataclass
class DataUpload:
    f: UploadFile
    name: str = ""
    all: list[UploadFile] = dataclasses.field(default_factory=list)


class StructUpload(msgspec.Struct):
    f: UploadFile
    name: str = ""
    all: list[UploadFile] = []


class ModelUpload(pydantic.BaseModel):
    f: UploadFile
    name: str = ""
    all: list[UploadFile] = []


@pytest.mark.parametrize("cls", [DataUpload, StructUpload, ModelUpload])
@pytest.mark.parametrize("marked", [True, False])
def test_a_class_takes_files(cls: Any, marked: bool, serve: ServeFixture) -> None:
    app = Ember()

    async def handler(x: Annotated[cls, Form()]) -> Any:
        return [(await x.f.read()).decode(), x.name, [file.filename for file in x.all]]

    async def unmarked(x: cls) -> Any:
        return [(await x.f.read()).decode(), x.name, [file.filename for file in x.all]]

    app.post("/")(handler if marked else unmarked)
    running = serve(app)
    body = part("name", b"n") + part("f", b"content", "a") + part("all", b"", "b")
    answer = running.request("POST", "/", body + part("all", b"1", "c") + END, MULTIPART)
    assert value(answer) == ["content", "n", ["b", "c"]]
    answer = running.request("POST", "/", part("f", b"text") + END, MULTIPART)
    assert answer.status == 422
    assert json.loads(answer.body)["errors"][0]["loc"] == ["body", "f"]
    answer = running.request("POST", "/", part("name", b"n") + END, MULTIPART)
    assert answer.status == 422
    document = json.loads(running.get("/openapi.json").body)
    content = document["paths"]["/"]["post"]["requestBody"]["content"]
    assert list(content) == ["multipart/form-data"]
    (file,) = [
        schema["properties"]["f"]
        for schema in document["components"]["schemas"].values()
        if "f" in schema.get("properties", {})
    ]
    assert file["contentMediaType"] == "application/octet-stream"


# -- JSON inside of text ----------------------------------------------------------------------


class Meta(pydantic.BaseModel):
    a: int


class WithJSON(pydantic.BaseModel):
    meta: pydantic.Json[Meta]
    numbers: pydantic.Json[list[int]] = []


def test_json_in_a_text_is_one_value(post: Post, serve: ServeFixture) -> None:
    async def numbers(x: Annotated[pydantic.Json[list[int]], Form()]) -> Any:
        return x

    async def model(x: Annotated[pydantic.Json[Meta], Form()]) -> Any:
        return x

    async def optional(x: Annotated[pydantic.Json[list[int]] | None, Form()] = None) -> Any:
        return [] if x is None else x

    async def whole(x: Annotated[WithJSON, Form()]) -> Any:
        return [x.meta.a, x.numbers]

    assert value(post(numbers, b"x=[1,2]", URLENCODED)) == [1, 2]
    assert value(post(model, b'x={"a":1}', URLENCODED)) == {"a": 1}
    assert value(post(optional, b"x=[1,2]", URLENCODED)) == [1, 2]
    assert value(post(optional, b"", URLENCODED)) == []
    assert value(post(whole, b'meta={"a":1}&numbers=[3]', URLENCODED)) == [1, [3]]
    for handler in (numbers, model, optional):
        assert post(handler, b"x=[1", URLENCODED).status == 422
        assert post(handler, b'x={"a":"b"}', URLENCODED).status == 422
    app = Ember()

    @app.get("/unmarked")
    async def unmarked(x: pydantic.Json[list[int]], y: pydantic.Json = None) -> Any:
        return [x, y]

    @app.get("/header")
    async def header(x: Annotated[pydantic.Json[list[int]], Header()]) -> Any:
        return x

    running = serve(app)
    assert value(running.get("/unmarked?x=[1]&y=%7B%22b%22:[2]%7D")) == [[1], {"b": [2]}]
    assert value(running.get("/header", {"X": "[1, 2]"})) == [1, 2]
    assert running.get("/openapi.json").status == 200


# -- aliases of pydantic ----------------------------------------------------------------------


class Aliased(pydantic.BaseModel):
    model_config = pydantic.ConfigDict(populate_by_name=True)

    first: int = pydantic.Field(0, validation_alias=pydantic.AliasChoices("one", "uno"))
    third: str = pydantic.Field("", validation_alias=pydantic.AliasPath("list", 1))
    plain: int = pydantic.Field(0, alias="wire")
    required: str = pydantic.Field(validation_alias=pydantic.AliasChoices("needed", "must"))


def test_every_name_that_an_alias_allows_is_read(post: Post, serve: ServeFixture) -> None:
    async def handler(x: Annotated[Aliased, Form()]) -> Any:
        return [x.first, x.third, x.plain, x.required]

    async def query(x: Annotated[Aliased, Query()], other: int = 0) -> Any:
        return [x.first, x.third, x.plain, x.required]

    app = Ember()
    app.get("/")(query)
    running = serve(app)
    for sent, expected in (
        ("one=1&needed=a", [1, "", 0, "a"]),
        ("uno=2&must=b&wire=3", [2, "", 3, "b"]),
        ("one=1&uno=2&needed=a&must=b", [1, "", 0, "a"]),
        ("list=x&list=y&needed=a", [0, "y", 0, "a"]),
        ("first=4&plain=5&required=c", [4, "", 5, "c"]),
    ):
        assert value(post(handler, sent.encode(), URLENCODED)) == expected, sent
        assert value(running.get(f"/?{sent}&other=1")) == expected, sent
    assert post(handler, b"one=1", URLENCODED).status == 422


def test_a_model_that_forbids_more_is_told_of_what_is_not_its_own(post: Post) -> None:
    class Strict(pydantic.BaseModel):
        model_config = pydantic.ConfigDict(extra="forbid")
        a: int = pydantic.Field(validation_alias=pydantic.AliasChoices("one", "uno"))
        f: UploadFile | None = None

    async def handler(x: Annotated[Strict, Form()]) -> Any:
        return x.a

    unused = part("f", b"", "")
    assert value(post(handler, part("uno", b"1") + unused + END, MULTIPART)) == 1
    both = part("one", b"1") + part("uno", b"2")
    assert value(post(handler, both + END, MULTIPART)) == 1
    assert post(handler, part("uno", b"1") + part("b", b"2") + END, MULTIPART).status == 422

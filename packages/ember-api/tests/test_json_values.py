"""Values of other libraries in JSON, in every place where JSON is written."""

from __future__ import annotations

import collections
import dataclasses
import ipaddress
import json
import pathlib
import types
from collections.abc import Callable
from typing import Any

import msgspec
import pydantic
import pytest
from ember import Ember, JSONResponse
from ember._json import NoJSONForm, dumps, json_form
from ember.responses.conversion import encode_json
from ember.responses.sse import ServerSentEvent
from ember.responses.token_stream import SSEWriter
from markupsafe import Markup

from tests.support.server import ServeFixture


class Cents(int):
    def __int__(self) -> int:
        raise AssertionError("not asked")


class Ratio(float):
    pass


class Model(pydantic.BaseModel):
    url: pydantic.HttpUrl = pydantic.HttpUrl("http://x.y/")
    secret: pydantic.SecretStr = pydantic.SecretStr("s")


class Struct(msgspec.Struct):
    html: str


@dataclasses.dataclass
class Data:
    path: Any


VALUES: list[tuple[Any, Any]] = [
    (Markup("<b>"), "<b>"),
    (Cents(5), 5),
    (Ratio(0.5), 0.5),
    (pydantic.HttpUrl("http://x.y/"), "http://x.y/"),
    (pydantic.SecretStr("s"), "**********"),
    (pathlib.PurePosixPath("/a"), "/a"),
    (pathlib.Path("/a"), "/a"),
    (ipaddress.ip_address("::1"), "::1"),
    (ipaddress.ip_network("10.0.0.0/8"), "10.0.0.0/8"),
    (collections.deque([1, 2]), [1, 2]),
    (collections.UserList([1]), [1]),
    (collections.UserDict({"a": 1}), {"a": 1}),
    (types.MappingProxyType({"a": Cents(1)}), {"a": 1}),
    (collections.ChainMap({"a": 1}, {"b": 2}), {"a": 1, "b": 2}),
    ({"a": 1}.keys(), ["a"]),
    ({"a": 1}.values(), [1]),
    (range(3), [0, 1, 2]),
    ({Markup("k"): Markup("v")}, {"k": "v"}),
    (Struct(Markup("x")), {"html": "x"}),
    (Data(pathlib.Path("/a")), {"path": "/a"}),
    (Model().model_dump(), {"url": "http://x.y/", "secret": "**********"}),
    ([Model()], [{"url": "http://x.y/", "secret": "**********"}]),
]


@pytest.mark.once
@pytest.mark.parametrize("write", [dumps, encode_json])
@pytest.mark.parametrize(("value", "expected"), VALUES, ids=lambda v: type(v).__name__)
def test_they_are_written_wherever_they_stand(
    value: Any, expected: Any, write: Callable[[Any], bytes]
) -> None:
    assert json.loads(write({"x": value})) == {"x": expected}
    assert json.loads(write([value])) == [expected]
    assert json.loads(write(value)) == expected


@pytest.mark.once
def test_without_msgspec_and_orjson_they_are_written_too() -> None:
    assert json.loads(json.dumps({"x": pathlib.Path("/a")}, default=json_form)) == {"x": "/a"}


@pytest.mark.once
def test_a_generator_is_a_list_once() -> None:
    assert encode_json({"x": (n for n in range(2))}) == b'{"x":[0,1]}'


@pytest.mark.once
@pytest.mark.parametrize("write", [dumps, encode_json])
def test_what_has_no_form_is_named(write: Callable[[Any], bytes]) -> None:
    class Engine: ...

    with pytest.raises(NoJSONForm, match=r"type .*Engine has no JSON form"):
        write({"x": Engine()})


def test_answers_are_made_of_them(serve: ServeFixture) -> None:
    app = Ember()

    @app.get("/mapping")
    async def mapping() -> Any:
        return types.MappingProxyType({"a": Markup("b")})

    @app.get("/deque")
    async def queue() -> Any:
        return collections.deque([ipaddress.ip_address("10.0.0.1")])

    @app.get("/response")
    async def response() -> JSONResponse:
        return JSONResponse({"path": pathlib.Path("/a")})

    running = serve(app)
    assert running.get("/mapping").body == b'{"a":"b"}'
    assert running.get("/deque").body == b'["10.0.0.1"]'
    assert running.get("/response").body == b'{"path":"/a"}'


# -- surrogates -------------------------------------------------------------------------------

LONE = "a\ud83d"


@pytest.mark.once
@pytest.mark.parametrize("write", [dumps, encode_json])
@pytest.mark.parametrize(
    ("value", "expected"),
    [
        ({"t": LONE}, {"t": LONE}),
        ([LONE, pathlib.Path("/a")], [LONE, "/a"]),
        (Struct(LONE), {"html": LONE}),
        ({LONE: Data(Markup("x"))}, {LONE: {"path": "x"}}),
    ],
)
def test_half_a_character_is_an_escape_in_json(
    value: Any, expected: Any, write: Callable[[Any], bytes]
) -> None:
    written = write(value)
    assert written.isascii()
    assert json.loads(written) == expected


@pytest.mark.once
def test_half_a_character_is_replaced_in_text() -> None:
    assert ServerSentEvent(LONE).encode() == "data: a\ufffd\n\n".encode()
    assert rb"a\ud83d" in SSEWriter.encode_token(LONE)
    assert ServerSentEvent({"t": LONE}).encode() == b'data: {"t":"a\\ud83d"}\n\n'

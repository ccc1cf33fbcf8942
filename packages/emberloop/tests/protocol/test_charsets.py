"""`request.text()`: which charsets a client may name, and what the others cost."""

from __future__ import annotations

import encodings
from typing import Any

import pytest
from ember.exceptions import BadRequest, UnsupportedMediaType
from ember.protocol.message.charsets import CHARSETS, codec_of, decode_text, parameter
from ember.request import Request

from tests.support.app import App
from tests.support.growth import assert_linear
from tests.support.server import ServeFixture


async def text(request: Request) -> Any:
    return {"text": await request.text()}


def test_text_is_decoded_by_the_charset_of_its_type(serve: ServeFixture) -> None:
    server = serve(App({"/": text}))
    for charset, body in [
        ("utf-8", b"caf\xc3\xa9"),
        ("ISO-8859-1", b"caf\xe9"),
        ('"windows-1252"', b"caf\xe9"),
        ("utf-16le", "café".encode("utf-16-le")),
    ]:
        answer = server.request(
            "POST", "/", body, {"Content-Type": f"text/plain;charset={charset}"}
        )
        assert (answer.status, answer.body) == (200, '{"text":"café"}'.encode()), charset
    assert server.request("POST", "/", b"abc").status == 200


@pytest.mark.parametrize(
    "charset", ["punycode", "undefined", "idna", "hex", "rot13", "unicode_escape", "utf-7", "nope"]
)
def test_another_charset_is_415(charset: str, serve: ServeFixture) -> None:
    fields = {"Content-Type": f"text/plain; charset={charset}"}
    answer = serve(App({"/": text})).request("POST", "/", b"a-bc", fields)
    assert answer.status == 415
    assert b"utf-8" in answer.body


def test_what_is_not_in_its_charset_is_400(serve: ServeFixture) -> None:
    server = serve(App({"/": text}))
    for charset in ("utf-8", "us-ascii", "utf-16le"):
        fields = {"Content-Type": f"text/plain; charset={charset}"}
        assert server.request("POST", "/", b"caf\xe9\xff", fields).status == 400


@pytest.mark.once
def test_no_name_of_a_client_reaches_the_codecs_of_python() -> None:
    cache: dict[str, Any] = vars(encodings)["_cache"]
    known = set(cache)
    for number in range(100):
        with pytest.raises(UnsupportedMediaType):
            decode_text(b"x", f"text/plain; charset=own-{number}")
    assert set(cache) == known


@pytest.mark.once
@pytest.mark.parametrize("charset", CHARSETS)
def test_every_charset_takes_linear_time(charset: str) -> None:
    assert_linear(lambda data: data.decode(codec_of(charset)), lambda n: b"a-" + b"\xc3\xa9" * n)


@pytest.mark.once
@pytest.mark.parametrize(
    ("field", "value"),
    [
        ("text/plain", None),
        ("text/plain; charset=utf-8", "utf-8"),
        ('text/plain;x="a;charset=no";charset="y\\"s" ;z', 'y"s'),
        ("text/plain ;;; CHARSET = latin1 ; b", "latin1"),
        ("text/plain; charset=a; charset=b", "a"),
        ("text/plain; charset", None),
        ("text/plain; charset=", ""),
        ('text/plain; x="charset=a', None),
        ("charset=a", None),
    ],
)
def test_a_parameter_is_found_outside_quotes(field: str, value: str | None) -> None:
    assert parameter(field, "charset") == value


@pytest.mark.once
@pytest.mark.parametrize(
    "unit", [";", ' ";', '"', 'b="\\"', '"";', "b=c;", 'b="c;', "=", "\\", ' =" ', "\t; "]
)
def test_parameters_take_linear_time(unit: str) -> None:
    assert_linear(
        lambda field: parameter(field, "charset"), lambda n: "a/b;" + unit * (n // len(unit))
    )


@pytest.mark.once
def test_the_fault_names_the_charset() -> None:
    with pytest.raises(BadRequest, match="us-ascii"):
        decode_text(b"\xff", "text/plain; charset=us-ascii")

"""The charset of the text in multipart forms (RFC 7578 sections 4.5 and 4.6), and what reading
costs."""

from __future__ import annotations

import json
from collections.abc import Callable

import pytest
from ember import Ember, Request, RouteLimits, UploadFile
from ember.forms.multipart import _Reader, read_multipart

from tests.support.growth import assert_linear
from tests.support.server import Answer, ServeFixture

Post = Callable[[bytes], Answer]


def part(name: bytes, content: bytes, *fields: bytes) -> bytes:
    head = b"\r\n".join([b'Content-Disposition: form-data; name="%s"' % name, *fields])
    return b"--X\r\n" + head + b"\r\n\r\n" + content + b"\r\n"


def latin(charset: bytes = b"iso-8859-1") -> bytes:
    return b"Content-Type: text/plain; charset=" + charset


@pytest.fixture
def post(serve: ServeFixture) -> Post:
    app = Ember()

    @app.post("/")
    async def take(request: Request) -> dict[str, str]:
        form = await read_multipart(request)
        return {n: v.filename if isinstance(v, UploadFile) else v for n, v in form.items()}

    server = serve(app)
    kind = {"Content-Type": "multipart/form-data; boundary=X"}
    return lambda parts: server.request("POST", "/", parts + b"--X--\r\n", kind)


def test_a_part_may_have_a_charset_of_its_own(post: Post) -> None:
    answer = post(part(b"a", b"caf\xe9", latin()) + part(b"b", "café".encode()))
    assert json.loads(answer.body) == {"a": "café", "b": "café"}


def test_the_field_charset_is_that_of_the_parts_behind_it(post: Post) -> None:
    answer = post(
        part(b"_charset_", b"windows-1252")
        + part(b"\xe9", b"\x80")
        + part(b'f"; filename="\xe9.txt', b"")
        + part(b"u", "é".encode(), latin(b"utf-8"))
    )
    assert json.loads(answer.body) == {
        "_charset_": "windows-1252",
        "é": "€",
        "f": "é.txt",
        "u": "é",
    }


@pytest.mark.parametrize("charset", [b"punycode", b"undefined", b"x" * 100])
def test_another_charset_is_415(post: Post, charset: bytes) -> None:
    assert post(part(b"a", b"x", latin(charset))).status == 415
    assert post(part(b"_charset_", charset) + part(b"a", b"x")).status == 415


@pytest.mark.parametrize(
    "form",
    [
        part(b"a", b"caf\xe9"),
        part(b"\xe9", b"x"),
        part(b'a"; filename="\xe9', b"x"),
        part(b"a", b"\xe9", latin(b"us-ascii")),
    ],
    ids=["value", "name", "file name", "part"],
)
def test_text_that_is_not_in_its_charset_is_400(post: Post, form: bytes) -> None:
    assert post(form).status == 400


@pytest.mark.once
@pytest.mark.parametrize(
    "unit",
    [
        b"\r",
        b"\n",
        b"\r\n",
        b"\r\n-",
        b"\r\n--",
        b"\r\n--X",
        b"-",
        b"\r\n--X\r\r",
        b"a",
        b"\r\r\n--",
    ],
)
@pytest.mark.parametrize("step", [7, 65536])
def test_what_looks_like_a_boundary_takes_linear_time(unit: bytes, step: int) -> None:
    def read(body: bytes) -> None:
        reader = _Reader(RouteLimits(), b"X" * 60)
        for at in range(0, len(body), step):
            reader.feed(body[at : at + step])

    head = b"--" + b"X" * 60 + b'\r\nContent-Disposition: form-data; name="a"\r\n\r\n'
    assert_linear(read, lambda n: head + unit * (n // len(unit)))


@pytest.mark.once
@pytest.mark.parametrize("unit", [b";", b'"', b'";"', b'\\"', b"a=b;", b'a="b;', b"=", b" ;"])
def test_the_fields_of_a_part_take_linear_time(unit: bytes) -> None:
    def read(body: bytes) -> None:
        for at in range(20):
            reader = _Reader(RouteLimits(), b"X")
            reader._headers = [(b"Content-Disposition", body), (b"Content-Type", body)]
            reader._parts = at
            reader._on_headers_finished()

    assert_linear(read, lambda n: b"form-data; name=a;" + unit * (n // len(unit)), 8192)


@pytest.mark.once
def test_small_parts_take_linear_time() -> None:
    def read(body: bytes) -> None:
        reader = _Reader(RouteLimits(max_parts=1 << 30), b"X")
        reader.feed(body)

    assert_linear(read, lambda n: part(b"a", b"") * (n // 50))

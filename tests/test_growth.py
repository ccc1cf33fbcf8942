"""Every reader of what clients send takes time linear in it: four times the text is at most about
four times the work.

One table of readers, each with the texts that would show a quadratic one: a unit that is repeated
behind a beginning, with an end that fits nothing. What other tests measure for one reader alone
(chunks, multipart bodies, segments of several parameters, `Forwarded`) is not measured again.
"""

from __future__ import annotations

import asyncio
import datetime
import decimal
import enum
import gzip
import ipaddress
import uuid
from collections.abc import Callable
from typing import Annotated, Any, Literal, NamedTuple

import msgspec
import pydantic
import pytest
from ember.binding.scalars import parse_bool, parse_float, parse_int
from ember.cache.fields import cache_control, delta_seconds, vary_names
from ember.cache.fields import http_date as cached_http_date
from ember.cache.key import matcher
from ember.cache.policy import not_modified
from ember.forms.multipart import _base_name, _Reader
from ember.headers import Headers
from ember.limits import RouteLimits, ServerLimits
from ember.middleware.request_ids import is_sane
from ember.observability.telemetry import _authority
from ember.protocol import MemoryConnection
from ember.protocol.http1.authority import valid_authority
from ember.protocol.http1.responses import ResponseParser
from ember.protocol.message.charsets import parameter
from ember.protocol.message.cookies import parse_cookies
from ember.protocol.message.dates import parse_http_date
from ember.protocol.message.query import QueryParams, parse_query
from ember.protocol.message.quoting import unquote
from ember.request import Request
from ember.responses.conditional import precondition, ranges
from ember.responses.negotiation import negotiate
from ember.routing.converters import built_in_converters
from ember.routing.hosts import host_name
from ember.routing.quoting import decode_path
from ember.schema import codec_for

from tests.support.app import App
from tests.support.growth import assert_linear

pytestmark = pytest.mark.once_per_build


#: What is repeated; or what it begins with, what is repeated, and what ends it.
Text = str | tuple[str, str] | tuple[str, str, str]


class Reader(NamedTuple):
    """What reads a text of a client, and the texts that it gets."""

    name: str
    read: Callable[[str], object]
    texts: tuple[Text, ...]


def _texts(text: Text) -> Callable[[int], str]:
    begin, unit, end = ("", text, "") if isinstance(text, str) else (*text, "")[:3]
    return lambda n: begin + unit * (n // len(unit)) + end


def _of(field: str, read: Callable[[Headers], object]) -> Callable[[str], object]:
    return lambda text: read(Headers([(field, text)]))


def _bytes(read: Callable[[bytes], object]) -> Callable[[str], object]:
    return lambda text: read(text.encode("latin-1"))


def _trace(text: str) -> None:
    from opentelemetry.propagate import extract

    extract({"traceparent": text, "tracestate": text, "baggage": text})


HEAD = (
    Reader(
        "Cookie",
        parse_cookies,
        (";", "=", " ", "a=b; ", ('a="', "\\"), ('a="', "\\101"), ('a="', "\\", '"'), '"', "\t"),
    ),
    Reader(
        "Accept-Encoding",
        lambda text: negotiate(text, ("br", "gzip")),
        (",", ";", ";q=", "gzip;q=1,", ("gzip;q=", "1"), ("gzip;q=", "1", "x"), " ", "*,"),
    ),
    Reader(
        "If-None-Match",
        _of("If-None-Match", lambda headers: precondition(headers, '"x"', 0)),
        ('"', "W/", 'W/"', '"a" ', ",", '"a",', '" ', ('"', "a"), " "),
    ),
    Reader(
        "If-Match",
        _of("If-Match", lambda headers: precondition(headers, '"x"', 0)),
        ('"', 'W/"', ",", '"a",', ('"', "a")),
    ),
    Reader(
        "Range",
        _of("Range", lambda headers: ranges(headers, 1 << 20, '"x"', 0)),
        (
            "bytes",
            "=",
            ("bytes=", "0-1,"),
            ("bytes=", ","),
            ("bytes=", "-"),
            ("bytes=", "0"),
            ("bytes=0-", "1", " "),
            ("bytes=", " ", "x"),
        ),
    ),
    Reader("dates", parse_http_date, ("0", ("Sun, ", "0"), ("Sun, ", " "), ("", "0", " GMT"))),
    Reader("traceparent and baggage", _trace, ("0", ("00-", "0"), "-", "a=b,", ",", "=", " ", "%")),
    Reader("the host of a blueprint", host_name, (".", ":", "[", ("[", ":"), "a.", "]")),
    Reader("the host of a span", _authority, (".", ":", "[", "]", ("[", ":"), ("a:", "0"))),
    Reader(
        "Host",
        _bytes(valid_authority),
        (
            "a",
            ".",
            ":",
            "[",
            ("[", ":"),
            ("[", "."),
            ("[", "::"),
            ("[:", "0:", "g]"),
            "%41",
            "%",
            ("", "%41", "%"),
            ("a:", "0"),
            ("a:", "0", "x"),
            "@",
        ),
    ),
    Reader(
        "Content-Type",
        lambda text: parameter("text/plain" + text, "charset"),
        (";", ';"', (';a="', "\\"), (';a="', '\\"'), ";a=", "=", "; ", ";a=b", '"', ";charse"),
    ),
    Reader("X-Request-ID", is_sane, ("a", " ", "-")),
    Reader(
        "Cache-Control",
        lambda text: cache_control([text]),
        (",", "=", '"', "\\", ('a="', "\\"), ('a="', ","), "max-age=1,", " ", ("a=", '"')),
    ),
    Reader("max-age", delta_seconds, ("1", "0", ("", "1", "x"))),
    Reader("Vary", lambda text: vary_names([text]), (",", " ", "a,", "*")),
    Reader("dates of the cache", cached_http_date, ("0", ("sun, ", "0"), " ", "\t", "sunday")),
    Reader(
        "If-None-Match of the cache",
        lambda text: not_modified("GET", [("if-none-match", text)], etag='"x"'),
        ('"', "W/", 'W/"', '"a",', '" ', ","),
    ),
)

TARGET = (
    Reader("path", decode_path, ("%", "%41", "/", "%C3%A9", "%2F", "%C3", "+", "%%41")),
    Reader("escapes", _bytes(unquote), ("%", "%4", "%41", "+", "%%41", "%C3")),
    Reader(
        "query",
        _bytes(lambda text: QueryParams(parse_query(text))),
        ("&", "=", "a&", "a=b&", "%41&", "+", "=%", ";", "a=%C3&"),
    ),
    Reader("file name", _base_name, ("/", "\\", "../", "\x00", ".")),
)

#: Keys of the cache have paths, queries and arguments in them.
KEYS = tuple(
    Reader(f"pattern {pattern}", matcher(pattern), ("a", "ab", "b", " ", ("", "a", "c")))
    for pattern in ("*a*a*a*c", "a*?*a?*b*c?", "*ab*ab*")
)

#: What looks like a number, a date, an address, for as long as it can.
ALMOST: tuple[Text, ...] = (
    "0",
    "9",
    "1.",
    "1_",
    "-",
    "+",
    ".",
    ":",
    "0:",
    "f",
    "f-",
    "%",
    " ",
    "a",
    "\n",
    "=",
    "/",
    "@",
    '"',
    "[",
    "{",
    ("", "0", "x"),
    ("", "9", "x"),
    ("-", "9"),
    ("1.", "0"),
    ("1.", "9", "x"),
    ("1e", "9"),
    ("1e-", "9"),
    ("1e", "9", "x"),
    ("0.", "0", "1"),
    ("", "1", "e99"),
    ("P", "1"),
    ("P", "1D"),
    ("PT", "1", "S"),
    ("PT0.", "1", "S"),
    ("2020-01-01T00:00:00.", "0", "Z"),
    ("2020-01-01T00:00:00+", "0"),
    ("00:00:00.", "9"),
    ("https://", "a."),
    ("https://a/", "%"),
    ("https://", "@"),
    ("a@", "a."),
    ("", "a.", "@b.c"),
    ("a@[", "0:", "]"),
    ("[", "1,", "]"),
    ('{"x":', "1", "}"),
    ('"', "\\u0041", '"'),
)


class Colour(enum.Enum):
    RED = "red"


TYPES: tuple[Any, ...] = (
    int,
    float,
    bool,
    bytes,
    decimal.Decimal,
    datetime.datetime,
    datetime.date,
    datetime.time,
    datetime.timedelta,
    uuid.UUID,
    Annotated[ipaddress.IPv4Address, pydantic.Field()],
    Annotated[ipaddress.IPv6Network, pydantic.Field()],
    Colour,
    Literal["a", "b"],
    Annotated[str, msgspec.Meta(pattern="^[a-z]+$")],
    pydantic.AnyUrl,
    pydantic.HttpUrl,
    pydantic.AwareDatetime,
    pydantic.ByteSize,
    pydantic.Json,
    pydantic.Base64Bytes,
    pydantic.IPvAnyAddress,
    pydantic.PositiveInt,
    Annotated[decimal.Decimal, pydantic.Field(max_digits=5, decimal_places=2)],
)


def _convert(annotation: Any, **constraints: Any) -> Callable[[str], object]:
    codec = codec_for(annotation, constraints)

    def read(text: str) -> None:
        try:
            codec.convert(text)
        except codec.errors as error:
            codec.field_errors(error, text, ["query", "x"], "text")

    return read


SCALARS = (
    *(Reader(f"{name} of a path", c.convert, ALMOST) for name, c in built_in_converters().items()),
    *(Reader(read.__name__, read, ALMOST) for read in (parse_int, parse_float, parse_bool)),
    *(Reader(f"{annotation} of a query", _convert(annotation), ALMOST) for annotation in TYPES),
    Reader("multiple of a Decimal", _convert(decimal.Decimal, multiple_of=3), ALMOST),
)

READERS = [pytest.param(reader, id=reader.name) for reader in (*HEAD, *TARGET, *KEYS, *SCALARS)]


@pytest.mark.parametrize("reader", READERS)
def test_a_reader_takes_linear_time(reader: Reader) -> None:
    for text in reader.texts:
        assert_linear(reader.read, _texts(text))


# -- what arrives in drips ------------------------------------------------------------------------


def _drip(text: str) -> None:
    """Byte by byte into a connection."""
    large = ServerLimits(
        max_header_size=1 << 20, max_target_size=1 << 20, max_headers=1 << 20, max_pipelined=1 << 20
    )
    connection = MemoryConnection(App(limits=large))
    for byte in text.encode("latin-1"):
        connection.feed(bytes((byte,)))


def _body(text: str) -> None:
    """Into a request whose handler has read it when it answers."""
    begin = f"POST / HTTP/1.1\r\nHost: x\r\nContent-Length: {len(text)}\r\n\r\n"

    async def echo(request: Request) -> bytes:
        return await request.body()

    async def run() -> None:
        connection = MemoryConnection(App({"/": echo}))
        connection.feed(begin.encode())
        for byte in text.encode("latin-1"):
            connection.feed(bytes((byte,)))
            await asyncio.sleep(0)
        while text not in (answer := connection.take().decode("latin-1")):
            assert not answer
            await asyncio.sleep(0)

    asyncio.run(run())


def _multipart(text: str) -> None:
    reader = _Reader(RouteLimits(max_parts=1 << 30), b"X")
    for byte in text.encode("latin-1"):
        reader.feed(bytes((byte,)))


def _inflate(text: str) -> None:
    from ember.protocol.message.content_coding import decoder

    unzip = decoder("gzip", 1 << 30)
    assert unzip is not None
    for byte in gzip.compress(text.encode("latin-1"), 0):
        unzip.put(bytes((byte,)))
        while unzip.take(65536):
            pass


def _response(text: str) -> None:
    parser = ResponseParser()
    parser.request_sent("GET")
    for byte in text.encode("latin-1"):
        parser.feed(bytes((byte,)))


HEAD_OF_PART = '--X\r\nContent-Disposition: form-data; name="'
DRIPS = (
    Reader("method", _drip, ("A", "\r\n")),
    Reader("target", _drip, (("GET /", "a"), ("GET /", "%41"), ("GET /?", "a=b&"), ("GET /", "%"))),
    Reader(
        "field",
        _drip,
        (
            ("GET / HTTP/1.1\r\nHost: x\r\nA: ", "b"),
            ("GET / HTTP/1.1\r\nHost: x\r\nA: ", " "),
            ("GET / HTTP/1.1\r\nHost: x\r\n", "a"),
            ("GET / HTTP/1.1\r\nHost: x\r\n", "a: b\r\n"),
            ("GET / HTTP/1.1\r\nHost: x\r\n", "a:\r\n"),
            ("GET / HTTP/1.1\r\nHost: ", "a."),
            ("GET / HTTP/1.1\r\nHost: [", ":"),
        ),
    ),
    Reader(
        "multipart",
        _multipart,
        ((HEAD_OF_PART, "a"), ("--", "X"), (HEAD_OF_PART + '"\r\n\r\n', "\r\n--")),
    ),
    Reader("body", _body, ("a",)),
    Reader("gzip", _inflate, ("a", "abcdefgh")),
    Reader(
        "answers",
        _response,
        (("HTTP/1.1 200 ", "a"), ("HTTP/1.1 200 OK\r\na: ", "b"), ("HTTP/1.1 200 OK\r\n\r\n", "a")),
    ),
)


@pytest.mark.parametrize("reader", [pytest.param(reader, id=reader.name) for reader in DRIPS])
def test_what_arrives_byte_by_byte_takes_linear_time(reader: Reader) -> None:
    for text in reader.texts:
        assert_linear(reader.read, _texts(text), 32768)

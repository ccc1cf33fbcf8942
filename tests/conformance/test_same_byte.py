"""Both builds judge a head at the same byte, and in the same words.

Every case of the corpus and many mutations are fed byte by byte to both; where the first answer
comes, and its bytes, must be the same; and cut in two anywhere, the same must be said.
"""

from __future__ import annotations

import random
import re
from collections.abc import Iterable, Iterator
from pathlib import Path
from typing import Any

import ember.protocol
import pytest
from ember._build import PURE
from ember.limits import ServerLimits
from ember.protocol import MemoryConnection
from ember.protocol.server.pure.memory import MemoryConnection as PureConnection

from tests.conformance.corpus import read_cases

pytestmark = [
    pytest.mark.once,
    pytest.mark.skipif(PURE, reason="there is nothing to compare with where nothing is compiled"),
]

#: Small enough to be crossed by one byte in a short test.
LIMITS = ServerLimits(max_header_size=600, max_target_size=120, max_headers=9)
BUILDS: tuple[Any, Any] = (MemoryConnection, PureConnection)
_date = re.compile(rb"(?i)\r\ndate: [^\r]*")

#: Bytes that mean something in a head, and some that may not be in one.
_PIECES = [
    *(bytes([byte]) for byte in b'\r\n\t :/?%*#@,;[]"\\^\0\x01\x1f\x7f\x80\xff0aZ'),
    *(b"\r\n", b"%00", b"%2", b"%ff", b"%C3%A9", b"HTTP/1.1", b"HTTP/2.0", b"HTTP/1.", b"http://"),
    *(b"Host: x\r\n", b"Content-Length: 1\r\n", b"Transfer-Encoding: chunked\r\n", b"A:b\r\n"),
    *(b"Expect: 100-continue\r\n", b"CONNECT ", b"OPTIONS * ", b"HEAD ", b":65536", b"[::1]:80"),
    b"a" * 130,
]


class Told:
    """Answers every request at once with what it was."""

    def __init__(self) -> None:
        self.limits = LIMITS

    def dispatch(self, request: Any) -> str:
        return f"{request.method} {request.raw_path!r} {request.query_string} {request.host}"

    def into_response(self, request: Any, value: object) -> Any:
        raise TypeError(type(value).__name__)

    def on_error(self, request: Any, error: BaseException) -> Any:
        raise error


def fed(build: Any, pieces: Iterable[bytes]) -> Iterator[tuple[bytes, bool]]:
    """After each piece: what was sent, and whether the connection is closed."""
    connection = build(Told())
    for piece in pieces:
        connection.feed(piece)
        yield _date.sub(b"", connection.take()), connection.closed
        if connection.closed:
            return


def byte_by_byte(build: Any, data: bytes) -> list[tuple[int, bytes, bool]]:
    """At which byte something was said, and what."""
    pieces = (data[at : at + 1] for at in range(len(data)))
    told = enumerate(fed(build, pieces))
    return [(at, sent, closed) for at, (sent, closed) in told if sent or closed]


def said(build: Any, pieces: Iterable[bytes]) -> bytes:
    return b"".join(sent for sent, _ in fed(build, pieces))


def check(data: bytes, cuts: Iterable[int]) -> list[tuple[int, bytes, bool]]:
    compiled, pure = (byte_by_byte(build, data) for build in BUILDS)
    assert compiled == pure, data
    whole = b"".join(sent for _, sent, _ in compiled)
    for cut in cuts:
        for build in BUILDS:
            assert said(build, (data[:cut], data[cut:])) == whole, (build, data, cut)
    return compiled


def heads() -> list[bytes]:
    """The first heads of the corpus: what comes behind them is not asked for here."""
    found: dict[bytes, None] = {}
    for case in read_cases():
        end = case.data.find(b"\r\n\r\n", 3)
        data = case.data if end < 0 else case.data[: end + 4]
        if len(data) < 700 and b"\nTransfer-Encoding" not in data and b"\nContent-L" not in data:
            found[data] = None
    return list(found)


HEADS = heads()


def test_every_head_of_the_corpus_is_judged_at_the_same_byte() -> None:
    refused = 0
    for data in HEADS:
        answers = check(data, range(1, len(data)))
        refused += any(closed for _, _, closed in answers)
    assert len(HEADS) > 150
    assert refused > 100


@pytest.mark.parametrize("seed", range(8))
def test_every_mutation_of_a_head_is_judged_at_the_same_byte(seed: int) -> None:
    dice = random.Random(seed)
    reasons = set()
    for _ in range(400):
        data = dice.choice(HEADS)
        for _ in range(dice.choice((1, 1, 1, 2, 3))):
            at = dice.randrange(len(data) + 1)
            gone = dice.choice((0, 0, 1, 1, 4))
            data = data[:at] + dice.choice(_PIECES) + data[at + gone :]
        size = max(len(data), 2)
        answers = check(data, [dice.randrange(1, size) for _ in range(3)])
        reasons.update(re.findall(rb'"detail":"([^"]*)"', b"".join(sent for _, sent, _ in answers)))
    assert len(reasons) > 12


def test_every_refusal_of_the_compiled_parser_is_one_of_the_other() -> None:
    """The words stand in two languages; each is a text of both."""
    protocol = Path(ember.protocol.__file__).parent
    header = (protocol / "http1" / "csrc" / "http1.h").read_text()
    text = r'"((?:[A-Za-z]+-?[A-Za-z]* )[^"\n(]{8,})"'
    compiled = {found for found in re.findall(text, header) if " " in found}
    files = ("pure/parser", "field_line", "framing")
    sources = "".join((protocol / "http1" / f"{name}.py").read_text() for name in files)
    # Each stands on one line there.
    assert compiled - set(re.findall(text, sources)) == set()
    assert len(compiled) > 25

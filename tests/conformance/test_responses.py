"""The corpus of responses: what a client is told of the bytes that a server sent."""

from __future__ import annotations

import random
import re
from collections.abc import Iterator
from pathlib import Path

import pytest
from ember.exceptions import InvalidResponse
from ember.protocol.http1.responses import END, Event, ResponseHead, ResponseParser

from tests.conformance.corpus import read_request

pytestmark = pytest.mark.once_per_build

CASES = Path(__file__).parent / "responses"

_section = re.compile(
    r"^## (?P<title>[^\n]+)\n\n(?P<rule>[^\n]+)\n\n(?P<requests>[^\n]+)\n\n"
    r"```http\n(?P<response>.*?)\n```\n\n```seen\n(?P<seen>.*?)\n```$",
    re.MULTILINE | re.DOTALL,
)


class Case:
    """`data` is what the server sends, in answer to requests of `methods`."""

    def __init__(self, document: str, match: re.Match[str]) -> None:
        self.id = f"{document}: {match['title']}"
        requests = match["requests"].split(", ")
        self.eof = "eof" in requests
        self.methods = [name for name in requests if name.isupper()]
        self.data = read_request(match["response"])
        self.seen = read_request(match["seen"]).replace(b"\r\n", b"\n").decode("latin-1").strip()


def read_cases() -> Iterator[Case]:
    for path in sorted(CASES.glob("*.md")):
        text = path.read_text()
        cases = [Case(path.stem, match) for match in _section.finditer(text)]
        assert len(cases) == text.count("\n## "), f"{path.name}: a case that cannot be read"
        yield from cases


def read(case: Case, cuts: list[int]) -> str:
    """What a client sees when the bytes come in pieces that end at `cuts`."""
    parser = ResponseParser()
    for method in case.methods:
        parser.request_sent(method)
    lines: list[str] = []
    body = b""

    def tell(events: list[Event]) -> None:
        nonlocal body
        for event in events:
            if isinstance(event, bytes):
                body += event
                continue
            if body:
                lines.append(f"body {body.decode('latin-1')}")
                body = b""
            if isinstance(event, ResponseHead):
                kind = "interim " if event.interim else ""
                lines.append(f"{kind}{event.status} {event.reason}".rstrip())
            else:
                assert event is END
                lines.append("end")

    end = None
    try:
        for start, stop in zip([0, *cuts], [*cuts, len(case.data)], strict=True):
            tell(parser.feed(case.data[start:stop]))
        if case.eof or parser.broken is not None:
            tell(parser.eof())
            end = "closed"
    except InvalidResponse as fault:
        end = f"fault: {fault}"
    tell([])
    if body:
        lines.append(f"body {body.decode('latin-1')}")
    if parser.unread:
        end = f"upgraded {parser.unread.decode('latin-1')}"
    if end is None:
        parser.request_sent("GET")
        try:
            parser.feed(b"HTTP/1.1 2")
            end = "open"
        except InvalidResponse:
            end = "closed"
    return "\n".join([*lines, end])


@pytest.mark.parametrize("case", list(read_cases()), ids=lambda case: case.id)
def test_a_client_is_told_the_same_however_the_bytes_are_split(case: Case) -> None:
    assert read(case, []) == case.seen
    assert read(case, list(range(1, len(case.data)))) == case.seen
    source = random.Random(case.id)
    for _ in range(10):
        size = min(len(case.data), 6)
        cuts = sorted({source.randrange(1, max(2, len(case.data))) for _ in range(size)})
        assert read(case, [cut for cut in cuts if cut < len(case.data)]) == case.seen

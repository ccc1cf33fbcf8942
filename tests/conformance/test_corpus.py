"""Every case of the corpus: in one piece, byte by byte, in random pieces, and over a socket."""

from __future__ import annotations

import asyncio
import json
import random
import re
from collections.abc import Iterable, Iterator

import pytest
from ember.protocol.server.tls import ServerTLS

from tests.conformance.corpus import Case, read_cases
from tests.conformance.runner import Outcome, application, run_pieces
from tests.support.answers import Reader
from tests.support.server import Client, Running, new_event_loop
from tests.support.tls import Authority, connect

CASES = list(read_cases())
_method = re.compile(rb"(?:^|\r\n)([A-Z]+) [^\r\n]* HTTP/1\.[0-9]\r\n")


def methods(case: Case) -> list[str]:
    """The methods of the requests of a case, as far as answers depend on them."""
    return [m.decode() for m in _method.findall(case.data)]


def pieces_of(data: bytes, cuts: Iterable[int]) -> Iterator[bytes]:
    start = 0
    for cut in sorted(cuts):
        yield data[start:cut]
        start = cut
    yield data[start:]


def check(case: Case, outcome: Outcome) -> None:
    outcome.read(methods(case))
    statuses = [answer.status for answer in outcome.answers]
    assert statuses == [status for status, _ in case.answers], outcome.sent
    for answer, (status, seen) in zip(outcome.answers, case.answers, strict=True):
        if status >= 400:
            assert answer.header("connection") == "close"
            assert answer.header("content-type") == "application/problem+json"
            if methods(case)[-1:] == ["HEAD"]:
                assert answer.body == b""
            else:
                assert json.loads(answer.body)["status"] == status
        elif seen:
            body = json.loads(answer.body)
            assert {key: body[key] for key in seen} == seen
    assert outcome.closed is case.closed


def run(pieces: Iterable[bytes]) -> Outcome:
    loop = new_event_loop()
    try:
        return loop.run_until_complete(asyncio.wait_for(run_pieces(pieces), 120))
    finally:
        loop.close()


@pytest.fixture(scope="module")
def corpus_server() -> Iterator[Running]:
    running = Running(application())
    yield running
    running.stop()


def test_the_corpus_is_there() -> None:
    assert len(CASES) > 500
    assert len({case.id for case in CASES}) == len(CASES)


@pytest.mark.parametrize("case", CASES, ids=lambda case: case.id)
def test_in_one_piece(case: Case) -> None:
    check(case, run([case.data]))


@pytest.mark.parametrize("case", CASES, ids=lambda case: case.id)
def test_byte_by_byte(case: Case) -> None:
    data = case.data
    # Of the very long ones only both ends: the middle is one letter repeated.
    size = len(data)
    cuts = range(1, size) if size < 3000 else [*range(1, 200), *range(size - 200, size)]
    check(case, run(pieces_of(data, cuts)))


@pytest.mark.parametrize("case", CASES, ids=lambda case: case.id)
def test_in_random_pieces(case: Case) -> None:
    source = random.Random(case.id)
    for _ in range(3):
        number = source.randint(1, 6)
        cuts = {source.randrange(len(case.data) + 1) for _ in range(number)}
        check(case, run(pieces_of(case.data, cuts)))


@pytest.mark.parametrize("case", CASES, ids=lambda case: case.id)
def test_over_a_socket(case: Case, corpus_server: Running) -> None:
    with corpus_server.connect() as client:
        client.send(case.data)
        check(case, receive(case, client))


@pytest.fixture(scope="module")
def secured(tmp_path_factory: pytest.TempPathFactory) -> Iterator[tuple[Running, Authority]]:
    authority = Authority(tmp_path_factory.mktemp("certificates"))
    running = Running(application(), ssl=ServerTLS(*authority.pair("localhost")))
    yield running, authority
    running.stop()


@pytest.mark.parametrize("case", CASES[::7], ids=lambda case: case.id)
def test_over_tls(case: Case, secured: tuple[Running, Authority]) -> None:
    running, authority = secured
    with connect(running, authority.client()) as client:
        client.send(case.data)
        check(case, receive(case, client))


def receive(case: Case, client: Client) -> Outcome:
    """What the server sends; of a connection that stays open, as much as is expected."""
    if case.closed:
        return Outcome(client.recv_until_close(), True)
    received = bytearray()

    def more() -> bytes:
        data = client.sock.recv(65536)
        received.extend(data)
        return data

    reader = Reader(more)
    names = iter(methods(case))
    for _ in case.answers:
        reader.answer(next(names, "GET"))
    if is_whole(case):
        # The connection is open: it takes another request.
        client.send("GET /still HTTP/1.1\r\nHost: x\r\n\r\n")
        assert json.loads(reader.answer().body)["raw_path"] == "/still"
        del received[received.rindex(b"HTTP/1.1 200") :]
    return Outcome(bytes(received), False)


def is_whole(case: Case) -> bool:
    """Whether the case leaves the server at the start of a request."""
    return bool(case.answers) and case.answers[-1][0] == 200 and "awaited" not in case.id

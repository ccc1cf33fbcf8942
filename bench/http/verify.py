"""Look at the answers before the clock runs: status, headers that matter, body byte for byte."""

from __future__ import annotations

import socket
from dataclasses import dataclass

from bench.cases import Case
from bench.process import Server, ServerFailed

__all__ = ["Answer", "ServerFailed", "check", "exchange", "read_answer", "verify"]


@dataclass(frozen=True)
class Answer:
    """One answer as it came: `wire_body` is the body with its framing, `raw` all of it."""

    status: int
    headers: dict[str, str]
    body: bytes
    wire_body: bytes
    raw: bytes


def read_answer(data: bytes) -> tuple[Answer, bytes] | None:
    """The first whole answer in `data` and what follows it; None while it is incomplete."""
    head, found, rest = data.partition(b"\r\n\r\n")
    if not found:
        return None
    first, *lines = head.decode("latin-1").split("\r\n")
    if not first.startswith("HTTP/1.1 "):
        raise ServerFailed(f"answered {first[:60]!r}")
    headers = {
        name.strip().lower(): value.strip() for name, _, value in (x.partition(":") for x in lines)
    }
    if headers.get("transfer-encoding", "").lower() == "chunked":
        body, after = b"", rest
        while True:
            size_line, found, after = after.partition(b"\r\n")
            if not found:
                return None
            size = int(size_line.partition(b";")[0], 16)
            if len(after) < size + 2:
                return None
            body, after = body + after[:size], after[size + 2 :]
            if size == 0:
                break
    elif "content-length" in headers:
        size = int(headers["content-length"])
        if len(rest) < size:
            return None
        body, after = rest[:size], rest[size:]
    else:
        raise ServerFailed("the answer has neither Content-Length nor chunked framing")
    wire = rest[: len(rest) - len(after)]
    raw = data[: len(data) - len(after)]
    return Answer(int(first.split()[1]), headers, body, wire, raw), after


def exchange(port: int, request: bytes, count: int) -> list[Answer]:
    """Send `request` `count` times in one segment over one connection; return the answers."""
    with socket.create_connection(("127.0.0.1", port), timeout=10) as s:
        s.sendall(request * count)
        answers: list[Answer] = []
        data = b""
        while len(answers) < count:
            try:
                got = s.recv(65536)
            except TimeoutError:
                raise ServerFailed(f"{len(answers)} of {count} answers within 10 s") from None
            if not got:
                raise ServerFailed(f"closed the connection after {len(answers)} of {count} answers")
            data += got
            while found := read_answer(data):
                answers.append(found[0])
                data = found[1]
        if data:
            raise ServerFailed(f"{len(data)} bytes more than was asked for")
        return answers


def check(case: Case, answer: Answer) -> None:
    """Raise ServerFailed unless `answer` is the right one for `case`."""
    if answer.status != case.status:
        raise ServerFailed(f"{case.name}: status {answer.status}: {answer.body[:80]!r}")
    body = answer.body[: len(case.body)] if case.begins else answer.body
    if body != case.body:
        raise ServerFailed(f"{case.name}: wrong body {answer.body[:80]!r}")
    kind = answer.headers.get("content-type", "none")
    if not kind.startswith(case.content_type):
        raise ServerFailed(f"{case.name}: Content-Type {kind} instead of {case.content_type}")
    if answer.headers.get("connection", "").lower() == "close":
        raise ServerFailed(f"{case.name}: wants to close a keep-alive connection")


def verify(server: Server, case: Case) -> Answer:
    """Ask once, and as often in one segment as the case pipelines; check every answer.

    Raises ServerFailed with what is wrong.
    """
    try:
        answers = exchange(server.port, case.request, 1) + exchange(
            server.port, case.request, max(case.depth, 1)
        )
        answers += exchange(server.port, case.request, 1)
    except OSError as error:
        raise ServerFailed(f"{case.name}: {error}; {server.last_words()}") from error
    for answer in answers:
        check(case, answer)
    if len({answer.wire_body for answer in answers}) != 1:
        raise ServerFailed(f"{case.name}: the body is framed differently from answer to answer")
    return answers[-1]  # a cache gives its own from the second on

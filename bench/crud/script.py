"""The mix that is asked: 65 % lists, 25 % single tasks, 10 % new ones; and the right answers."""

from __future__ import annotations

import datetime
import json
import random
import struct
from dataclasses import dataclass
from typing import Any

from bench.crud.statements import DOING, PAGE, ROWS, TODO
from bench.http import verify
from bench.process import Server, ServerFailed

LIST, GET, CREATE = range(3)
KINDS = ("list", "get", "create")
#: Of a hundred requests.
SHARES = (65, 25, 10)
ENTRIES = 4_000
NEW = {"title": "Water the tomatoes", "notes": "Before it gets hot.", "label": "garden"}
_MADE = datetime.datetime(2026, 1, 1, tzinfo=datetime.UTC)


@dataclass(frozen=True)
class Asked:
    """One request and what its answer must say, parsed."""

    kind: int
    request: bytes
    answer: dict[str, Any]


def _get(target: str) -> bytes:
    return f"GET {target} HTTP/1.1\r\nHost: localhost:8000\r\nAccept: */*\r\n\r\n".encode()


def _task(number: int) -> dict[str, Any]:
    """What statements.FILL put into the row of this number."""
    made = _MADE + datetime.timedelta(seconds=number)
    status = "todo" if number <= TODO else "doing" if number <= TODO + DOING else "done"
    return {
        "id": number,
        "title": f"Task number {number}",
        "notes": f"What is to be done about {number}, and until when",
        "label": f"label {number % 7}",
        "status": status,
        "position": number * 1024.0,
        "version": 1,
        "created_at": made,
        "updated_at": made,
    }


def _distinct() -> tuple[list[Asked], list[Asked], Asked]:
    chance = random.Random(1)
    lists = []
    for offset in range(0, DOING, PAGE):
        first = TODO + offset + 1
        page = [_task(number) for number in range(first, first + PAGE)]
        answer = {"items": page, "total": DOING, "limit": PAGE, "offset": offset}
        target = f"/tasks?status=doing&limit={PAGE}&offset={offset}"
        lists.append(Asked(LIST, _get(target), answer))
    numbers = chance.sample(range(1, ROWS + 1), 200)
    gets = [Asked(GET, _get(f"/tasks/{number}"), _task(number)) for number in numbers]
    body = json.dumps(NEW).encode()
    head = (
        "POST /tasks HTTP/1.1\r\nHost: localhost:8000\r\nContent-Type: application/json\r\n"
        f"Content-Length: {len(body)}\r\n\r\n"
    )
    return lists, gets, Asked(CREATE, head.encode() + body, {**NEW, "status": "todo", "version": 1})


LISTS, GETS, NEW_ONE = _distinct()


def _comparable(value: Any) -> Any:
    """Times as instants: one server writes +00:00 and the other Z, one 0 and the other .000."""
    if isinstance(value, dict):
        return {
            key: datetime.datetime.fromisoformat(one)
            if key in ("created_at", "updated_at") and isinstance(one, str)
            else _comparable(one)
            for key, one in value.items()
        }
    return [_comparable(one) for one in value] if isinstance(value, list) else value


def _check(asked: Asked, answer: verify.Answer) -> None:
    status = 201 if asked.kind == CREATE else 200
    what = asked.request.partition(b"\r\n")[0].decode()
    if answer.status != status:
        raise ServerFailed(f"{what}: status {answer.status}: {answer.body[:120]!r}")
    if not answer.headers.get("content-type", "").startswith("application/json"):
        raise ServerFailed(f"{what}: Content-Type {answer.headers.get('content-type')}")
    said = _comparable(json.loads(answer.body))
    if asked.kind == CREATE:
        if answer.headers.get("location") != f"/tasks/{said.get('id')}":
            raise ServerFailed(f"{what}: Location {answer.headers.get('location')}")
        if set(said) != set(_task(1)) or said["id"] <= ROWS or said["position"] <= TODO * 1024:
            raise ServerFailed(f"{what}: said {answer.body[:200]!r}")
        said = {key: said[key] for key in asked.answer}
    if said != asked.answer:
        raise ServerFailed(f"{what}: said {answer.body[:200]!r}")


def checked(server: Server) -> tuple[bytes, int]:
    """Ask everything once, compare it parsed, and write the script with this server's own bytes.

    Also returns how many tasks that has made. Raises ServerFailed.
    """
    bytes_of: dict[int, bytes] = {}
    for asked in (*LISTS, *GETS, NEW_ONE, NEW_ONE):
        for answer in verify.exchange(server.port, asked.request, 1):
            _check(asked, answer)
            bytes_of[id(asked)] = answer.body
    return packed([(asked, bytes_of[id(asked)]) for asked in _mixed()]), 2


def _mixed() -> list[Asked]:
    counts = [ENTRIES * share // 100 for share in SHARES]
    chance = random.Random(2)
    # The first page is asked for most, as people do.
    weights = [1 / (number + 1) for number in range(len(LISTS))]
    chosen = chance.choices(LISTS, weights, k=counts[LIST])
    chosen += [GETS[n % len(GETS)] for n in range(counts[GET])]
    chosen += [NEW_ONE] * counts[CREATE]
    chance.shuffle(chosen)
    return chosen


def packed(entries: list[tuple[Asked, bytes]]) -> bytes:
    """The script as bench/mix/mix.c reads it; a new task's body is not compared: it is another each
    time."""
    script = bytearray()
    for asked, answer in entries:
        new = asked.kind == CREATE
        body, status = (b"", 201) if new else (answer, 200)
        script += struct.pack("=5I", asked.kind, status, len(asked.request), not new, len(body))
        script += asked.request + body
    return bytes(script)

"""RFC 9111 as a shared cache, as a table of cases over a cached route."""

from __future__ import annotations

import asyncio
import dataclasses
import time
from email.utils import formatdate

import pytest
from ember import Ember, Request, Response
from ember.cache import TTLCache

from tests.support.server import ServeFixture

NO: dict[str, str] = {}
AUTH = {"Authorization": "Bearer a"}
COOKIE = {"Cookie": "session=a"}


@dataclasses.dataclass(frozen=True)
class Case:
    """What two requests get: `states` of X-Cache, or statuses where they are no 200."""

    section: str
    name: str
    states: tuple[str, str]
    answer: dict[str, str] = dataclasses.field(default_factory=dict)
    first: dict[str, str] = dataclasses.field(default_factory=dict)
    second: dict[str, str] = dataclasses.field(default_factory=dict)
    method: str = "GET"
    status: int = 200
    wait: float = 0.0
    """Seconds between the two; the ttl is 60."""


KEPT, NOT, GONE, SAME = ("MISS", "HIT"), ("MISS", "MISS"), ("MISS", "504"), ("MISS", "304")
PUBLIC = {"Cache-Control": "public"}


def says(value: str) -> dict[str, str]:
    return {"Cache-Control": value}


CASES = [
    Case("3", "a plain answer", KEPT),
    Case("3", "HEAD from what GET left", KEPT, method="HEAD"),
    Case("3", "a 404", ("404", "404"), status=404),
    Case("3", "a 500", ("500", "500"), status=500),
    Case("3", "a 203", ("203", "203"), status=203),
    Case("3.3", "a part", ("206", "206"), {"Content-Range": "bytes 0-1/9"}, status=206),
    # what the answer says
    Case("5.2.2.5", "no-store", NOT, says("no-store")),
    Case("5.2.2.7", "private", NOT, says("private")),
    Case("5.2.2.7", "private with fields", NOT, says('private="x-user"')),
    Case("5.2.2.4", "no-cache", NOT, says("no-cache")),
    Case("5.2", "a directive in another case", NOT, says("No-Store")),
    Case("5.2", "a word that only looks like one", KEPT, says('x="no-store"')),
    Case("7.3", "Set-Cookie", NOT, {"Set-Cookie": "a=b"}),
    Case("5.2.2.1", "max-age, fresh", KEPT, says("max-age=10"), wait=9),
    Case("5.2.2.1", "max-age, over", NOT, says("max-age=10"), wait=10),
    Case("5.2.2.1", "max-age=0", NOT, says("max-age=0")),
    Case("4.2.1", "an invalid max-age", NOT, says("max-age=ten")),
    Case("4.2.1", "max-age twice", NOT, says("max-age=10, max-age=20")),
    Case("5.2.2.10", "s-maxage goes before max-age", KEPT, says("max-age=1, s-maxage=10"), wait=9),
    Case("5.2.2.10", "s-maxage, over", NOT, says("max-age=90, s-maxage=10"), wait=10),
    Case("4.2.1", "longer than the ttl", NOT, says("max-age=900"), wait=60),
    Case("5.3", "Expires in the past", NOT, {"Expires": formatdate(0, usegmt=True)}),
    Case("5.3", "Expires 0", NOT, {"Expires": "0"}),
    Case("5.3", "Expires that is no date", NOT, {"Expires": "Tue, 14 Nov 2099 22:14:20 +0200"}),
    Case("5.2.2.2", "must-revalidate while it is fresh", KEPT, says("must-revalidate"), wait=59),
    Case("4.2.3", "aged already", NOT, {**says("max-age=10"), "Age": "9"}, wait=1),
    # what the request says
    Case("5.2.1.5", "the first says no-store", NOT, NO, says("no-store")),
    Case("5.2.1.4", "the second says no-cache", NOT, NO, NO, says("no-cache")),
    Case("5.4", "the second says Pragma", NOT, NO, NO, {"Pragma": "no-cache"}),
    Case("5.2.1.1", "young enough", KEPT, NO, NO, says("max-age=10"), wait=10),
    Case("5.2.1.1", "too old", NOT, NO, NO, says("max-age=10"), wait=11),
    Case("5.2.1.3", "fresh for long enough", KEPT, NO, NO, says("min-fresh=20"), wait=40),
    Case("5.2.1.3", "not for long enough", NOT, NO, NO, says("min-fresh=21"), wait=40),
    Case("5.2.1.7", "only-if-cached, kept", KEPT, NO, NO, says("only-if-cached")),
    Case(
        "5.2.1.7", "only-if-cached, over", ("MISS", "504"), NO, NO, says("only-if-cached"), wait=60
    ),
    Case("5.2.1.7", "and no-cache", ("MISS", "504"), NO, NO, says("only-if-cached, no-cache")),
    # credentials
    Case("3.5", "Authorization on both", NOT, NO, AUTH, AUTH),
    Case("3.5", "Authorization on the first", NOT, NO, AUTH, NO),
    Case("3.5", "Authorization on the second", NOT, NO, NO, AUTH),
    Case("3.5", "Cookie on both", NOT, NO, COOKIE, COOKIE),
    Case("3.5", "Cookie on the first", NOT, NO, COOKIE, NO),
    Case("3.5", "Cookie on the second", NOT, NO, NO, COOKIE),
    Case("3.5", "Cookie on the second, public", KEPT, PUBLIC, NO, COOKIE),
    Case("3.5", "Authorization on the second, s-maxage", KEPT, says("s-maxage=9"), NO, AUTH),
    Case("3.5", "must-revalidate is not enough", NOT, says("must-revalidate"), NO, AUTH),
    # 4.1 Vary
    Case("4.1", "Vary: *", NOT, {"Vary": "*"}),
    # conditions and ranges
    Case("4.3.2", "If-None-Match: *", SAME, NO, NO, {"If-None-Match": "*"}),
    Case("4.3.2", "the tag", SAME, {"ETag": '"a"'}, NO, {"If-None-Match": '"b", "a"'}),
    Case("4.3.2", "the tag, weak", SAME, {"ETag": '"a"'}, NO, {"If-None-Match": 'W/"a"'}),
    Case("4.3.2", "another tag", KEPT, {"ETag": '"a"'}, NO, {"If-None-Match": '"b"'}),
    Case(
        "4.3.2",
        "not modified since",
        ("MISS", "304"),
        {"Last-Modified": formatdate(1000, usegmt=True)},
        NO,
        {"If-Modified-Since": formatdate(1000, usegmt=True)},
    ),
    Case(
        "4.3.2",
        "modified since",
        KEPT,
        {"Last-Modified": formatdate(2000, usegmt=True)},
        NO,
        {"If-Modified-Since": formatdate(1000, usegmt=True)},
    ),
    Case("RFC 9110 14.2", "a range is left aside", KEPT, NO, NO, {"Range": "bytes=0-1"}),
]


@pytest.mark.parametrize("case", CASES, ids=lambda c: f"{c.section}: {c.name}")
def test_what_two_requests_get(serve: ServeFixture, case: Case) -> None:
    now = [1000.0]
    calls: list[int] = []
    app = Ember()

    @app.get("/x", cache=TTLCache(ttl=60, clock=lambda: now[0]))
    async def handler(request: Request) -> Response:
        calls.append(1)
        return Response(f"answer {len(calls)}", case.status, headers=case.answer)

    server = serve(app)
    got = []
    for headers, method in ((case.first, "GET"), (case.second, case.method)):
        answer = server.request(method, "/x", headers=headers)
        state = answer.header("x-cache") or ""
        got.append(state if answer.status == 200 else str(answer.status))
        if answer.status == 200 and method == "GET":
            number = len(calls) if state == "MISS" else 1
            assert answer.body == f"answer {number}".encode()
        if answer.status == 304:
            assert answer.body == b""
            assert answer.header("etag") is not None
        now[0] += case.wait
    assert tuple(got) == case.states


@pytest.mark.parametrize("credentials", [AUTH, COOKIE], ids=["Authorization", "Cookie"])
def test_credentials_share_what_is_public_and_only_that(
    serve: ServeFixture, credentials: dict[str, str]
) -> None:
    app = Ember()
    cache = TTLCache(ttl=60)

    @app.get("/public", cache=cache)
    async def public(request: Request) -> Response:
        return Response("for all", headers={"Cache-Control": "public, max-age=60"})

    @app.get("/mine", cache=cache)
    async def mine(request: Request) -> str:
        return str([request.headers.get("authorization"), request.headers.get("cookie")])

    server = serve(app)
    name, value = next(iter(credentials.items()))
    assert server.get("/public", credentials).header("x-cache") == "MISS"  # learns that it is
    assert server.get("/public", credentials).header("x-cache") == "MISS"
    for user in "ab":
        assert server.get("/public", {name: f"{value}{user}"}).header("x-cache") == "HIT"
    for _ in range(2):
        for user in "ab":
            answer = server.get("/mine", {name: f"{value}{user}"})
            assert (answer.header("x-cache"), f"{value}{user}" in answer.body.decode()) == (
                "MISS",
                True,
            )
        assert server.get("/mine").body == b"[None, None]"


def test_credentials_in_the_key_have_entries_of_their_own(serve: ServeFixture) -> None:
    app = Ember()

    @app.get("/mine", cache=TTLCache(ttl=60, vary_headers=["Authorization"]))
    async def mine(request: Request) -> str:
        return request.headers.get("authorization", "nobody")

    server = serve(app)
    for user in ("Bearer a", "Bearer b"):
        for state in ("MISS", "HIT", "HIT"):
            answer = server.get("/mine", {"Authorization": user})
            assert (answer.header("x-cache"), answer.body) == (state, user.encode())
    assert server.get("/mine").body == b"nobody"


def test_a_request_with_a_body_goes_by_the_cache(serve: ServeFixture) -> None:
    app = Ember()

    @app.get("/x", cache=TTLCache(ttl=60))
    async def handler(request: Request) -> bytes:
        return await request.body() or b"empty"

    server = serve(app)
    assert server.get("/x").body == b"empty"
    for body in (b"one", b"two"):
        assert server.request("GET", "/x", body).body == body
    assert server.get("/x").body == b"empty"


@pytest.mark.parametrize(
    ("fields", "ages"),
    [
        ({"Age": "7"}, ("7", "9")),
        ({"Date": "500 seconds ago"}, ("50", "50")),
        ({"Age": "0"}, (None, "2")),
        ({"Age": "-5"}, (None, "2")),
        ({}, (None, "2")),
    ],
)
@pytest.mark.parametrize("condition", [{}, {"If-None-Match": '"a"'}])
def test_the_age_that_a_handler_gives_is_told_from_the_first_answer_on(
    serve: ServeFixture,
    fields: dict[str, str],
    ages: tuple[str | None, str],
    condition: dict[str, str],
) -> None:
    """4.2.3: what the answer that is stored says, the answers from the store go on with."""
    now = [1000.0]
    app = Ember()

    @app.get("/x", cache=TTLCache(ttl=60, clock=lambda: now[0]))
    async def handler(request: Request) -> Response:
        given = dict(fields)
        if "Date" in given:
            given["Date"] = formatdate(time.time() - 500, usegmt=True)
        return Response("x", headers={"Cache-Control": "max-age=9999", "ETag": '"a"', **given})

    server = serve(app)
    for expected, state in zip(ages, ("MISS", "HIT"), strict=True):
        answer = server.get("/x", condition)
        assert (answer.status, answer.header("x-cache")) == (304 if condition else 200, state)
        age = answer.header("age")
        assert age == expected if "Date" not in fields else (age or "").startswith("50")
        now[0] += 2


def test_the_age_is_told_to_all_who_waited_for_the_answer() -> None:
    async def scenario() -> None:
        app = Ember()
        begun, gate = [], asyncio.Event()

        @app.get("/x", cache=TTLCache(ttl=60))
        async def handler(request: Request) -> Response:
            begun.append(1)
            await gate.wait()
            return Response("x", headers={"Age": "30"})

        async with app.test_client() as client:
            asked = [asyncio.create_task(client.get("/x")) for _ in range(3)]
            while not begun:
                await asyncio.sleep(0)
            gate.set()
            assert [(await one).headers["age"] for one in asked] == ["30"] * 3
            assert len(begun) == 1

    asyncio.run(scenario())

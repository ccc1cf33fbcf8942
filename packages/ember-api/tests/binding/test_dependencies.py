"""`Depends`: every kind of function, what it may ask for, and what happens after the answer."""

from __future__ import annotations

import functools
import logging
import threading
from collections.abc import AsyncIterator
from typing import Annotated, Any

import msgspec
import pytest
from ember.binding import Overrides
from ember.binding.markers import Depends, Header, Query
from ember.concurrency.threads import ThreadPool
from ember.exceptions import Conflict, Unauthorized
from ember.request import Request

TYPE_CHECKING = False
if TYPE_CHECKING:
    from .conftest import Ask  # type: ignore[import-not-found,unused-ignore]


class Item(msgspec.Struct):
    name: str


# -- what can be a dependency ----------------------------------------------------------------


async def double(x: int = 1) -> int:
    return x * 2


def plain(x: int = 1) -> int:
    return x * 3


class Pager:
    def __init__(self, limit: int = 10, *, skip: int = 0) -> None:
        self.limit = limit
        self.skip = skip


class Checker:
    def __init__(self, text: str) -> None:
        self.text = text

    async def __call__(self, q: str = "") -> bool:
        return self.text in q


def test_functions_of_every_kind(ask: Ask) -> None:
    async def handler(
        a: Annotated[int, Depends(double)],
        b: Annotated[int, Depends(plain)],
        pager: Annotated[Pager, Depends()],
        found: Annotated[bool, Depends(Checker("x"))],
        partial: Annotated[int, Depends(functools.partial(double, x=7))],
        old: int = Depends(double),
    ) -> list[Any]:
        return [a, b, pager.limit, pager.skip, found, partial, old]

    assert ask(handler, "/?x=2&limit=5&skip=1&q=axb").json[:6] == [4, 6, 5, 1, True, 4]
    assert ask(handler).json == [2, 3, 10, 0, False, 14, 2]


def test_dependencies_of_dependencies_are_called_once(ask: Ask) -> None:
    calls: list[str] = []

    async def base() -> int:
        calls.append("base")
        return 1

    async def left(n: Annotated[int, Depends(base)]) -> int:
        return n + 1

    async def right(n: Annotated[int, Depends(base)], m: int = Depends(left)) -> int:
        return n + m

    async def handler(
        a: Annotated[int, Depends(left)], b: Annotated[int, Depends(right)], c: int = Depends(base)
    ) -> list[int]:
        return [a, b, c]

    assert ask(handler).json == [2, 3, 1]
    assert calls == ["base"]


def test_use_cache_false_calls_for_each(ask: Ask) -> None:
    calls: list[int] = []

    async def count() -> int:
        calls.append(1)
        return len(calls)

    async def handler(
        a: Annotated[int, Depends(count, use_cache=False)],
        b: Annotated[int, Depends(count, use_cache=False)],
    ) -> list[int]:
        return [a, b]

    assert ask(handler).json == [1, 2]


def test_a_dependency_asks_for_the_same_things(ask: Ask) -> None:
    class Service:
        name = "service"

    async def needs(
        request: Request,
        id: int,
        item: Item,
        service: Service,
        q: Annotated[int, Query(ge=1)],
        x_token: Annotated[str, Header()],
    ) -> list[Any]:
        return [request.method, id, item.name, service.name, q, x_token]

    async def handler(got: Annotated[list[Any], Depends(needs)]) -> list[Any]:
        return got

    answer = ask(
        handler,
        "/?q=1",
        method="POST",
        body={"name": "pen"},
        path={"id": 4},
        headers={"X-Token": "t"},
        components={Service: Service()},
    )
    assert answer.json == ["POST", 4, "pen", "service", 1, "t"]
    answer = ask(
        handler, "/?q=0", method="POST", body={}, path={"id": 4}, components={Service: Service()}
    )
    assert answer.errors == {
        "query.q": "greater_than_equal",
        "header.x-token": "missing",
        "body.name": "missing",
    }


def test_one_body_that_several_ask_for_is_read_once(ask: Ask) -> None:
    async def audit(item: Item) -> str:
        return f"audited {item.name}"

    async def handler(item: Item, note: Annotated[str, Depends(audit)]) -> list[str]:
        return [item.name, note]

    assert ask(handler, method="POST", body={"name": "x"}).json == ["x", "audited x"]


def test_plain_functions_run_in_the_thread_pool_where_there_is_one(ask: Ask) -> None:
    def where() -> str:
        return threading.current_thread().name

    async def handler(
        a: Annotated[str, Depends(where)],
        b: Annotated[str, Depends(where, use_cache=False, inline=True)],
    ) -> list[str]:
        return [a, b]

    pool = ThreadPool(1)
    try:
        a, b = ask(handler, run_in_thread=pool.run).json
    finally:
        pool.close()
    assert a == "ember-worker-1"
    assert b == threading.current_thread().name


# -- order and errors ------------------------------------------------------------------------


def test_authentication_goes_before_the_body_and_its_errors(ask: Ask) -> None:
    async def user(authorization: Annotated[str, Header()] = "") -> str:
        if not authorization:
            raise Unauthorized("who are you?")
        return authorization

    async def handler(item: Item, limit: int, user: Annotated[str, Depends(user)]) -> str:
        return user

    answer = ask(handler, "/?limit=x", method="POST", body=b"{", content_type="application/json")
    assert answer.status == 401


def test_a_dependency_whose_own_values_are_wrong_is_not_called(ask: Ask) -> None:
    called: list[int] = []

    async def needs(n: int) -> None:
        called.append(n)

    async def handler(a: Annotated[None, Depends(needs)], b: int) -> None: ...

    assert ask(handler, "/?n=x").errors == {"query.n": "int_parsing", "query.b": "missing"}
    assert called == []


# -- overrides -------------------------------------------------------------------------------


def test_an_override_stands_in_for_a_dependency_wherever_it_is_used(ask: Ask) -> None:
    async def database() -> str:
        return "real"

    async def query(db: Annotated[str, Depends(database)]) -> str:
        return f"{db} query"

    async def fake(name: str = "fake") -> str:
        return name

    async def handler(
        q: Annotated[str, Depends(query)], db: Annotated[str, Depends(database)]
    ) -> list[str]:
        return [q, db]

    assert ask(handler).json == ["real query", "real"]
    assert ask(handler, overrides={database: fake}).json == ["fake query", "fake"]
    assert ask(handler, "/?name=x", overrides={database: fake}).json == ["x query", "x"]


def test_every_change_of_the_overrides_is_told() -> None:
    changes: list[int] = []
    overrides = Overrides(lambda: changes.append(1))

    def a() -> None: ...
    def b() -> None: ...

    overrides[a] = b
    overrides.update({b: a})
    overrides |= {b: a}
    overrides.setdefault(a, b)
    overrides.setdefault(plain, b)
    assert overrides.pop(plain) is b
    del overrides[a]
    overrides.popitem()
    overrides.clear()
    assert len(changes) == 8
    with pytest.raises(TypeError, match="expected a function"):
        overrides[a] = 1  # type: ignore[assignment]


def test_debug_logging_tells_which_dependency_replaced_an_error(
    ask: Ask, caplog: pytest.LogCaptureFixture
) -> None:
    caplog.set_level(logging.DEBUG, logger="ember.binding")

    async def translate() -> AsyncIterator[None]:
        try:
            yield
        except KeyError:
            raise Conflict("taken") from None

    async def handler(t: Annotated[None, Depends(translate)]) -> None:
        raise KeyError("x")

    assert ask(handler).status == 409
    assert "translate" in caplog.text

"""A handler that cannot be called is refused at start, with route, handler, parameter and the
fix."""

from __future__ import annotations

import re
from collections.abc import Callable
from decimal import Decimal
from typing import Annotated, Any

import msgspec
import pytest
from ember.binding import UnresolvedAnnotation, compile_binding
from ember.binding.markers import Body, Cookie, Depends, Path, Query
from ember.routing.router import RouteError

WHERE = 'route "GET /x/{id}" (app.show)'


class Item(msgspec.Struct):
    name: str


class Pool: ...


def refused(handler: Callable[..., Any], **options: Any) -> str:
    options.setdefault("path_params", {"id": int})
    with pytest.raises(RouteError) as caught:
        compile_binding(handler, where=WHERE, **options)
    message = str(caught.value)
    assert message.startswith(WHERE)
    return message.removeprefix(WHERE + ": ")


def test_starred_parameters() -> None:
    async def args(*rest: int) -> None: ...
    async def kwargs(**rest: int) -> None: ...

    assert refused(args).startswith('nothing fills "*rest"; name the parameters')
    assert refused(kwargs).startswith('nothing fills "**rest"; name the parameters')


def test_a_parameter_without_annotation() -> None:
    async def handler(limit):  # type: ignore[no-untyped-def]
        ...

    async def with_default(limit=10):  # type: ignore[no-untyped-def]
        ...

    assert refused(handler) == (
        'nothing fills the parameter "limit": the path has "id"; put {limit} into the path, '
        'annotate it ("limit: int" reads the query), or call it "request"'
    )
    assert 'annotate it: "limit: int = 10" reads the query' in refused(with_default)


def test_a_class_that_nobody_shares() -> None:
    async def handler(pool: Pool) -> None: ...

    message = refused(handler)
    assert '"pool": no component of type Pool; add one with' in message
    assert "app.add_component(...)" in message
    assert "Pool" in message


def test_a_body_where_there_is_none() -> None:
    async def handler(item: Item) -> None: ...

    message = refused(handler)
    assert 'parameter "item: Item" would be the body, and GET has none' in message
    assert "Annotated[Item, Query()]" in message

    async def on_purpose(item: Annotated[Item, Body()]) -> None: ...

    compile_binding(on_purpose)


def test_a_path_marker_without_such_a_path() -> None:
    async def handler(key: Annotated[int, Path()]) -> None: ...
    async def default(id: Annotated[int, Path()] = 3) -> None: ...
    async def many(id: list[int]) -> None: ...

    assert refused(handler).startswith('parameter "key" is marked Path(), but the path has "id"')
    assert "has a default, which could never be used" in refused(default)
    assert "a path holds one value" in refused(many)


def test_constraints_that_make_no_sense() -> None:
    async def handler(q: Annotated[str, Query(ge=1)]) -> None: ...
    async def length(q: Annotated[Decimal, Query(min_length=1)]) -> None: ...

    assert refused(handler).startswith('parameter "q: str" cannot be validated: Can only set `ge`')
    assert refused(length).startswith('parameter "q: Decimal" cannot be validated')


def test_two_sources_or_two_deerrors() -> None:
    async def sources(q: Annotated[int, Query(), Depends(refused)]) -> None: ...
    async def defaults(q: Annotated[int, Query(1)] = 2) -> None: ...

    assert 'parameter "q" has Query() and Depends(refused); keep one' in refused(sources)
    assert 'parameter "q" has two defaults' in refused(defaults)


def test_what_a_query_cannot_hold() -> None:
    async def handler(q: Annotated[dict[str, int], Query()]) -> None: ...
    async def cookie(q: Annotated[list[int], Cookie()]) -> None: ...
    async def union(q: Item | Pool) -> None: ...

    assert "it takes scalars, lists of them, and data classes" in refused(handler)
    assert "cannot come from a cookie, which holds one value" in refused(cookie)
    assert "cannot be filled" in refused(union)


def test_dependencies_in_a_circle() -> None:
    async def first(x: Any) -> None: ...
    async def second(x: Annotated[None, Depends(first)]) -> None: ...

    first.__annotations__["x"] = Annotated[None, Depends(second)]

    async def handler(x: Annotated[None, Depends(second)]) -> None: ...

    message = refused(handler)
    assert re.search(r"dependencies go in a circle: .*second -> .*first -> .*second", message)


def test_a_mistake_in_a_dependency_names_it() -> None:
    async def dependency(pool): ...  # type: ignore[no-untyped-def]

    async def handler(x: Annotated[None, Depends(dependency)]) -> None: ...

    assert re.match(
        r'dependency "\S*dependency": nothing fills the parameter "pool"', refused(handler)
    )


def test_depends_without_a_class() -> None:
    async def handler(x: Annotated[int | str, Depends()]) -> None: ...

    assert "Depends() without a function calls the annotated class" in refused(handler)
    with pytest.raises(TypeError, match="expected a function or a class"):
        Depends(3)  # type: ignore[arg-type]


def test_a_name_that_does_not_exist() -> None:
    async def handler(item: Nowhere) -> None: ...  # type: ignore[name-defined] # noqa: F821

    with pytest.raises(
        UnresolvedAnnotation, match=r'the name "Nowhere" is not known in .*test_mistakes'
    ):
        compile_binding(handler)


def test_an_annotation_that_is_broken() -> None:
    async def handler(item: 1 / 0) -> None: ...  # type: ignore[valid-type]

    assert 'parameter "item: 1 / 0": ZeroDivisionError' in refused(handler)


def test_unknown_options_of_a_marker() -> None:
    with pytest.raises(TypeError, match=r"Query\(minimum=...\): unknown option; known: alias"):
        Query(minimum=1)
    with pytest.raises(TypeError, match="takes no default"):
        Path(1)
    with pytest.raises(TypeError, match="give default or default_factory"):
        Query(1, default_factory=int)

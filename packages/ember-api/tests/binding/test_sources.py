"""The table of what a handler may ask for: path, query, header, cookie, request, components."""

from __future__ import annotations

import datetime
import enum
import uuid
from decimal import Decimal
from typing import Annotated, Any, Literal, NewType, Optional

import msgspec
import pytest
from ember.binding import compile_binding
from ember.binding.markers import Cookie, Header, Path, Query
from ember.request import Request
from typing_extensions import TypeAliasType

TYPE_CHECKING = False
if TYPE_CHECKING:
    from .conftest import Ask  # type: ignore[import-not-found,unused-ignore]

UserId = NewType("UserId", int)
Age = TypeAliasType("Age", Annotated[int, Query(le=200)])


class Color(enum.Enum):
    RED = "red"
    BLUE = "blue"


class Size(enum.IntEnum):
    SMALL = 1
    LARGE = 2


# -- the request -----------------------------------------------------------------------------


def test_the_request_by_name(ask: Ask) -> None:
    async def handler(request):  # type: ignore[no-untyped-def]
        return request.path

    assert ask(handler, "/here").body == b"/here"


def test_the_request_by_annotation(ask: Ask) -> None:
    async def handler(limit: int, r: Request) -> str:
        return f"{r.path} {limit}"

    assert ask(handler, "/here?limit=3").body == b"/here 3"


# -- the path --------------------------------------------------------------------------------


def test_a_path_parameter_as_the_router_converted_it(ask: Ask) -> None:
    async def handler(id: int) -> dict[str, Any]:
        return {"id": id}

    assert ask(handler, path={"id": 7}).json == {"id": 7}


def test_a_path_parameter_without_annotation(ask: Ask) -> None:
    async def handler(name):  # type: ignore[no-untyped-def]
        return name

    assert ask(handler, path={"name": "x"}).body == b"x"


def test_path_text_becomes_what_the_annotation_says(ask: Ask) -> None:
    async def handler(day: datetime.date, color: Color, mode: Literal["a", "b"]) -> list[Any]:
        return [day.year, color.name, mode]

    path = {"day": "2026-01-02", "color": "red", "mode": "b"}
    assert ask(handler, path=path).json == [2026, "RED", "b"]
    wrong = {"day": "tomorrow", "color": "green", "mode": "c"}
    assert ask(handler, path=wrong).errors == {
        "path.day": "date_parsing",
        "path.color": "enum",
        "path.mode": "enum",
    }


def test_constraints_of_a_path_parameter(ask: Ask) -> None:
    async def handler(id: Annotated[int, Path(ge=1, le=9)]) -> int:
        return id

    assert ask(handler, path={"id": 9}).json == 9
    assert ask(handler, path={"id": 10}).messages == {"path.id": "expected at most 9"}
    assert ask(handler, path={"id": 0}).errors == {"path.id": "greater_than_equal"}


def test_a_path_parameter_under_another_name(ask: Ask) -> None:
    async def handler(identity: Annotated[int, Path(alias="id")]) -> int:
        return identity

    assert ask(handler, path={"id": 9}).json == 9


# -- the query -------------------------------------------------------------------------------

SCALARS: list[tuple[Any, str, Any]] = [
    (str, "x y", "x y"),
    (int, "-5", -5),
    (float, "1.5e1", 15.0),
    (bool, "true", True),
    (bool, "off", False),
    (bytes, "x", b"x"),
    (Decimal, "1.10", Decimal("1.10")),
    (datetime.date, "2026-01-02", datetime.date(2026, 1, 2)),
    (
        datetime.datetime,
        "2026-01-02T03:04:05Z",
        datetime.datetime(2026, 1, 2, 3, 4, 5, tzinfo=datetime.UTC),
    ),
    (datetime.time, "03:04:05", datetime.time(3, 4, 5)),
    (datetime.timedelta, "P1DT2H", datetime.timedelta(days=1, hours=2)),
    (uuid.UUID, "12345678-1234-5678-1234-567812345678", uuid.UUID("12345678" * 4)),
    (Color, "blue", Color.BLUE),
    (Size, "2", Size.LARGE),
    (Literal[1, 2], "2", 2),
    (Literal["a", "b"], "b", "b"),
    (Optional[int], "5", 5),  # noqa: UP045
    (int | None, "5", 5),
    (UserId, "5", 5),
    (Age, "5", 5),
    (Any, "x", "x"),
]


@pytest.mark.parametrize(("annotation", "text", "value"), SCALARS)
def test_a_scalar_comes_from_the_query(annotation: Any, text: str, value: Any, ask: Ask) -> None:
    got: list[Any] = []

    async def handler(q: Any) -> None:
        got.append(q)

    handler.__annotations__["q"] = annotation
    from urllib.parse import quote

    if annotation is uuid.UUID:
        value = uuid.UUID(text)
    assert ask(handler, f"/?q={quote(text)}").status == 204
    assert got == [value]
    assert type(got[0]) is type(value)


@pytest.mark.parametrize(
    ("annotation", "text", "kind"),
    [
        (int, "five", "int_parsing"),
        (int, "5.5", "int_parsing"),
        (int, "1_000", "int_parsing"),
        (int, "٣", "int_parsing"),
        (int, "", "int_parsing"),
        (int, "1" * 5000, "int_parsing"),
        (int | None, "null", "int_parsing"),
        (float, "nan", "float_parsing"),
        (float, "1e999", "float_parsing"),
        (float, "1,5", "float_parsing"),
        (bool, "maybe", "bool_parsing"),
        (Decimal, "x", "decimal_parsing"),
        (datetime.date, "2026-13-01", "date_parsing"),
        (datetime.datetime, "today", "datetime_parsing"),
        (uuid.UUID, "x", "uuid_parsing"),
        (Color, "green", "enum"),
        (Size, "3", "enum"),
        (Literal["a", "b"], "c", "enum"),
    ],
)
def test_a_scalar_that_is_wrong_is_422(annotation: Any, text: str, kind: str, ask: Ask) -> None:
    async def handler(q: Any) -> None: ...

    handler.__annotations__["q"] = annotation
    from urllib.parse import quote

    assert ask(handler, f"/?q={quote(text)}").errors == {"query.q": kind}


def test_what_is_allowed_is_said() -> None:
    from ember.schema import codec_for

    for annotation, text in ((Color, "red, blue"), (Literal["a", "b"], "a, b")):
        codec = codec_for(annotation)
        with pytest.raises(codec.errors) as caught:
            codec.convert("zzz")
        (found,) = codec.field_errors(caught.value, "zzz", ["query", "q"], "text")
        assert found["msg"] == f"expected one of {text}"


def test_missing_without_default_is_422_and_lists_every_error(ask: Ask) -> None:
    async def handler(
        a: int, b: str, c: int | None, d: int = 4, *, token: Annotated[str, Header()]
    ) -> None: ...

    answer = ask(handler, "/?d=x")
    assert answer.errors == {
        "query.a": "missing",
        "query.b": "missing",
        "query.c": "missing",
        "query.d": "int_parsing",
        "header.token": "missing",
    }
    assert "application/problem+json" in answer.head
    assert answer.json["status"] == 422
    assert answer.detail.startswith("the request has 5 errors: query.a: this value is required")


def test_deerrors(ask: Ask) -> None:
    async def handler(
        a: int = 1,
        b: str | None = None,
        c: Annotated[int, Query()] = 3,
        d: int = Query(4, ge=0),
        e: Annotated[list[int], Query(default_factory=lambda: [5])] = ...,  # type: ignore[assignment]
        *,
        f: Color = Color.RED,
    ) -> list[Any]:
        return [a, b, c, d, e, f.value]

    assert ask(handler).json == [1, None, 3, 4, [5], "red"]
    assert ask(handler, "/?a=9&b=x&c=8&d=7&e=6&e=5&f=blue").json == [9, "x", 8, 7, [6, 5], "blue"]


def test_a_list_default_is_not_shared_between_requests(ask: Ask) -> None:
    async def handler(tags: list[str] = ["a"]) -> list[str]:  # noqa: B006
        tags.append("b")
        return tags

    assert ask(handler).json == ["a", "b"]
    assert ask(handler).json == ["a", "b"]


def test_lists_sets_and_tuples_collect_repeated_names(ask: Ask) -> None:
    async def handler(
        a: list[int],
        b: set[str],
        c: tuple[int, int],
        d: frozenset[Color],
        e: list[Any] = [],  # noqa: B006
    ) -> list[Any]:
        return [a, sorted(b), list(c), [x.value for x in d], e]

    answer = ask(handler, "/?a=1&a=2&b=x&b=x&b=y&c=1&c=2&d=red")
    assert answer.json == [[1, 2], ["x", "y"], [1, 2], ["red"], []]
    assert ask(handler, "/?a=1&a=x&a=y&b=x&c=1&d=red").errors == {
        "query.a.1": "int_parsing",
        "query.a.2": "int_parsing",
        "query.c": "too_short",
    }


@pytest.mark.parametrize(
    ("annotation", "good", "bad", "kind", "message"),
    [
        (Annotated[int, Query(ge=1)], "1", "0", "greater_than_equal", "expected at least 1"),
        (Annotated[float, Query(gt=1)], "2", "1", "greater_than", "expected more than 1.0"),
        (Annotated[int, Query(le=1)], "1", "2", "less_than_equal", "expected at most 1"),
        (Annotated[float, Query(lt=1)], "0.9", "1", "less_than", "expected less than 1.0"),
        (
            Annotated[int, Query(multiple_of=3)],
            "9",
            "10",
            "multiple_of",
            "expected a multiple of 3",
        ),
        (
            Annotated[str, Query(min_length=2)],
            "xx",
            "x",
            "string_too_short",
            "expected at least 2 characters",
        ),
        (
            Annotated[str, Query(max_length=1)],
            "x",
            "xx",
            "string_too_long",
            "expected at most 1 character",
        ),
        (
            Annotated[str, Query(pattern="^x+$")],
            "xx",
            "xy",
            "string_pattern_mismatch",
            "expected text that matches '^x+$'",
        ),
        (
            Annotated[list[int], Query(max_length=1)],
            "1",
            "1&q=2",
            "too_long",
            "expected at most 1 item",
        ),
        (Annotated[int | None, Query(ge=1)], "1", "0", "greater_than_equal", "expected at least 1"),
        (Annotated[Decimal, Query(gt=0)], "0.1", "0", "greater_than", "expected more than 0"),
        (
            Annotated[datetime.date, Query(ge=datetime.date(2026, 1, 1))],
            "2026-01-01",
            "2025-12-31",
            "greater_than_equal",
            "expected at least 2026-01-01",
        ),
        (Annotated[int, msgspec.Meta(ge=1)], "1", "0", "greater_than_equal", "expected at least 1"),
    ],
)
def test_constraints(
    annotation: Any, good: str, bad: str, kind: str, message: str, ask: Ask
) -> None:
    async def handler(q: Any) -> None: ...

    handler.__annotations__["q"] = annotation
    assert ask(handler, f"/?q={good}").status == 204
    answer = ask(handler, f"/?q={bad}")
    assert answer.errors == {"query.q": kind}
    assert answer.messages == {"query.q": message}


def test_an_alias_is_the_name_on_the_wire(ask: Ask) -> None:
    async def handler(kind: Annotated[str, Query(alias="type")]) -> str:
        return kind

    assert ask(handler, "/?type=x").body == b"x"
    assert ask(handler, "/?kind=x").errors == {"query.type": "missing"}


def test_a_data_class_marked_query_takes_its_fields_from_the_query(ask: Ask) -> None:
    class Page(msgspec.Struct):
        limit: Annotated[int, msgspec.Meta(le=100)] = 10
        tags: list[str] = []
        deep: bool = False

    async def handler(page: Annotated[Page, Query()]) -> list[Any]:
        return [page.limit, page.tags, page.deep]

    assert ask(handler, "/?limit=5&tags=a&tags=b&deep=on").json == [5, ["a", "b"], True]
    assert ask(handler).json == [10, [], False]
    assert ask(handler, "/?limit=101&deep=x").errors == {
        "query.limit": "less_than_equal",
        "query.deep": "bool_parsing",
    }


@pytest.mark.parametrize(
    ("query", "refused"),
    [
        ("ids=1&ids=2&limit=3", False),
        ("limit=3", False),
        ("other=1", True),
        ("ids=1&other=1", True),
        ("ids=1&ids=2&limit=3&limit=4&other=1", True),
    ],
)
def test_a_closed_data_class_sees_every_name_that_it_does_not_have(
    query: str, refused: bool, ask: Ask
) -> None:
    class Closed(msgspec.Struct, forbid_unknown_fields=True):
        ids: list[int]
        limit: int = 10

    async def handler(page: Annotated[Closed, Query()]) -> list[int]:
        return page.ids

    answer = ask(handler, f"/?{query}")
    assert answer.status == (422 if refused else 200)
    assert ("other" in answer.body.decode()) is refused


# -- header fields and cookies ----------------------------------------------------------------


def test_header_fields(ask: Ask) -> None:
    async def handler(
        user_agent: Annotated[str, Header()],
        x_many: Annotated[list[int], Header()] = [],  # noqa: B006
        plain: Annotated[str, Header(alias="X-Plain")] = "none",
    ) -> list[Any]:
        return [user_agent, x_many, plain]

    assert ask(handler, headers={"User-Agent": "curl", "x-PLAIN": "p"}).json == ["curl", [], "p"]
    assert ask(handler, headers={"User-Agent": "curl", "X-Many": "1"}).json == ["curl", [1], "none"]
    assert ask(handler, headers={"X-Many": "x"}).errors == {
        "header.user-agent": "missing",
        "header.x-many.0": "int_parsing",
    }


def test_a_header_name_as_it_is_written(ask: Ask) -> None:
    async def handler(x_y: Annotated[str, Header(convert_underscores=False)]) -> str:
        return x_y

    assert ask(handler, headers={"x_y": "v"}).body == b"v"


def test_cookies(ask: Ask) -> None:
    async def handler(
        sid: Annotated[str, Cookie()], n: Annotated[int, Cookie(ge=1)] = 1
    ) -> list[Any]:
        return [sid, n]

    assert ask(handler, headers={"Cookie": "sid=abc; n=2"}).json == ["abc", 2]
    assert ask(handler, headers={"Cookie": "n=0"}).errors == {
        "cookie.sid": "missing",
        "cookie.n": "greater_than_equal",
    }


# -- components ------------------------------------------------------------------------------


class Pool:
    size = 3


def test_a_component_by_its_type(ask: Ask) -> None:
    async def handler(pool: Pool) -> int:
        return pool.size

    assert ask(handler, components={Pool: Pool()}).json == 3


def test_a_data_class_that_is_a_component_is_no_body(ask: Ask) -> None:
    class Settings(msgspec.Struct):
        debug: bool

    async def handler(settings: Settings) -> bool:
        return settings.debug

    assert ask(handler, components={Settings: Settings(True)}).json is True


def test_a_class_with_a_default_that_nobody_shares_keeps_its_default(ask: Ask) -> None:
    async def handler(pool: Pool | None = None) -> str:
        return repr(pool)

    assert ask(handler).body == b"None"


# -- what it looks like to others -------------------------------------------------------------


def test_a_plan_of_header_and_query_needs_no_await_and_can_be_read() -> None:
    async def handler(
        id: int, limit: Annotated[int, Query(le=100, description="how many")] = 10
    ) -> None: ...

    binding = compile_binding(handler, {"id": int}, where="route")
    assert not binding.needs_await
    path, query = binding.parameters
    assert (path.source, path.alias, path.required) == ("path", "id", True)
    assert (query.source, query.alias, query.required, query.default) == (
        "query",
        "limit",
        False,
        10,
    )
    assert query.constraints == {"le": 100}
    assert query.description == "how many"
    assert query.schema() == ({"type": "integer", "maximum": 100}, {})
    assert path.schema() == ({"type": "integer"}, {})


def test_routes_of_one_shape_share_their_code() -> None:
    async def one(a: int) -> None: ...
    async def two(b: int) -> None: ...

    assert compile_binding(one).call.__code__ is compile_binding(two).call.__code__

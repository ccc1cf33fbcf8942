"""What a handler may ask for; a mistake is an error at registration that names everything."""

from __future__ import annotations

import functools
import re
from collections.abc import Callable
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any
from uuid import UUID

import pytest
from ember import Ember, Request, RouteError
from ember.protocol import MemoryConnection

if TYPE_CHECKING:
    import ember as hidden


def ask(app: Ember, path: str) -> str:
    """The body of the answer to GET, without a loop."""
    connection = MemoryConnection(app)
    connection.feed(f"GET {path} HTTP/1.1\r\nHost: a\r\n\r\n".encode())
    head, _, body = connection.take().partition(b"\r\n\r\n")
    assert head.startswith(b"HTTP/1.1 200"), head
    return body.decode()


async def nothing() -> str:
    return "nothing"


async def request_only(request: Request) -> str:
    return request.path


async def by_type(r: Request) -> str:
    return str(r.path_params["b"])


async def by_hidden_type(r: hidden.Request) -> str:
    return r.path


async def one(a: str) -> str:
    return a


async def second_only(b: int) -> str:
    return repr(b)


async def value_first(a: str, request: Any) -> str:
    return f"{a} {request.method}"


async def request_first(request: Any, a: str) -> str:
    return f"{request.method} {a}"


async def swapped(b: int, a: str) -> str:
    return f"{b!r} {a!r}"


async def keywords(a: str, *, b: int, request: Request) -> str:
    return f"{a} {b!r} {request.path}"


async def positional(b: int, /, a: str) -> str:
    return f"{b} {a}"


async def unused_default(a: str = "default") -> str:
    return a


class Callable_:
    async def __call__(self, b: int) -> str:
        return f"object {b}"

    async def method(self, b: int) -> str:
        return f"method {b}"


def decorated(handler: Callable[..., Any]) -> Callable[..., Any]:
    @functools.wraps(handler)
    async def wrapper(*args: Any, **kwargs: Any) -> str:
        return f"<{await handler(*args, **kwargs)}>"

    return wrapper


def decorated_sync(handler: Callable[..., Any]) -> Callable[..., Any]:
    @functools.wraps(handler)
    def wrapper(*args: Any, **kwargs: Any) -> Any:
        return handler(*args, **kwargs)

    return wrapper


@pytest.mark.parametrize(
    ("handler", "expected"),
    [
        (nothing, "nothing"),
        (request_only, "/p/x/7"),
        (by_type, "7"),
        (by_hidden_type, "/p/x/7"),
        (one, "x"),
        (second_only, "7"),
        (value_first, "x GET"),
        (request_first, "GET x"),
        (swapped, "7 'x'"),
        (keywords, "x 7 /p/x/7"),
        (positional, "7 x"),
        (unused_default, "x"),
        (Callable_(), "object 7"),
        (Callable_().method, "method 7"),
        (functools.partial(swapped, a="fixed"), None),
        (decorated(swapped), "<7 'x'>"),
        (decorated_sync(swapped), "7 'x'"),
    ],
)
def test_a_handler_gets_what_it_names_in_any_order(handler: Any, expected: str | None) -> None:
    app = Ember()
    if expected is None:
        handler, expected = functools.partial(swapped, 7), "7 'x'"
        app.get("/p/{a}/{n}")(functools.partial(_partial, 1))
        assert ask(app, "/p/x/7") == "1 x 7"
        return
    app.get("/p/{a}/{b:int}" if handler is not by_type else "/p/{a}/{b}")(handler)
    assert ask(app, "/p/x/7") == expected


async def _partial(first: int, a: str, n: str) -> str:
    return f"{first} {a} {n}"


def test_an_annotation_chooses_the_converter_where_the_path_names_none() -> None:
    app = Ember()

    @app.get("/{a}/{b}/{c}/{d}")
    async def handler(a: int, b: float, c: UUID, d: str) -> str:
        return f"{a!r} {b!r} {c!r} {d!r}"

    key = "0190163d-8694-739b-aea5-966c26f8ad91"
    assert ask(app, f"/1/2/{key}/4") == f"1 2.0 UUID('{key}') '4'"
    connection = MemoryConnection(app)
    connection.feed(f"GET /x/2/{key}/4 HTTP/1.1\r\nHost: a\r\n\r\n".encode())
    assert connection.take().startswith(b"HTTP/1.1 404")


@dataclass
class Body:
    x: int


class Store:
    pass


def register(path: str, handler: Callable[..., Any], **options: Any) -> None:
    Ember().get(path, **options)(handler)


async def wants_id(id) -> None: ...  # type: ignore[no-untyped-def]
async def wants_default(id=3) -> None: ...  # type: ignore[no-untyped-def]
async def wants_body(body: Body) -> None: ...
async def wants_stars(*args: Any) -> None: ...
async def wants_double_stars(**kwargs: Any) -> None: ...
async def wants_str(n: str) -> None: ...
async def wants_int(n: int) -> None: ...
async def wants_list(n: list[int]) -> None: ...


@pytest.mark.parametrize(
    ("path", "handler", "message"),
    [
        (
            "/x",
            wants_id,
            'test_signature.wants_id): nothing fills the parameter "id": the path '
            'has no parameters; put {id} into the path, annotate it ("id: int" reads the query), '
            'or call it "request"',
        ),
        ("/x/{a}", wants_id, 'the path has "a"; put {id} into the path'),
        ("/x", wants_default, 'annotate it: "id: int = 3" reads the query'),
        ("/x", wants_stars, 'nothing fills "*args"; name the parameters (a decorator of your own'),
        ("/x", wants_double_stars, 'nothing fills "**kwargs"; name the parameters'),
        (
            "/x/{n:int}",
            wants_str,
            '"n" is annotated str, but "{n:int}" gives int; make the two agree',
        ),
        ("/x/{n:uuid}", wants_int, '"n" is annotated int, but "{n:uuid}" gives UUID'),
        ("/x/{n}", wants_list, '"n" is annotated list[int]; a path holds one value: str, int'),
    ],
)
def test_a_parameter_that_nothing_fills_is_an_error_at_registration(
    path: str, handler: Any, message: str
) -> None:
    with pytest.raises(RouteError, match=re.escape(message)):
        register(path, handler)


def test_a_body_where_there_is_none_is_an_error_at_start() -> None:
    app = Ember()
    app.get("/x")(wants_body)  # until then it may be a component
    with pytest.raises(RouteError, match="would be the body, and GET has none"):
        app.freeze()
    app.add_component(Body(1))
    app.freeze()


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"caches": 1}, 'route "/x": unknown option "caches"; known: name, status_code, limits'),
        ({"status_code": 99}, "status_code=99; expected a number from 200 to 599"),
        ({"limits": {"timeout": 1}}, "expected RouteLimits(timeout=...)"),
        ({"tags": "a"}, "tags='a'; expected a list: tags=[\"a\"]"),
    ],
)
def test_an_option_that_cannot_work_is_an_error_at_registration(
    options: dict[str, Any], message: str
) -> None:
    with pytest.raises(RouteError, match=re.escape(message)):
        register("/x", nothing, **options)


def test_methods_are_a_list_of_tokens() -> None:
    app = Ember()
    for methods, message in [
        ("GET", "methods='GET'; expected a list"),
        ([], "methods is empty"),
        (["GE T"], "'GE T' is not a method name"),
    ]:
        with pytest.raises(RouteError, match=re.escape(message)):
            app.route("/x", methods=methods)(nothing)
    with pytest.raises(RouteError, match="the handler is not callable"):
        app.add_route("/x", 5)  # type: ignore[arg-type]


def test_a_name_that_is_taken_is_an_error_at_registration() -> None:
    app = Ember()
    app.get("/a", name="n")(nothing)
    with pytest.raises(RouteError, match='the name "n" is taken by route "GET /a"'):
        app.get("/b", name="n")(nothing)


def test_a_component_is_found_by_its_type_when_the_application_starts() -> None:
    app = Ember()

    @app.get("/{a}")
    async def handler(a: str, store: Store) -> str:
        return f"{a} {store is shared}"

    shared = Store()
    with pytest.raises(RouteError, match='"store": no component of type Store; add one with'):
        app.freeze()
    app.add_component(shared)
    assert ask(app, "/x") == "x True"
    with pytest.raises(TypeError, match=re.escape("add_component(Store): give an instance")):
        app.add_component(Store)

"""The plan of a handler (`ember.routing.signature`) and its binding (`ember.binding`) agree.

Each handler here is served twice: as it is, and by a generated binding although a plan would do. It
gets the same arguments, or the same error says why not. OpenAPI describes the same parameters.
"""

from __future__ import annotations

import copy
import functools
import inspect
import types
import typing
from collections.abc import AsyncIterator, Callable, Iterator, Mapping
from dataclasses import dataclass
from enum import Enum
from typing import TYPE_CHECKING, Annotated, Any
from uuid import UUID

import pytest
from ember import BackgroundTasks, Depends, Ember, Query, Request, RouteError
from ember.binding import compile_binding
from ember.openapi.requests import parameters_of, path_types
from ember.routing import signature
from ember.routing.converters import BUILT_IN

from tests.support.server import ServeFixture

if TYPE_CHECKING:
    from typing import Any as Hidden
    from uuid import UUID as HiddenUUID  # noqa: F401

    import ember as hidden

#: The arguments of the last call.
seen: list[dict[str, Any]] = []


def note(arguments: Mapping[str, Any]) -> str:
    seen.append({k: v for k, v in arguments.items() if k not in ("self", "cls")})
    return "ok"


class Store:
    """A component."""


@dataclass
class Settings:
    """A component that looks like data."""

    x: int = 1


class Context:
    """A component of one request."""


class Tasks(BackgroundTasks):
    """Background tasks with a class of their own."""


class Colour(Enum):
    RED = "red"


@dataclass
class Item:
    x: int = 1


# -- handlers that plans are made for, or not -----------------------------------------------------


async def nothing() -> str:
    return note({})


def sync(request: Request, a: str) -> str:
    return note({"request": request, "a": a})


async def unannotated(a, request) -> str:  # type: ignore[no-untyped-def]
    return note({"a": a, "request": request})


async def request_by_type(r: Request, a: str) -> str:
    return note(locals())


async def request_or_none(r: Request | None, a: str) -> str:
    return note(locals())


async def request_of_any_type(request: Any, a: object) -> str:
    return note(locals())


async def request_that_is_hidden(r: hidden.Request) -> str:
    return note(locals())


async def request_by_name_of_a_hidden_type(request: Hidden) -> str:
    return note(locals())


async def uuid_that_is_hidden(key: UUID) -> str:
    return note(locals())


async def request_that_is_a_query_value(request: int = 3) -> str:
    return note(locals())


async def request_that_is_a_body(request: Item) -> str:
    return note(locals())


async def defaults(a: str = "unused", b: int = 3) -> str:
    return note(locals())


async def path_default(a: str = "unused") -> str:
    return note(locals())


async def keyword_only(request: Request, *, b: int, a: str) -> str:
    return note(locals())


async def positional_only(b: int, a: str, /, request: Request) -> str:
    return note(locals())


async def component(store: Store, a: str, settings: Settings) -> str:
    return note(locals())


async def component_by_default(a: str, store: Store | None = None, other: Store = Store()) -> str:  # noqa: B008
    return note(locals())


async def per_request(context: Context) -> str:
    return note({"context": type(context)})


async def background(tasks: BackgroundTasks, mine: Tasks) -> str:
    return note({"tasks": type(tasks), "mine": type(mine)})


async def text_although_a_component_is_text(text: str = "query") -> str:
    return note(locals())


async def enum_in_the_path(a: Colour) -> str:
    return note(locals())


async def marked(a: str, q: Annotated[int, Query()] = 4, n: int = Query(5)) -> str:
    return note(locals())


def _dependency(a: str) -> str:
    return f"<{a}>"


async def depends(a: str, d: Annotated[str, Depends(_dependency)]) -> str:
    return note(locals())


async def stream(a: str) -> AsyncIterator[str]:
    note(locals())
    yield a


def generator(a: str) -> Iterator[str]:
    yield note(locals())


class Handlers:
    async def method(self, a: str, request: Request) -> str:
        return note(locals())

    @classmethod
    async def of_class(cls, a: str, request: Request) -> str:
        return note(locals())

    @staticmethod
    async def static(a: str, request: Request) -> str:
        return note(locals())

    async def __call__(self, a: str, request: Request) -> str:
        return note(locals())


def decorated(handler: Callable[..., Any]) -> Callable[..., Any]:
    @functools.wraps(handler)
    async def wrapper(*args: Any, **kwargs: Any) -> Any:
        return await handler(*args, **kwargs)

    return wrapper


def in_a_closure() -> Callable[..., Any]:
    Mine = Store

    async def handler(store: Mine, a: str) -> str:  # type: ignore[valid-type]
        return note({"store": type(store) is Mine, "a": a})

    return handler


@pytest.mark.parametrize("text", [True, False], ids=["text", "objects"])
@pytest.mark.parametrize(
    ("path", "handler", "target"),
    [
        ("/", nothing, "/"),
        ("/{a}", nothing, "/x"),
        ("/{a}", sync, "/x"),
        ("/{a}", unannotated, "/x"),
        ("/{a}", request_by_type, "/x"),
        ("/{a}", request_or_none, "/x"),
        ("/{a}", request_of_any_type, "/x"),
        ("/{request}", request_that_is_a_query_value, "/7"),
        ("/", request_that_is_hidden, "/"),
        ("/", request_by_name_of_a_hidden_type, "/"),
        ("/{key}", uuid_that_is_hidden, "/0190163d-8694-739b-aea5-966c26f8ad91"),
        ("/", request_that_is_a_query_value, "/?request=7"),
        ("/", request_that_is_a_body, "/"),
        ("/{a}/{b}", defaults, "/x/7"),
        ("/{a}/{b:int}", defaults, "/x/7"),
        ("/{a}", defaults, "/x?b=9"),
        ("/{a}", path_default, "/x"),
        ("/{a}/{b}", keyword_only, "/x/7"),
        ("/{b:int}/{a}", keyword_only, "/7/x"),
        ("/{a}/{b}", positional_only, "/x/7"),
        ("/{a}", component, "/x"),
        ("/{a}", component_by_default, "/x"),
        ("/", per_request, "/"),
        ("/", background, "/"),
        ("/", text_although_a_component_is_text, "/?text=given"),
        ("/{a}", enum_in_the_path, "/red"),
        ("/{a}", marked, "/x?q=1&n=2"),
        ("/{a}", depends, "/x"),
        ("/{a}", stream, "/x"),
        ("/{a}", generator, "/x"),
        ("/{a}", Handlers().method, "/x"),
        ("/{a}", Handlers.of_class, "/x"),
        ("/{a}", Handlers.static, "/x"),
        ("/{a}", Handlers(), "/x"),
        ("/{a}/{b}", decorated(keyword_only), "/x/7"),
        ("/{a}", functools.partial(keyword_only, b=1), "/x?b=3"),
        ("/{a}", functools.partial(sync, a="fixed"), "/x"),
        ("/{b}", functools.partial(positional_only, 1), "/x?a=y"),
        ("/{a}", in_a_closure(), "/x"),
    ],
    ids=lambda value: getattr(value, "__name__", None) or str(value)[:40],
)
def test_a_handler_gets_the_same_from_both(
    path: str,
    handler: Callable[..., Any],
    target: str,
    text: bool,
    serve: ServeFixture,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    if not text:
        handler = with_objects(handler)
    both(path, handler, target, serve, monkeypatch)


EXAMPLES = {
    "str": "x",
    "int": "7",
    "float": "1.5",
    "path": "x/y",
    "uuid": "0190163d-8694-739b-aea5-966c26f8ad91",
    "own": "3",
    "typed": "4",
}


def test_every_converter_has_an_example() -> None:
    assert {converter.name for converter in BUILT_IN} | {"own", "typed"} == set(EXAMPLES)


async def as_anything(a) -> str:  # type: ignore[no-untyped-def]
    return note(locals())


async def as_any(a: Any) -> str:
    return note(locals())


async def as_str(a: str) -> str:
    return note(locals())


async def as_int(a: int) -> str:
    return note(locals())


async def as_float(a: float) -> str:
    return note(locals())


async def as_uuid(a: UUID) -> str:
    return note(locals())


async def as_hidden(a: Hidden) -> str:
    return note(locals())


@pytest.mark.parametrize("converter", EXAMPLES)
@pytest.mark.parametrize(
    "handler", [as_anything, as_any, as_str, as_int, as_float, as_uuid, as_hidden]
)
def test_a_converter_gives_the_same_to_both(
    converter: str, handler: Any, serve: ServeFixture, monkeypatch: pytest.MonkeyPatch
) -> None:
    both(f"/{{a:{converter}}}", handler, f"/{EXAMPLES[converter]}", serve, monkeypatch)


# -- handlers that are wrong ----------------------------------------------------------------------


async def stars(*args: Any) -> None: ...
async def stars_by_that_name(*a: str) -> None: ...
async def double_stars(**kwargs: Any) -> None: ...
async def double_stars_by_that_name(**request: Any) -> None: ...
async def wrong_name(b) -> None: ...  # type: ignore[no-untyped-def]
async def wrong_name_with_default(b=3) -> None: ...  # type: ignore[no-untyped-def]
async def hidden_type(b: Hidden) -> None: ...
async def attribute_that_is_not_there(b: typing.Nothing) -> None: ...  # type: ignore[name-defined]
async def not_an_expression(b: str) -> None: ...


not_an_expression.__annotations__["b"] = "1 +"


async def division(b: 1 / 0) -> None: ...  # type: ignore[valid-type]
async def nobody_shares(b: Handlers) -> None: ...


class Unreadable:
    __signature__ = "not one"

    def __call__(self) -> None: ...


async def body_of_get(b: Item) -> None: ...


@pytest.mark.parametrize(
    ("handler", "message"),
    [
        (stars, 'nothing fills "*args"; name the parameters'),
        (stars_by_that_name, 'nothing fills "*a"; name the parameters'),
        (double_stars, 'nothing fills "**kwargs"; name the parameters'),
        (double_stars_by_that_name, 'nothing fills "**request"; name the parameters'),
        (wrong_name, 'nothing fills the parameter "b": the path has "a"'),
        (wrong_name_with_default, 'annotate it: "b: int = 3" reads the query'),
        (hidden_type, 'parameter "b: Hidden": the name "Hidden" is not known in'),
        (attribute_that_is_not_there, 'parameter "b: typing.Nothing": AttributeError'),
        (not_an_expression, "SyntaxError"),
        (division, 'parameter "b: 1 / 0": ZeroDivisionError'),
        (nobody_shares, '"b": no component of type Handlers; add one with'),
        (body_of_get, "would be the body, and GET has none"),
        (Unreadable(), "the parameters cannot be read: "),
        (functools.partial(stars, 1), 'nothing fills "*args"; name the parameters'),
    ],
)
def test_a_mistake_has_one_text(
    handler: Any, message: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    texts = []
    for forced in (False, True):
        with monkeypatch.context() as patched:
            app = application(patched, forced)
            with pytest.raises(RouteError) as found:
                start(app, handler)
        texts.append(str(found.value))
    with pytest.raises(RouteError) as found:
        compile_binding(handler, ["a"], where=texts[0].partition("): ")[0] + ")")
    texts.append(str(found.value))
    assert message in texts[0]
    assert texts == [texts[0]] * 3


# -- how ------------------------------------------------------------------------------------------


def start(app: Ember, handler: Any) -> None:
    app.get("/{a}")(handler)
    app.freeze()


def with_objects(handler: Callable[..., Any]) -> Callable[..., Any]:
    """The handler as it is without postponed annotations; itself if some cannot be resolved."""
    if not isinstance(handler, types.FunctionType) or hasattr(handler, "__wrapped__"):
        return handler
    try:
        hints = typing.get_type_hints(handler, include_extras=True)
    except NameError:
        return handler
    copied = types.FunctionType(
        handler.__code__, handler.__globals__, handler.__name__, handler.__defaults__,
        handler.__closure__,
    )  # fmt: skip
    copied.__kwdefaults__ = copy.copy(handler.__kwdefaults__)
    copied.__annotations__ = hints
    return copied


def application(patched: pytest.MonkeyPatch, forced: bool) -> Ember:
    """An application; `forced`: every handler gets a binding, although a plan would do."""
    if forced:

        def no_plan(*args: Any) -> None:
            signature.resolve(*args)

        patched.setattr("ember.application.application.resolve", no_plan)
    app = Ember(openapi_url=None, docs_url=None)
    app.add_converter("own", "[0-9]", lambda text: [text])
    app.add_converter("typed", "[0-9]", int)
    app.add_component(STORE)
    app.add_component(SETTINGS)
    app.add_component("a component")
    app.add_component(Context, per_request=True)
    return app


STORE, SETTINGS = Store(), Settings()


def both(
    path: str,
    handler: Any,
    target: str,
    serve: ServeFixture,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    """Serve the handler by a plan, where there is one, and by a binding, and compare."""
    results: list[Any] = []
    plans: list[signature.Plan | None] = []
    for forced in (False, True):
        seen.clear()
        with monkeypatch.context() as patched:
            app = application(patched, forced)
            try:
                route = app.route(path, methods=["POST"])(handler) and app.routes[0]
                app.freeze()
            except RouteError as error:
                results.append(str(error))
                continue
            plans.append(app._plans[route])
            names = [p.alias for p in parameters_of(app, route) if p.source == "path"]
            assert set(names) <= path_types(app, route).keys()
            answer = serve(app).request("POST", target, b"{}", {"Content-Type": "application/json"})
            results.append((answer.status, names, [plain(arguments) for arguments in seen]))
            is_generator = inspect.isgeneratorfunction(handler)  # that is not a response
            assert answer.status == (500 if is_generator else 200), answer.body
            assert bool(seen) is not is_generator
    assert results[0] == results[1]
    assert plans[1:] == [None] * len(plans[1:])


def plain(arguments: dict[str, Any]) -> dict[str, Any]:
    """Arguments that can be compared: the request by its type, all others with theirs."""
    return {
        name: "request" if isinstance(value, Request) else (type(value), value)
        for name, value in arguments.items()
    }

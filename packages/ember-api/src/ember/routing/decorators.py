"""Decorators for the methods of a class that is passed to `app.add_class`: `@get("/x")` etc.

class Users:
    async def get(self) -> list[User]: ...          # GET /users, by its name

    @get("/{id:int}", name="user")
    async def find(self, id: int) -> User: ...      # GET /users/{id}

app.add_class(Users(), prefix="/users")
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator
from typing import TYPE_CHECKING, Any, NamedTuple, TypeVar

from ember.routing.router import RouteError

if TYPE_CHECKING:
    from typing import Unpack

    from ember.routing.route_options import RouteOptions

F = TypeVar("F", bound=Callable[..., Any])

_VERBS = ("get", "post", "put", "patch", "delete", "head", "options")
_MARK = "__ember_routes__"


class Mark(NamedTuple):
    """The arguments of a decorator, for `Blueprint.add_route`."""

    path: str
    methods: tuple[str, ...]
    options: dict[str, Any]


def route(
    path: str, methods: Iterable[str] = ("GET",), **options: Unpack[RouteOptions]
) -> Callable[[F], F]:
    """Make a method the handler of `path`. The options are those of `app.route`."""
    if isinstance(methods, str):
        raise RouteError(f'route "{path}": methods={methods!r}; expected methods=["{methods}"]')
    mark = Mark(path, tuple(methods), dict(options))

    def register(method: F) -> F:
        # The decorator next to the method runs first; the list has the order of the source.
        setattr(method, _MARK, [mark, *getattr(method, _MARK, ())])
        return method

    return register


def get(path: str, **options: Unpack[RouteOptions]) -> Callable[[F], F]:
    """Make a method the handler for GET on `path`."""
    return route(path, ("GET",), **options)


def post(path: str, **options: Unpack[RouteOptions]) -> Callable[[F], F]:
    """Make a method the handler for POST on `path`."""
    return route(path, ("POST",), **options)


def put(path: str, **options: Unpack[RouteOptions]) -> Callable[[F], F]:
    """Make a method the handler for PUT on `path`."""
    return route(path, ("PUT",), **options)


def patch(path: str, **options: Unpack[RouteOptions]) -> Callable[[F], F]:
    """Make a method the handler for PATCH on `path`."""
    return route(path, ("PATCH",), **options)


def delete(path: str, **options: Unpack[RouteOptions]) -> Callable[[F], F]:
    """Make a method the handler for DELETE on `path`."""
    return route(path, ("DELETE",), **options)


def head(path: str, **options: Unpack[RouteOptions]) -> Callable[[F], F]:
    """Make a method the handler for HEAD on `path`."""
    return route(path, ("HEAD",), **options)


def options(path: str, **options: Unpack[RouteOptions]) -> Callable[[F], F]:
    """Make a method the handler for OPTIONS on `path`."""
    return route(path, ("OPTIONS",), **options)


def routes_of(instance: object) -> Iterator[tuple[Callable[..., Any], Mark]]:
    """The handlers of an object: methods with a decorator, and methods whose name begins with a
    verb.

    `get` handles the path of the class, `get_mine` handles `/mine`. The order is that of the class;
    inherited methods come first. Raises RouteError if there is no handler.
    """
    cls = type(instance)
    if isinstance(instance, type):
        raise RouteError(
            f"add_class({instance.__name__}): give an instance: {instance.__name__}(...)"
        )
    found = False
    for name in dict.fromkeys(name for base in cls.__mro__[::-1] for name in vars(base)):
        # Looked up in the class, so that no property is called.
        method = getattr(cls, name, None)
        if not callable(method):
            continue
        marks: Iterable[Mark] = getattr(method, _MARK, ()) or _by_name(name)
        for mark in marks:
            found = True
            yield getattr(instance, name), mark
    if not found:
        raise RouteError(
            f'add_class({cls.__name__}): it has no handlers; name methods "get", "post", '
            f'"get_<name>" ..., or decorate them: @ember.get("/x")'
        )


def _by_name(name: str) -> Iterator[Mark]:
    verb, underscore, rest = name.partition("_")
    if verb in _VERBS and bool(rest) == bool(underscore):
        yield Mark(f"/{rest}" if rest else "", (verb.upper(),), {})

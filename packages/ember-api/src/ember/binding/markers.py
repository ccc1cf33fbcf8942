"""Markers for the parameters of handlers: they say where a value comes from.

`limit: Annotated[int, Query(ge=1, le=100)] = 20`, or in FastAPI's older spelling
`limit: int = Query(20, ge=1, le=100)`. The markers are read once, at registration.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any, Literal

__all__ = ["Body", "Cookie", "Depends", "File", "Form", "Header", "Path", "Query"]

#: No default: the request must bring the value.
MISSING: Any = ...

_CONSTRAINTS = ("gt", "ge", "lt", "le", "multiple_of", "min_length", "max_length", "pattern")


class Marker:
    """The source of a value, its name in the request, and its constraints."""

    __slots__ = (
        "alias",
        "constraints",
        "convert_underscores",
        "default",
        "default_factory",
        "deprecated",
        "description",
        "embed",
        "examples",
        "include_in_schema",
        "media_type",
        "source",
        "title",
    )

    def __init__(self, source: str, default: Any, options: dict[str, Any]) -> None:
        self.source = source
        self.default = default
        self.default_factory: Callable[[], Any] | None = options.pop("default_factory", None)
        self.alias: str | None = options.pop("alias", None)
        self.title: str | None = options.pop("title", None)
        self.description: str | None = options.pop("description", None)
        self.examples: list[Any] | None = options.pop("examples", None)
        self.deprecated = bool(options.pop("deprecated", False))
        self.include_in_schema = bool(options.pop("include_in_schema", True))
        self.convert_underscores = bool(options.pop("convert_underscores", True))
        self.embed = bool(options.pop("embed", False))
        self.media_type: str | None = options.pop("media_type", None) if source == "body" else None
        self.constraints = {
            name: value for name in _CONSTRAINTS if (value := options.pop(name, None)) is not None
        }
        kind = source.capitalize()
        if options:
            name = next(iter(options))
            known = ", ".join(("alias", "default", "description", *_CONSTRAINTS))
            raise TypeError(f"{kind}({name}=...): unknown option; known: {known}")
        if self.default_factory is not None and default is not MISSING:
            raise TypeError(f"{kind}(): give default or default_factory, not both")

    def __repr__(self) -> str:
        return f"{self.source.capitalize()}()"


class Dependency:
    """The result of `Depends` in an annotation."""

    __slots__ = ("call", "inline", "scope", "use_cache")

    def __init__(
        self, call: Callable[..., Any] | None, use_cache: bool, scope: str | None, inline: bool
    ) -> None:
        self.call = call
        self.use_cache = use_cache
        self.scope = scope
        self.inline = inline

    def __repr__(self) -> str:
        return f"Depends({getattr(self.call, '__name__', '')})"


def Query(default: Any = MISSING, **options: Any) -> Any:
    """A value of the query string. On a Struct, model or dataclass: each field is a query
    parameter.

    Options of all sources: `alias` (the name in the request), `default`, `default_factory`,
    `title`, `description`, `examples`, `deprecated`, `include_in_schema`; and the constraints `gt`,
    `ge`, `lt`, `le`, `multiple_of`, `min_length`, `max_length` (of text, or items of a list),
    `pattern` (a regex, which is searched for). A value that breaks a constraint is a 422. Clients
    choose the text for a `pattern`: with a regex that backtracks, such as `(a+)+$`, a client can
    block the event loop.
    """
    return Marker("query", default, options)


def Path(default: Any = MISSING, **options: Any) -> Any:
    """A parameter of the path. The options are those of `Query`, without a default."""
    if default is not MISSING:
        raise TypeError("Path(): a path parameter is always there and takes no default")
    return Marker("path", default, options)


def Header(default: Any = MISSING, **options: Any) -> Any:
    """A header field: `user_agent` reads `User-Agent` (`convert_underscores=False`: `user_agent`).

    With a list annotation it is a list of all fields of that name. The options are those of
    `Query`.
    """
    return Marker("header", default, options)


def Cookie(default: Any = MISSING, **options: Any) -> Any:
    """A cookie. The options are those of `Query`."""
    return Marker("cookie", default, options)


def Body(default: Any = MISSING, **options: Any) -> Any:
    """The body: JSON, a form or MessagePack, by its content type; with `bytes` the raw body.

    One body parameter is the whole body. With several, or with `embed=True`, each is a member of
    one object. `media_type`: the only accepted type; others are a 415. With "application/json",
    browsers of other sites cannot send the request without a CORS preflight. The other options are
    those of `Query`.
    """
    return Marker("body", default, options)


def Form(default: Any = MISSING, **options: Any) -> Any:
    """A form field. On a Struct, model or dataclass: the whole form. The options are those of
    `Query`."""
    return Marker("form", default, options)


def File(default: Any = MISSING, **options: Any) -> Any:
    """A file of a multipart form, as `UploadFile`, or as `bytes` with that annotation."""
    return Marker("file", default, options)


def Depends(
    dependency: Callable[..., Any] | None = None,
    *,
    use_cache: bool = True,
    scope: Literal["function", "request"] | None = None,
    inline: bool = False,
    **options: Any,
) -> Any:
    """The value that `dependency` returns or yields. Without one, the annotated class is called.

    `dependency`: a function, an async function, a class, or a (async) generator function that
    yields once. It may have the same parameters as a handler. A plain function runs in the thread
    pool, like a `def` handler; with `inline=True`, and always for a class, on the loop. It is
    called once for each request, also if several parameters use it; with `use_cache=False` once for
    each of them.

    The code after the `yield` runs after the response was sent, a stream to its end
    (`scope="request"`, the default). With `scope="function"` it runs when the handler has ended,
    before the response is sent. Then an error in it, such as in a commit, becomes the response, and
    the dependency is not open while a stream is sent. A handler that is an async generator ends
    with its stream. A dependency of scope "request" cannot depend on one of scope "function".

    If the handler fails, a stream breaks or its client leaves, the error is raised at the `yield`.
    Before the response is sent, the dependency may raise another error, which replaces it.
    """
    if options:
        name = next(iter(options))
        hint = '; write scope="request", the default, or scope="function"' if name == "hold" else ""
        raise TypeError(f"Depends({name}=...): unknown option{hint}")
    if scope not in (None, "function", "request"):
        raise TypeError(f'Depends(scope={scope!r}): expected "function" or "request"')
    if dependency is not None and not callable(dependency):
        raise TypeError(f"Depends({dependency!r}): expected a function or a class")
    return Dependency(dependency, use_cache, scope, inline)

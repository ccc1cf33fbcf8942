"""What a handler writes beside a parameter to say where its value comes from.

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
    """Where a value comes from, under which name, and what it must satisfy."""

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
    """What `Depends` leaves in an annotation."""

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
    """From the query string. On a Struct, model or dataclass: each field is a query parameter.

    Options of all sources: `alias` (the name on the wire), `default`, `default_factory`, `title`,
    `description`, `examples`, `deprecated`, `include_in_schema`; and the constraints `gt`, `ge`,
    `lt`, `le`, `multiple_of`, `min_length`, `max_length` (of text, or items of a list), `pattern`
    (a regex that is searched for). A value that breaks one is a 422. A `pattern` meets text that a
    client chose: one that backtracks, such as `(a+)+$`, lets a client hold the loop.
    """
    return Marker("query", default, options)


def Path(default: Any = MISSING, **options: Any) -> Any:
    """From the path; options as for `Query`. A default is refused: a path always has its parts."""
    if default is not MISSING:
        raise TypeError("Path(): a path parameter is always there and takes no default")
    return Marker("path", default, options)


def Header(default: Any = MISSING, **options: Any) -> Any:
    """From a header field: `user_agent` reads `User-Agent` (`convert_underscores=False`: as
    written).

    A list annotation takes every field of that name. Options as for `Query`.
    """
    return Marker("header", default, options)


def Cookie(default: Any = MISSING, **options: Any) -> Any:
    """From a cookie; options as for `Query`."""
    return Marker("cookie", default, options)


def Body(default: Any = MISSING, **options: Any) -> Any:
    """From the body: JSON, a form or MessagePack by its content type; `bytes` takes it as it is.

    One body parameter is the whole body; of several, or with `embed=True`, each is a member of one
    object. `media_type`: the only type that is taken, such as "application/json", which other sites
    cannot make a browser send without being asked; others are a 415. Options as for `Query`.
    """
    return Marker("body", default, options)


def Form(default: Any = MISSING, **options: Any) -> Any:
    """From a form field. On a Struct, model or dataclass: the whole form. Options as for
    `Query`."""
    return Marker("form", default, options)


def File(default: Any = MISSING, **options: Any) -> Any:
    """From a file of a multipart form, as `UploadFile`, or as `bytes` when annotated so."""
    return Marker("file", default, options)


def Depends(
    dependency: Callable[..., Any] | None = None,
    *,
    use_cache: bool = True,
    scope: Literal["function", "request"] | None = None,
    inline: bool = False,
    **options: Any,
) -> Any:
    """What `dependency` returns or yields; without one, the annotated class is called.

    `dependency`: a function, an async function, a class, or a (async) generator function that
    yields once; it may ask for the same things as a handler. A plain function runs in the thread
    pool, as a `def` handler does; with `inline=True`, and always for classes, on the loop. It is
    called once per request, however many ask for it; `use_cache=False` calls it for each.

    What follows the `yield` runs after the response was sent, a stream to its end (`scope=
    "request"`, the default). With `scope="function"` it runs when the handler has ended, before the
    response is sent: what fails there, such as a commit, fails the request, and nothing is held for
    the length of a stream; for a handler that is an async generator its end is that of the stream.
    What a dependency of scope "request" needs cannot be of scope "function".

    When the handler fails, or a stream breaks, or its client leaves, the error is raised at the
    `yield`; before the response, one that is raised instead replaces it.
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

"""Finds where each argument of a handler comes from. Runs once for each route, at start."""

from __future__ import annotations

import inspect
from collections.abc import Callable, Mapping
from typing import Annotated, Any, Protocol, get_origin

from ember.binding.construction import Construction
from ember.binding.hints import Hints, UnresolvedAnnotation, call_name, function_kind
from ember.binding.markers import MISSING, Dependency, Marker
from ember.binding.parameters import (
    ASYNC,
    ASYNC_GENERATOR,
    FACTORY,
    FUNCTION,
    INLINE,
    REQUEST,
    REQUIRED,
    Argument,
    Call,
    ComponentArgument,
    Constant,
    Parameter,
    RequestArgument,
    Source,
)
from ember.concurrency.background import BackgroundTasks
from ember.routing.router import RouteError
from ember.routing.signature import is_request, missing_component, parameters_of, show
from ember.schema import SchemaError, codec_for
from ember.schema.annotations import (
    Bare,
    Kind,
    bare,
    fields_of,
    is_data_class,
    is_json_text,
    is_sequence,
    is_typed_dict,
    is_upload,
    kind_of,
)

_HAS_NO_BODY = frozenset(("GET", "HEAD"))


class Registry(Protocol):
    """The components by type: a dict, or `ember.application.components.Components`."""

    def __contains__(self, type: type, /) -> bool: ...
    def __getitem__(self, type: type, /) -> Any: ...


class Analysis:
    """The analysis of one route: its handler and all dependencies.

    `where` starts every message: `route "GET /x" (app.show)`. `path`: the type of each path
    parameter by name, as the router converts it. Raises RouteError if a parameter cannot be filled.
    """

    def __init__(
        self,
        where: str,
        path: Mapping[str, Any],
        methods: tuple[str, ...],
        is_component: Callable[[type], bool],
        factories: Mapping[type, Callable[..., Any]],
        overrides: Mapping[Callable[..., Any], Callable[..., Any]],
        threads: bool,
        final: bool = True,
    ) -> None:
        self.where = where
        self._path = path
        self._methods = methods
        self._is_component = is_component
        self._factories = factories
        self._overrides = overrides
        self._threads = threads
        #: All components are known: a class that is not a component now is an error.
        self._final = final
        #: The dependencies by function and scope.
        self._calls: dict[tuple[Callable[..., Any], str], Call] = {}
        #: The dependencies that are being analysed, the outermost first; finds circles.
        self._open: list[Callable[..., Any]] = []

    def arguments(self, function: Callable[..., Any], name: str | None = None) -> list[Argument]:
        """The arguments of `function` with their sources. `name` is given for a dependency."""
        owner = f'{self.where}: dependency "{name}"' if name else self.where
        hints = Hints(function, owner)
        result = []
        for parameter in parameters_of(function, owner):
            annotation = self._annotation(hints, parameter)
            source = self._source(parameter, annotation, owner)
            by_name = parameter.kind is parameter.KEYWORD_ONLY
            result.append(Argument(parameter.name, source, by_name))
        return result

    def _annotation(self, hints: Hints, parameter: inspect.Parameter) -> Any:
        try:
            return hints.of(parameter)
        except UnresolvedAnnotation:
            # A converter that does not say what it gives: there is nothing to validate.
            if self._path.get(parameter.name) is Any:
                return Any
            raise

    def component(self, shared: Registry) -> Callable[[ComponentArgument], Any]:
        """A function that looks up a component. It raises RouteError if there is none."""

        def find(wanted: ComponentArgument) -> Any:
            if wanted.type in shared:
                return shared[wanted.type]
            raise missing_component(self.where, wanted.name, wanted.type)

        return find

    # -- one parameter ------------------------------------------------------------------------

    def _source(self, parameter: inspect.Parameter, annotation: Any, owner: str) -> Source:
        name = parameter.name
        parts = bare(annotation)
        markers: list[Marker | Dependency] = [
            m for m in parts.metadata if isinstance(m, (Marker, Dependency))
        ]
        default = parameter.default
        if isinstance(default, (Marker, Dependency)):
            markers.append(default)
            default = default.default if isinstance(default, Marker) else REQUIRED
        if len(markers) > 1:
            raise RouteError(
                f'{owner}: parameter "{name}" has {markers[0]!r} and {markers[1]!r}; keep one'
            )
        marker = markers[0] if markers else None
        if isinstance(marker, Dependency):
            return self._dependency(marker, parts.type, name, owner)
        beside = marker is not None and not isinstance(parameter.default, Marker)
        if marker is not None and beside and marker.default is not MISSING:
            if default is not REQUIRED:
                raise RouteError(
                    f'{owner}: parameter "{name}" has two defaults, {default!r} and '
                    f"{marker!r}'s {marker.default!r}; keep one"
                )
            default = marker.default
        if default is MISSING:
            default = REQUIRED
        if marker is None and not is_json_text(parts.metadata):
            given = self._from_server(parameter, parts.type)
            if given is not None:
                return given
        if annotation is REQUIRED and name not in self._path and marker is None:
            raise RouteError(self._unannotated(owner, name, default))
        if annotation is REQUIRED:
            annotation = Any if name in self._path else str
            parts = bare(annotation)
        elif annotation is object and name in self._path:
            annotation, parts = Any, bare(Any)
        return self._parameter(name, annotation, parts, marker, default, owner)

    def _from_server(self, parameter: inspect.Parameter, annotation: Any) -> Source | None:
        """The source of a parameter that needs no data of the request; None for all others.

        These are the request itself, background tasks and components."""
        name = parameter.name
        if name in self._path:
            return None
        if is_request(name, annotation):
            return RequestArgument("request")
        if annotation is REQUIRED or is_upload(annotation):
            return None
        kind = kind_of(annotation)
        if kind in (Kind.SCALAR, Kind.SEQUENCE) or annotation in (object, dict):
            return None
        is_class = isinstance(annotation, type) and not is_typed_dict(annotation)
        if is_class and issubclass(annotation, BackgroundTasks):
            return RequestArgument("background")
        if is_class and annotation in self._factories:
            return self._factory(annotation)
        if is_class and self._is_component(annotation):
            return ComponentArgument(annotation, name)
        if kind is Kind.CLASS and annotation is not object:
            if parameter.default is not REQUIRED:
                return Constant(parameter.default)
            return ComponentArgument(annotation, name)
        return None

    def _parameter(
        self,
        name: str,
        annotation: Any,
        parts: Bare,
        marker: Marker | None,
        default: Any,
        owner: str,
    ) -> Parameter:
        # A value that is JSON in text is a single text in a query or a form, whatever its type.
        json = is_json_text(parts.metadata)
        kind = Kind.SCALAR if json else kind_of(parts.type)
        if marker is not None:
            source = marker.source
        elif name in self._path:
            source = "path"
        elif is_upload(parts.type):
            source = "file"
        elif kind in (Kind.SCALAR, Kind.SEQUENCE):
            source = "query"
        else:
            source = "body"
        self._check(name, source, kind, annotation, marker, default, owner)
        if source == "path":
            default = REQUIRED  # it is for another route of the same handler, without the parameter
        alias = marker.alias if marker is not None and marker.alias else name
        if source == "header" and alias == name and marker is not None:
            alias = name.replace("_", "-") if marker.convert_underscores else name
        constraints = marker.constraints if marker is not None else {}
        try:
            # Text is never None: it is validated by the annotation without None.
            seen = annotation if source == "body" else _required(parts)
            codec = codec_for(_without_markers(seen), constraints)
        except SchemaError as error:
            raise RouteError(
                f'{owner}: parameter "{name}: {show(annotation)}" cannot be validated: {error}'
            ) from None
        result = Parameter(
            name, source, alias, annotation, parts.type, codec, default, marker, owner
        )
        result.optional = parts.optional
        several = kind is Kind.SEQUENCE or source == "file"
        result.many = several and is_sequence(parts.type)
        result.fields = (
            kind is Kind.DATA
            and source not in ("path", "body", "file")
            and bool(fields_of(parts.type))
        )
        return result

    def _check(
        self,
        name: str,
        source: str,
        kind: Kind,
        annotation: Any,
        marker: Marker | None,
        default: Any,
        owner: str,
    ) -> None:
        if source == "path":
            if name not in self._path and (marker is None or marker.alias not in self._path):
                known = ", ".join(f'"{p}"' for p in self._path) or "no parameters"
                raise RouteError(
                    f'{owner}: parameter "{name}" is marked Path(), but the path has {known}; '
                    f"put {{{name}}} into the path"
                )
            if default is not REQUIRED and marker is not None:
                raise RouteError(
                    f'{owner}: path parameter "{name}" has a default, which could never be used; '
                    f"drop it"
                )
            # A converter of the application may give any type.
            if kind is not Kind.SCALAR and self._path.get(name, str) in (str, int, float):
                raise RouteError(
                    f'{owner}: path parameter "{name}" is annotated {show(annotation)}; a path '
                    f"holds one value: str, int, float, UUID, date, Enum, Literal ..."
                )
        elif kind is Kind.UNKNOWN:
            raise RouteError(
                f'{owner}: parameter "{name}: {show(annotation)}" cannot be filled; annotate it '
                f"with a scalar, a list, a data class, or Depends(...)"
            )
        elif not self._final and source == "body":
            return
        elif source == "body" and marker is None and _HAS_NO_BODY.issuperset(self._methods):
            raise RouteError(
                f'{owner}: parameter "{name}: {show(annotation)}" would be the body, and '
                f"{self._methods[0]} has none (RFC 9110 section 9.3.1); write "
                f"Annotated[{show(annotation)}, Query()] to fill it from the query, or "
                f"Annotated[..., Depends(...)], or share one with app.add_component(...)"
            )
        elif source == "cookie" and kind is Kind.SEQUENCE:
            raise RouteError(
                f'{owner}: parameter "{name}: {show(annotation)}" cannot come from a cookie, which '
                f"holds one value"
            )
        elif (
            source in ("query", "header", "cookie", "form")
            and kind in (Kind.DATA, Kind.CLASS)
            and not fields_of(bare(annotation).type)
        ):
            raise RouteError(
                f'{owner}: parameter "{name}: {show(annotation)}" cannot come from the {source}; '
                f"it takes scalars, lists of them, and data classes whose fields are those"
            )

    def _unannotated(self, owner: str, name: str, default: Any) -> str:
        known = ", ".join(f'"{p}"' for p in self._path)
        where = f"the path has {known}" if known else "the path has no parameters"
        message = f'{owner}: nothing fills the parameter "{name}": {where}; '
        if default is REQUIRED or default is None:
            return (
                f"{message}put {{{name}}} into the path, annotate it "
                f'("{name}: int" reads the query), or call it "request"'
            )
        example = f"{name}: {type(default).__name__} = {default!r}"
        return f'{message}annotate it: "{example}" reads the query'

    # -- dependencies -------------------------------------------------------------------------

    def _dependency(self, marker: Dependency, annotation: Any, name: str, owner: str) -> Call:
        function = marker.call
        if function is None:
            if not isinstance(annotation, type):
                raise RouteError(
                    f'{owner}: parameter "{name}": Depends() without a function calls the '
                    f"annotated class, and {show(annotation)} is not a class; write "
                    f"Depends(function)"
                )
            function = annotation
        function = self._overrides.get(function, function)
        kind = self._kind(function, marker.inline)
        # Only generators and per-request components have a scope: they run code at the end.
        scope = (marker.scope or REQUEST) if kind >= ASYNC_GENERATOR else REQUEST
        known = self._calls.get((function, scope))
        if known is not None and marker.use_cache:
            return known
        if function in self._open:
            chain = [*self._open[self._open.index(function) :], function]
            raise RouteError(
                f"{owner}: dependencies go in a circle: {' -> '.join(map(call_name, chain))}"
            )
        call = Call(function, call_name(function), kind, scope)
        self._open.append(function)
        call.arguments = self.arguments(function, call.name)
        self._open.pop()
        if is_data_class(function):
            call.function = Construction(function, call.arguments)
        if kind >= ASYNC_GENERATOR and scope == REQUEST:
            self._check_scopes(call, call.arguments, owner)
        if marker.use_cache:
            self._calls[function, scope] = call
        return call

    def _check_scopes(self, call: Call, arguments: list[Argument], owner: str) -> None:
        """Raise RouteError if a dependency of scope "request" needs one of scope "function"."""
        for argument in arguments:
            source = argument.source
            if not isinstance(source, Call):
                continue
            if source.scope == FUNCTION:
                raise RouteError(
                    f'{owner}: dependency "{call.name}" has scope="request" and needs '
                    f'"{source.name}", which has scope="function" and ends before it; give both '
                    f"the same scope="
                )
            self._check_scopes(call, source.arguments, owner)

    def _factory(self, annotation: type) -> Call:
        """The call that makes the per-request component of a type."""
        factory = self._factories[annotation]
        factory = self._overrides.get(factory, factory)
        known = self._calls.get((factory, REQUEST))
        if known is not None:
            return known
        kind = self._kind(factory, True)
        kind = FACTORY if kind in (ASYNC, INLINE) else kind
        call = Call(factory, call_name(factory), kind, REQUEST)
        self._open.append(factory)
        call.arguments = self.arguments(factory, call.name)
        self._open.pop()
        self._calls[factory, REQUEST] = call
        return call

    def _kind(self, function: Callable[..., Any], inline: bool) -> int:
        return function_kind(function, self._threads and not inline)


def _without_markers(annotation: Any) -> Any:
    """The annotation without Ember's markers, for the library that validates."""
    if get_origin(annotation) is not Annotated:
        return annotation
    rest = [m for m in annotation.__metadata__ if not isinstance(m, (Marker, Dependency))]
    inner = annotation.__origin__
    return Annotated[(inner, *rest)] if rest else inner


def _required(parts: Bare) -> Any:
    """The annotation without None."""
    return Annotated[(parts.type, *parts.metadata)] if parts.metadata else parts.type

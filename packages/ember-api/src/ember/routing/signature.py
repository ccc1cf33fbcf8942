"""Reads the signatures of handlers, and plans the arguments of the plain ones.

`parameters_of`, `Annotations` and `is_request` read a signature for everybody: for the plan here,
and for the analysis of `ember.binding`, which OpenAPI reads too. A plan is enough for handlers that
take only the request, path parameters and components: the dispatcher calls them directly. `resolve`
makes one only where it is certain. `ember.binding` decides about all other handlers, and is
imported only for them.
"""

from __future__ import annotations

import builtins
import inspect
import sys
from collections.abc import Callable, Container, Mapping
from typing import Any

from ember.concurrency.background import BackgroundTasks
from ember.request import Request
from ember.routing.router import Converter, RouteError, Template

#: Marks the request in a plan; a number of 0 or more is the index of a path parameter.
REQUEST = -1

#: The default and the annotation of a parameter that has none.
EMPTY: Any = inspect.Parameter.empty

_NAMED_BY_TYPE = {int: "int", float: "float", str: "str"}


class Component:
    """A slot of a plan: the component of this type, which is looked up at start."""

    __slots__ = ("name", "type")

    def __init__(self, type: type, name: str) -> None:
        self.type = type
        self.name = name


class Plan:
    """The arguments of a handler.

    `slots` has one item for each argument, in order: `REQUEST`, the index of a path parameter, or a
    `Component`. The last `len(keywords)` arguments are passed by name.
    """

    __slots__ = ("keywords", "slots")

    def __init__(self, slots: list[int | Component], keywords: tuple[str, ...]) -> None:
        self.slots = slots
        self.keywords = keywords

    def asks_for(self, types: Container[type]) -> bool:
        """Whether it has a component of one of these types."""
        return any(isinstance(slot, Component) and slot.type in types for slot in self.slots)


def handler_name(handler: Callable[..., Any]) -> str:
    """`module.function`, for messages and logs."""
    target: Any = inspect.unwrap(handler)
    while hasattr(target, "func"):  # functools.partial
        target = target.func
    name = getattr(target, "__qualname__", None) or type(target).__qualname__
    module = getattr(target, "__module__", None) or type(target).__module__
    return f"{module}.{name}".replace("<locals>.", "")


def unwrap(function: Any) -> Any:
    """The function inside functools.partial objects and bound methods."""
    while hasattr(function, "func"):
        function = function.func
    return getattr(function, "__func__", function)


def is_async(handler: Callable[..., Any]) -> bool:
    """Whether a call of `handler` returns a coroutine or an async generator. Then it runs on the
    loop."""
    seen: Any = handler
    while seen is not None:
        while hasattr(seen, "func"):  # functools.partial
            seen = seen.func
        # An object whose class defines __call__ is a handler too.
        for candidate in (seen, getattr(type(seen), "__call__", None)):  # noqa: B004
            if inspect.iscoroutinefunction(candidate) or inspect.isasyncgenfunction(candidate):
                return True
        seen = getattr(seen, "__wrapped__", None)
    return False


# -- reading --------------------------------------------------------------------------------------


def parameters_of(function: Callable[..., Any], owner: str) -> list[inspect.Parameter]:
    """The parameters of a handler or a dependency, with the annotations as they were written.

    `owner` starts the messages. Raises RouteError if they cannot be read, and for `*args` and
    `**kwargs`, which nothing fills.
    """
    try:
        found = list(inspect.signature(function).parameters.values())
    except (TypeError, ValueError) as error:
        raise RouteError(f"{owner}: the parameters cannot be read: {error}") from None
    for parameter in found:
        if parameter.kind in (parameter.VAR_POSITIONAL, parameter.VAR_KEYWORD):
            stars = "*" if parameter.kind is parameter.VAR_POSITIONAL else "**"
            raise RouteError(
                f'{owner}: nothing fills "{stars}{parameter.name}"; name the parameters '
                f"(a decorator of your own wants functools.wraps)"
            )
    return found


class Annotations:
    """The annotations of one function as objects, also those that are text.

    `target` is the function that has them; `names` are those that its annotations may use.
    """

    def __init__(self, function: Callable[..., Any]) -> None:
        self.target = _definition(function)
        self._names: dict[str, Any] | None = None

    @property
    def names(self) -> dict[str, Any]:
        if self._names is None:
            self._names = _namespace(self.target)
        return self._names

    def add(self, names: dict[str, Any]) -> None:
        """Let the annotations use these names too; those that are known already stay."""
        self._names = {**names, **self.names}

    def evaluate(self, text: str) -> Any:
        """The object of an annotation that is text. Raises what its evaluation raises."""
        return eval(text, self.names)

    def read(self, annotation: Any) -> Any:
        """The object of an annotation; text that cannot be evaluated here stays text."""
        if not isinstance(annotation, str):
            return annotation
        try:
            return self.evaluate(annotation)
        except Exception:  # noqa: BLE001 - `ember.binding` looks further, and reports it
            known = known_by_name(annotation)
            return annotation if known is None else known


def known_by_name(text: str) -> Any:
    """The type of an annotation that is often imported under TYPE_CHECKING only; None: not one."""
    if text.rpartition(".")[2] == "Request":
        return Request
    if text in ("UUID", "uuid.UUID"):
        from uuid import UUID

        return UUID
    return None


def _definition(function: Any) -> Any:
    """The function with the annotations: inside decorators, partials and `__call__`."""
    target = unwrap(inspect.unwrap(unwrap(function)))
    if isinstance(target, type) or hasattr(target, "__globals__"):
        return target
    return unwrap(type(target).__call__)


def _namespace(target: Any) -> dict[str, Any]:
    """The names for annotations: builtins, globals, and variables of a closure."""
    names = dict(vars(builtins))
    if isinstance(target, type):
        names |= getattr(vars(target).get("__init__"), "__globals__", {})
        names |= vars(sys.modules[target.__module__]) if target.__module__ in sys.modules else {}
        names[target.__name__] = target
        return names
    names |= getattr(target, "__globals__", {})
    code = getattr(target, "__code__", None)
    cells = getattr(target, "__closure__", None) or ()
    for name, cell in zip(getattr(code, "co_freevars", ()), cells, strict=False):
        try:
            names[name] = cell.cell_contents
        except ValueError:  # the enclosing function has not assigned the variable yet
            continue
    return names


def is_request(name: str, annotation: Any) -> bool:
    """Whether a parameter that has no marker, and is not in the path, is the request.

    By its annotation, or by the name `request`, with an annotation that does not say otherwise.
    """
    if name == "request" and (annotation is EMPTY or annotation is Any or annotation is object):
        return True
    return isinstance(annotation, type) and annotation in Request.__mro__[:-1]


def show(annotation: Any) -> str:
    """An annotation as text, about as it was written."""
    if isinstance(annotation, str):
        return annotation
    if hasattr(annotation, "__metadata__"):
        return show(annotation.__origin__)
    # A generic such as list[int] has an origin; older Pythons take it for a type.
    if isinstance(annotation, type) and not hasattr(annotation, "__origin__"):
        return annotation.__name__
    return str(annotation).replace("typing.", "")


def missing_component(owner: str, name: str, type: type) -> RouteError:
    """The error for a parameter whose component nobody has added."""
    return RouteError(
        f'{owner}: "{name}": no component of type {type.__name__}; add one with '
        f"app.add_component(...) or in a BEFORE_SERVER_START hook with components.add(...), or "
        f"annotate the parameter with Depends(...)"
    )


# -- planning -------------------------------------------------------------------------------------


def resolve(
    handler: Callable[..., Any],
    template: Template,
    owner: str,
    converters: Mapping[str, Converter],
    is_component: Callable[[type], bool],
) -> Plan | None:
    """The plan for `handler` on `template`; None if the handler needs `ember.binding`.

    Every handler comes here first, also those that need `ember.binding`.

    If the template has no converter for a parameter, the annotation `int`, `float` or `UUID`
    chooses it. Raises RouteError if the annotation and the converter in the template disagree.
    """
    annotations = Annotations(handler)
    indices = {p.name: index for index, p in enumerate(template.parameters)}
    slots: list[int | Component] = []
    keywords: list[str] = []
    more = False
    for parameter in parameters_of(handler, owner):
        name = parameter.name
        annotation = annotations.read(parameter.annotation)
        bare, marked = annotation, type(parameter.default).__module__ == "ember.binding.markers"
        while hasattr(bare, "__metadata__"):
            bare, marked = bare.__origin__, True
        if name in indices:
            fits = _choose_converter(template, indices[name], bare, owner, converters)
            more = more or marked or not fits
            slots.append(indices[name])
        elif marked:
            more = True
        elif is_request(name, annotation):
            slots.append(REQUEST)
        elif (
            isinstance(annotation, type)
            and parameter.default is EMPTY
            and not _is_value(annotation)
            and (not _is_data(annotation) or is_component(annotation))
        ):
            slots.append(Component(annotation, name))
        else:
            more = True
        if parameter.kind is parameter.KEYWORD_ONLY:
            keywords.append(name)
    return None if more else Plan(slots, tuple(keywords))


def _is_value(annotation: type) -> bool:
    """Whether values of this class are texts, numbers, containers and the like, or come from the
    server: never components, or only `ember.binding` can tell."""
    from enum import Enum

    return (
        annotation is EMPTY
        or annotation is Any
        or annotation.__module__ in ("builtins", "datetime", "uuid", "decimal", "collections")
        or annotation.__module__ == "ember.forms.upload"
        or annotation.__module__.partition(".")[0] in ("pydantic", "pydantic_extra_types")
        or issubclass(annotation, (Enum, dict, list, tuple, str, int, float, BackgroundTasks))
    )


def _is_data(annotation: type) -> bool:
    """Whether it is a class for data of a body or a query, unless it is a component."""
    return (
        hasattr(annotation, "__struct_fields__")
        or hasattr(annotation, "__dataclass_fields__")
        or hasattr(annotation, "__attrs_attrs__")
        or hasattr(annotation, "__pydantic_validator__")
    )


def _choose_converter(
    template: Template,
    index: int,
    annotation: Any,
    owner: str,
    converters: Mapping[str, Converter],
) -> bool:
    """Choose the converter by the annotation, or check that they agree. Raises RouteError.

    Returns whether the converter gives the type of the annotation. If not, `ember.binding` has to
    convert the text.
    """
    parameter = template.parameters[index]
    if annotation is EMPTY or annotation is Any or annotation is object:
        return True
    wanted: str | None
    if getattr(annotation, "__module__", None) == "uuid":
        wanted = "uuid"
    else:
        wanted = _NAMED_BY_TYPE.get(annotation)
    if not parameter.explicit:
        parameter.converter = wanted or "str"
        return wanted is not None
    converter = converters.get(parameter.converter)
    given = converter.python_type if converter else None
    if parameter.converter == "uuid":
        agrees = wanted == "uuid"
    elif given is None:
        agrees = True
    elif (wanted is None and given is str) or not isinstance(annotation, type):
        return False
    elif annotation is float and issubclass(given, int):
        return False  # 7 becomes 7.0
    else:
        agrees = issubclass(given, annotation)
    if not agrees:
        raise RouteError(
            f'{owner}: path parameter "{parameter.name}" is annotated {show(annotation)}, '
            f'but "{{{parameter.name}:{parameter.converter}}}" gives '
            f"{given.__name__ if given else 'UUID'}; make the two agree"
        )
    return True

"""Plans the arguments of a handler from its signature, once, at registration.

A plan is enough for handlers that take only the request, path parameters and components: the
dispatcher calls them directly. All other handlers use `ember.binding`, which is imported if needed.
"""

from __future__ import annotations

import builtins
import inspect
from collections.abc import Callable, Container, Mapping
from typing import Any

from ember.routing.router import Converter, RouteError, Template

#: Marks the request in a plan; a number of 0 or more is the index of a path parameter.
REQUEST = -1

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


def resolve(
    handler: Callable[..., Any],
    template: Template,
    owner: str,
    converters: Mapping[str, Converter],
    is_component: Callable[[type], bool],
) -> Plan | None:
    """The plan for `handler` on `template`; None if the handler needs `ember.binding`.

    If the template has no converter for a parameter, the annotation `int`, `float` or `UUID`
    chooses it. Raises RouteError if the annotation and the converter in the template disagree.
    """
    try:
        signature = inspect.signature(handler)
    except (TypeError, ValueError) as error:
        raise RouteError(f"{owner}: the handler's parameters cannot be read: {error}") from None
    indices = {p.name: index for index, p in enumerate(template.parameters)}
    slots: list[int | Component] = []
    keywords: list[str] = []
    more = False
    for parameter in signature.parameters.values():
        name = parameter.name
        annotation = _annotation(parameter.annotation, handler)
        bare, marked = annotation, type(parameter.default).__module__ == "ember.binding.markers"
        while hasattr(bare, "__metadata__"):
            bare, marked = bare.__origin__, True
        if name in indices:
            fits = _choose_converter(template, indices[name], bare, owner, converters)
            more = more or marked or not fits
            slots.append(indices[name])
        elif marked:
            more = True
        elif name == "request" or _is_request(annotation):
            slots.append(REQUEST)
        elif (
            isinstance(annotation, type)
            and parameter.default is parameter.empty
            and (is_component(annotation) or _may_be_component(annotation))
        ):
            slots.append(Component(annotation, name))
        else:
            more = True
        if parameter.kind is parameter.KEYWORD_ONLY:
            keywords.append(name)
    return None if more else Plan(slots, tuple(keywords))


def _annotation(annotation: Any, handler: Callable[..., Any]) -> Any:
    """The annotation as an object; a string that cannot be evaluated stays a string."""
    if not isinstance(annotation, str):
        return annotation
    function: Any = inspect.unwrap(handler)
    while hasattr(function, "func"):
        function = function.func
    function = getattr(function, "__func__", function)
    if not hasattr(function, "__globals__"):
        function = getattr(type(function), "__call__", None)  # noqa: B004
    names = dict(vars(builtins)) | getattr(function, "__globals__", {})
    code = getattr(function, "__code__", None)
    for name, cell in zip(
        getattr(code, "co_freevars", ()), getattr(function, "__closure__", None) or (), strict=True
    ):
        try:
            names[name] = cell.cell_contents
        except ValueError:  # a variable of an enclosing function that is not assigned yet
            continue
    try:
        return eval(annotation, names)
    except (NameError, AttributeError, TypeError, SyntaxError):
        # Imported under TYPE_CHECKING, or local to a function: only its name is known.
        return annotation


def _is_request(annotation: Any) -> bool:
    if isinstance(annotation, str):
        return annotation.rpartition(".")[2] == "Request"
    if not isinstance(annotation, type) or annotation.__name__ != "Request":
        return False
    from ember.request import Request

    return issubclass(Request, annotation)


def _may_be_component(annotation: type) -> bool:
    """Whether it may be a component: a plain class, not a type for data of a body or a query."""
    from enum import Enum

    return not (
        annotation in (inspect.Parameter.empty, Any, object)
        or annotation.__module__ in ("builtins", "datetime", "uuid", "decimal", "collections")
        or annotation.__module__ in ("ember.concurrency.background", "ember.forms.upload")
        or annotation.__module__.partition(".")[0] == "pydantic"
        or issubclass(annotation, (Enum, dict, list, tuple, str, int, float))
        or hasattr(annotation, "__struct_fields__")
        or hasattr(annotation, "__dataclass_fields__")
        or hasattr(annotation, "model_dump_json")
        or hasattr(annotation, "__attrs_attrs__")
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
    if annotation is inspect.Parameter.empty or annotation is Any or annotation is object:
        return True
    if isinstance(annotation, str):
        wanted = {"UUID": "uuid", "uuid.UUID": "uuid"}.get(annotation)
    elif getattr(annotation, "__module__", None) == "uuid":
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
    else:
        agrees = issubclass(given, annotation) or (given is int and annotation is float)
    if not agrees:
        raise RouteError(
            f'{owner}: path parameter "{parameter.name}" is annotated {_show(annotation)}, '
            f'but "{{{parameter.name}:{parameter.converter}}}" gives '
            f"{given.__name__ if given else 'UUID'}; make the two agree"
        )
    return True


def _show(annotation: Any) -> str:
    if isinstance(annotation, str):
        return annotation
    return annotation.__name__ if isinstance(annotation, type) else str(annotation)

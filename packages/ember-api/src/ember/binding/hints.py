"""Resolves annotations to objects: forward references, names in closures and factory functions."""

from __future__ import annotations

import builtins
import inspect
import re
import sys
import typing
from collections.abc import Callable
from typing import Annotated, Any, get_args, get_origin
from weakref import WeakKeyDictionary

from ember.binding.parameters import (
    ASYNC,
    ASYNC_GENERATOR,
    GENERATOR,
    INLINE,
    THREAD,
    THREAD_GENERATOR,
)
from ember.request import Request
from ember.routing.router import RouteError

_identifiers = re.compile(r"[^\W\d]\w*").findall

#: The variables of the function in which a handler was defined. They are stored at registration:
#: when the routes are compiled, that function has returned.
_surroundings: WeakKeyDictionary[Any, dict[str, Any]] = WeakKeyDictionary()


class UnresolvedAnnotation(RouteError):
    """A forward reference to a name that does not exist, or not yet."""


class Hints:
    """Resolves the annotations of one function. `owner` starts the messages."""

    def __init__(self, function: Callable[..., Any], owner: str) -> None:
        self._owner = owner
        self._target = _definition(function)
        self._names = _namespace(self._target)

    def of(self, parameter: inspect.Parameter) -> Any:
        """The annotation of `parameter` as an object; `Parameter.empty` without an annotation.

        Raises UnresolvedAnnotation for an unknown name, RouteError for any other mistake.
        """
        annotation = parameter.annotation
        try:
            if isinstance(annotation, str):
                annotation = self._evaluate(annotation)
            return self._inside(annotation)
        except NameError as error:
            text = show(parameter.annotation)
            if parameter.name == "request" or text.rpartition(".")[2] == "Request":
                return Request  # imported under TYPE_CHECKING only
            module = self._names.get("__name__", "its module")
            raise UnresolvedAnnotation(
                f'{self._owner}: parameter "{parameter.name}: {text}": the name "{error.name}" is '
                f"not known in {module}; import it at the top of the module, not under "
                f"TYPE_CHECKING"
            ) from None
        except Exception as error:  # noqa: BLE001 - every error of the annotation is reported
            raise RouteError(
                f'{self._owner}: parameter "{parameter.name}: {show(parameter.annotation)}": '
                f"{type(error).__name__}: {error}"
            ) from None

    def _evaluate(self, text: str) -> Any:
        try:
            return eval(text, self._names)
        except NameError:
            found = _surrounding(self._target)
            if not found:
                raise
            self._names = {**found, **self._names}
            return eval(text, self._names)

    def _inside(self, annotation: Any) -> Any:
        """Resolve an annotation with strings inside, such as `list["Item"]`."""
        if isinstance(annotation, typing.ForwardRef):
            return self._evaluate(annotation.__forward_arg__)
        if not _has_strings(annotation):
            return annotation
        self._names = {**(_surrounding(self._target) or {}), **self._names}
        holder = type("Holder", (), {"__annotations__": {"x": annotation}})
        return typing.get_type_hints(holder, self._names, self._names, include_extras=True)["x"]


def _has_strings(annotation: Any) -> bool:
    origin = get_origin(annotation)
    if origin is typing.Literal:
        return False
    if origin is Annotated:
        return _has_strings(annotation.__origin__)
    return any(
        isinstance(part, (str, typing.ForwardRef)) or _has_strings(part)
        for part in get_args(annotation)
    )


def unwrap(function: Any) -> Any:
    """The function inside functools.partial objects and bound methods."""
    while hasattr(function, "func"):
        function = function.func
    return getattr(function, "__func__", function)


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


def _surrounding(target: Any) -> dict[str, Any]:
    """The variables of the function that defines `target`, while it still runs. For example:

    def create_app():
        class Item(Struct): ...

        @app.post("/")
        async def create(item: Item): ...
    """
    outer, local, _ = target.__qualname__.rpartition(".<locals>.")
    if not local:
        return {}
    frame = sys._getframe(1)
    file = getattr(getattr(target, "__code__", None), "co_filename", None)
    name = outer.rpartition(".")[2]
    while frame is not None:
        code = frame.f_code
        if code.co_name == name and (file is None or code.co_filename == file):
            # Only the names in the annotations: other variables should not be kept alive.
            text = " ".join(str(a) for a in getattr(target, "__annotations__", {}).values())
            found = frame.f_locals
            _surroundings[target] = {n: found[n] for n in _identifiers(text) if n in found}
            break
        frame = frame.f_back  # type: ignore[assignment]
    return _surroundings.get(target, {})


def call_name(function: Any) -> str:
    """The name of a dependency in messages."""
    target = unwrap(function)
    name: str = getattr(target, "__qualname__", type(target).__qualname__)
    return name.replace("<locals>.", "")


def show(annotation: Any) -> str:
    """An annotation as text, about as it was written."""
    if isinstance(annotation, str):
        return annotation
    if get_origin(annotation) is Annotated:
        return show(get_args(annotation)[0])
    if isinstance(annotation, type) and get_origin(annotation) is None:
        return annotation.__name__
    return str(annotation).replace("typing.", "")


def function_kind(function: Callable[..., Any], threads: bool) -> int:
    """The kind of a function. With `threads`, plain functions run in a thread; classes never do."""
    target = unwrap(function)
    if isinstance(target, type):
        return INLINE
    if not inspect.isroutine(target):
        target = unwrap(type(target).__call__)
    if inspect.isasyncgenfunction(target):
        return ASYNC_GENERATOR
    if inspect.isgeneratorfunction(target):
        return THREAD_GENERATOR if threads else GENERATOR
    if inspect.iscoroutinefunction(target):
        return ASYNC
    return THREAD if threads else INLINE

"""Resolves annotations to objects: forward references, names in closures and factory functions."""

from __future__ import annotations

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
from ember.routing.signature import Annotations, known_by_name, show, unwrap

_identifiers = re.compile(r"[^\W\d]\w*").findall

#: The variables of the function in which a handler was defined. They are stored at registration:
#: when the routes are compiled, that function has returned.
_surroundings: WeakKeyDictionary[Any, dict[str, Any]] = WeakKeyDictionary()


class UnresolvedAnnotation(RouteError):
    """A forward reference to a name that does not exist, or not yet."""


class Hints(Annotations):
    """The annotations of one function; `owner` starts the messages.

    It reads more than `Annotations`: text inside an annotation, and names of the function in which
    this one is defined. What cannot be resolved is an error.
    """

    def __init__(self, function: Callable[..., Any], owner: str) -> None:
        super().__init__(function)
        self._owner = owner

    def of(self, parameter: inspect.Parameter) -> Any:
        """The annotation of `parameter` as an object; `Parameter.empty` without an annotation.

        Raises UnresolvedAnnotation for an unknown name, RouteError for any other mistake.
        """
        annotation = parameter.annotation
        try:
            if isinstance(annotation, str):
                annotation = self.evaluate(annotation)
            return self._inside(annotation)
        except Exception as error:  # noqa: BLE001 - every error of the annotation is reported
            text = show(parameter.annotation)
            known = known_by_name(text)
            if known is not None:
                return known
            if not isinstance(error, NameError):
                raise RouteError(
                    f'{self._owner}: parameter "{parameter.name}: {text}": '
                    f"{type(error).__name__}: {error}"
                ) from None
            if parameter.name == "request":
                return Request
            module = self.names.get("__name__", "its module")
            raise UnresolvedAnnotation(
                f'{self._owner}: parameter "{parameter.name}: {text}": the name "{error.name}" is '
                f"not known in {module}; import it at the top of the module, not under "
                f"TYPE_CHECKING"
            ) from None

    def evaluate(self, text: str) -> Any:
        """The object of an annotation that is text."""
        try:
            return super().evaluate(text)
        except NameError:
            found = _surrounding(self.target)
            if not found:
                raise
            self.add(found)
            return super().evaluate(text)

    def _inside(self, annotation: Any) -> Any:
        """Resolve an annotation with strings inside, such as `list["Item"]`."""
        if isinstance(annotation, typing.ForwardRef):
            return self.evaluate(annotation.__forward_arg__)
        if not _has_strings(annotation):
            return annotation
        self.add(_surrounding(self.target) or {})
        holder = type("Holder", (), {"__annotations__": {"x": annotation}})
        return typing.get_type_hints(holder, self.names, self.names, include_extras=True)["x"]


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

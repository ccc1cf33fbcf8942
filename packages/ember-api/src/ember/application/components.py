"""Components: shared objects by type, such as a database pool, settings, a client."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any, TypeVar

T = TypeVar("T")


class Components:
    """The components that `app.add_component` and the start hooks added, by type.

    `components[Pool]` is the object of that type, or of a subclass of it.
    """

    __slots__ = ("_by_type", "factories")

    def __init__(self) -> None:
        self._by_type: dict[type, Any] = {}
        #: The functions that make a component for each request, by its type.
        self.factories: dict[type, Callable[..., Any]] = {}

    def add(
        self, component: object, provides: type | None = None, per_request: bool = False
    ) -> None:
        """Share `component` under its own type, or under `provides`. It replaces an earlier one.

        With `per_request` it is a class, a function or a generator function that makes an object
        for each request. It may have the same parameters as a handler. The object is closed after
        the request. Raises TypeError for an invalid component.
        """
        if per_request:
            self._add_factory(component, provides)
            return
        if isinstance(component, type):
            name = component.__name__
            raise TypeError(
                f"add_component({name}): give an instance, not the class: "
                f"add_component({name}(...)); or one for each request: "
                f"add_component({name}, per_request=True)"
            )
        if provides is not None and not isinstance(component, provides):
            raise TypeError(f"{component!r} is not an instance of {provides.__name__}")
        self._by_type[provides or type(component)] = component

    def _add_factory(self, factory: Any, provides: type | None) -> None:
        name = getattr(factory, "__name__", repr(factory))
        if not callable(factory):
            raise TypeError(
                f"add_component({name}, per_request=True): expected a class or function"
            )
        if provides is None and isinstance(factory, type):
            provides = factory
        if provides is None:
            from typing import get_args, get_type_hints

            try:
                made = get_type_hints(factory).get("return")
            except NameError:  # a name that is only known inside a function
                made = None
            # The annotation Iterator[Session] means that it makes a Session.
            made = next(iter(get_args(made)), made)
            if not isinstance(made, type):
                raise TypeError(
                    f"add_component({name}, per_request=True): the type of the component is not "
                    f"known: annotate the result, or give provides=..."
                )
            provides = made
        self.factories[provides] = factory

    def __contains__(self, type: type) -> bool:
        return self._find(type) is not None

    def __getitem__(self, type: type[T]) -> T:
        key = self._find(type)
        if key is None:
            raise KeyError(
                f"no component of type {type.__name__}; add one with app.add_component(...) "
                f"or in a BEFORE_SERVER_START hook with components.add(...)"
            )
        found: T = self._by_type[key]
        return found

    def get(self, type: type[T], default: T | None = None) -> T | None:
        """The component of this type, or `default`."""
        key = self._find(type)
        return default if key is None else self._by_type[key]

    def _find(self, wanted: type) -> type | None:
        if wanted in self._by_type:
            return wanted
        return next((key for key in self._by_type if issubclass(key, wanted)), None)

"""`Depends()` on a data class: an error of its own validators is an error of the request (422)."""

from __future__ import annotations

from typing import Any

from ember.binding.errors import InvalidRequest
from ember.binding.parameters import Argument, Parameter


class Construction:
    """Calls a data class. Raises InvalidRequest where it raises ValueError: a pydantic model's
    validators, `__post_init__` of a Struct, a dataclass or an attrs class."""

    def __init__(self, cls: Any, arguments: list[Argument]) -> None:
        self._cls = cls
        parameters = [(a.name, a.source) for a in arguments if isinstance(a.source, Parameter)]
        self._places = {name: source.loc for name, source in parameters}
        self._places |= {source.alias: source.loc for _, source in parameters}
        # The location of an error of the whole object is its source, if all values have the same.
        sources = {source.loc[0] for _, source in parameters}
        self._whole = list(sources) if len(sources) == 1 else []
        self.__name__ = self.__qualname__ = cls.__qualname__

    def __call__(self, *args: Any, **kwargs: Any) -> Any:
        try:
            return self._cls(*args, **kwargs)
        except ValueError as error:
            raise InvalidRequest(self._field_errors(error)) from error

    def _field_errors(self, error: ValueError) -> list[dict[str, Any]]:
        errors = getattr(error, "errors", None)
        if errors is None:
            return [{"loc": self._whole, "msg": str(error), "type": "value_error"}]
        found = errors(include_url=False, include_context=False, include_input=False)
        return [
            {"loc": self._place(item["loc"]), "msg": item["msg"], "type": item["type"]}
            for item in found
        ]

    def _place(self, loc: tuple[Any, ...]) -> list[Any]:
        if loc and loc[0] in self._places:
            return [*self._places[loc[0]], *loc[1:]]
        return [*self._whole, *loc]

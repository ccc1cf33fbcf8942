"""`app.dependency_overrides`: replacements of dependencies, for tests."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any


class Overrides(dict[Callable[..., Any], Callable[..., Any]]):
    """A dict from dependency to replacement.

    `changed` is called at every change: routes are compiled again before the next request.
    """

    def __init__(self, changed: Callable[[], None]) -> None:
        super().__init__()
        self._changed = changed

    def __setitem__(self, key: Callable[..., Any], value: Callable[..., Any]) -> None:
        if not callable(value):
            raise TypeError(f"dependency_overrides[...] = {value!r}: expected a function")
        super().__setitem__(key, value)
        self._changed()

    def __delitem__(self, key: Callable[..., Any]) -> None:
        super().__delitem__(key)
        self._changed()

    def clear(self) -> None:
        """Remove all replacements."""
        super().clear()
        self._changed()

    def pop(self, key: Callable[..., Any], *default: Any) -> Any:
        """Remove the replacement of `key`."""
        result = super().pop(key, *default)
        self._changed()
        return result

    def popitem(self) -> tuple[Callable[..., Any], Callable[..., Any]]:
        """Remove the last replacement."""
        result = super().popitem()
        self._changed()
        return result

    def update(self, *args: Any, **kwargs: Any) -> None:
        """Add replacements."""
        super().update(*args, **kwargs)
        self._changed()

    def setdefault(self, key: Callable[..., Any], default: Any = None) -> Any:
        """The replacement of `key`; `default` is set if there is none."""
        if key not in self:
            self[key] = default
        return self[key]

    def __ior__(self, other: Any) -> Overrides:  # type: ignore[override,misc]
        self.update(other)
        return self

"""`app.dependency_overrides`: what stands in for a dependency, in tests."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any


class Overrides(dict[Callable[..., Any], Callable[..., Any]]):
    """A dict from dependency to replacement.

    `changed` is called whenever it changes, so that routes are compiled again
    before the next request.
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
        """Forget all of them."""
        super().clear()
        self._changed()

    def pop(self, key: Callable[..., Any], *default: Any) -> Any:
        """Forget one."""
        result = super().pop(key, *default)
        self._changed()
        return result

    def popitem(self) -> tuple[Callable[..., Any], Callable[..., Any]]:
        """Forget the last one."""
        result = super().popitem()
        self._changed()
        return result

    def update(self, *args: Any, **kwargs: Any) -> None:
        """Take over others."""
        super().update(*args, **kwargs)
        self._changed()

    def setdefault(self, key: Callable[..., Any], default: Any = None) -> Any:
        """The replacement of `key`, after setting it where there was none."""
        if key not in self:
            self[key] = default
        return self[key]

    def __ior__(self, other: Any) -> Overrides:  # type: ignore[override,misc]
        self.update(other)
        return self

"""`@cached(cache)`: keep the results of an async function."""

from __future__ import annotations

import functools
import inspect
from collections.abc import Awaitable, Callable, Iterable
from typing import Any, ParamSpec, Protocol, TypeVar, cast

from ember.cache.base import Admit, Cache
from ember.cache.key import CallKey, tag_set

__all__ = ["CachedFunction", "cached"]

P = ParamSpec("P")
R = TypeVar("R", covariant=True)


class CachedFunction(Protocol[P, R]):
    """The decorated function: called as before, and it knows its key."""

    cache: Cache
    __wrapped__: Callable[..., Any]

    async def __call__(self, *args: P.args, **kwargs: P.kwargs) -> R: ...

    def key(self, *args: P.args, **kwargs: P.kwargs) -> str:
        """The key under which a call with these arguments is kept."""

    async def invalidate(self, *args: P.args, **kwargs: P.kwargs) -> None:
        """Forget the result of a call with these arguments."""


def cached(
    cache: Cache,
    key: str | Callable[..., str] | None = None,
    *,
    tags: Iterable[str] | Callable[..., Iterable[str]] | None = None,
    admit: Admit | None = None,
) -> Callable[[Callable[P, Awaitable[R]]], CachedFunction[P, R]]:
    """Keep what an async function returns in `cache`; concurrent equal calls run it once.

    `key`: a template filled from the arguments (`"user:{id}"`), or a function of them; default: the
    cache's `key_fn`, else the function's name and all its arguments, which must then be plain
    values. `tags`: a list of str or a function of the arguments; default: the cache's `tags`.
    `admit`: called with the result, says whether and for how long to keep it (see `Admit`).

    Raises TypeError and ValueError, when decorating, for what cannot work.
    """
    if not isinstance(cache, Cache):
        raise TypeError(
            f"cached({cache!r}): the first argument is a cache, as in @cached(TTLCache(ttl=5))"
        )

    def decorate(function: Callable[P, Awaitable[R]]) -> CachedFunction[P, R]:
        if not inspect.iscoroutinefunction(function):
            name = getattr(function, "__qualname__", repr(function))
            raise TypeError(f"cached(): {name} is not an async function; declare it `async def`")
        given = key if key is not None else cache.key_fn
        make_key = CallKey(function, given)
        if given is None:
            _claim(cache, make_key.prefix, function)
        wanted = tags if tags is not None else cache.tags
        make_tags: Callable[..., Iterable[str]] | None = None
        fixed: frozenset[str] = frozenset()
        if callable(wanted):
            make_tags = wanted
        else:
            fixed = tag_set(wanted, "cached()")
        hit = cache.hit
        fetch = cache.fetch

        @functools.wraps(function)
        async def wrapper(*args: P.args, **kwargs: P.kwargs) -> R:
            at = make_key(args, kwargs)
            entry = hit(at)
            if entry is not None:
                return cast(R, entry.value)
            about = fixed if make_tags is None else make_tags(*args, **kwargs)
            found = await fetch(at, lambda: function(*args, **kwargs), tags=about, admit=admit)
            return cast(R, found.value)

        async def invalidate(*args: P.args, **kwargs: P.kwargs) -> None:
            await cache.invalidate(key=make_key(args, kwargs))

        result = cast(Any, wrapper)
        result.cache = cache
        result.key = lambda *args, **kwargs: make_key(args, kwargs)
        result.invalidate = invalidate
        return cast("CachedFunction[P, R]", result)

    return decorate


def _claim(cache: Cache, name: str, function: object) -> None:
    """Two functions made by one factory have one name; they must not answer for each other."""
    other = cache.names.setdefault(name, function)
    if other is not function and "<locals>" in name:
        raise ValueError(
            f"cached(): another function named {name[:-1]} keeps its results in this cache; "
            f"pass key= to tell them apart, or give each a cache of its own"
        )

"""What every cache can do, whatever keeps its values."""

from __future__ import annotations

import math
from abc import ABC, abstractmethod
from collections.abc import Awaitable, Callable, Iterable
from dataclasses import dataclass
from types import TracebackType
from typing import Any, Literal, NamedTuple

from ember.cache.key import tag_set

__all__ = ["Admit", "Cache", "CacheStats", "Found", "Lifetime"]


class Lifetime(NamedTuple):
    """For how long one value may be used, in seconds; None is what the cache was made with."""

    ttl: float | None = None
    stale_while_revalidate: float | None = None
    stale_if_error: float | None = None
    age: float = 0.0
    """How old the value already is (RFC 9111, 4.2.3)."""


Admit = Callable[[Any], "Lifetime | float | bool | None"]
"""Says of a computed value whether and for how long it is kept: True (as the cache was made), a
number of seconds, a `Lifetime`; None or False: it is for the caller alone. Such a value is neither
stored nor handed to those who waited for it: each of them computes its own."""


class Found(NamedTuple):
    """A value and where it came from."""

    value: Any
    state: Literal["HIT", "MISS", "STALE"]
    age: float
    """Seconds since it was computed."""


@dataclass(frozen=True, slots=True)
class CacheStats:
    """Counters since the cache was made."""

    hits: int = 0
    """Answered with a fresh value."""
    stale: int = 0
    """Answered with a stale one, inside its window."""
    misses: int = 0
    """Calls that had to wait for a computation, their own or one under way."""
    computed: int = 0
    """Computations begun."""
    failed: int = 0
    """Computations that raised."""
    stored: int = 0
    refused: int = 0
    """Values that were not stored: not admitted, invalidated meanwhile, too large ..."""
    evicted: int = 0
    expired: int = 0
    invalidations: int = 0
    store_failures: int = 0
    """Operations of a remote store that failed or took longer than the deadline."""
    entries: int = 0

    @property
    def hit_rate(self) -> float:
        """Between 0 and 1; 0 before the first call."""
        answered = self.hits + self.stale
        return answered / (answered + self.misses) if answered else 0.0


class Cache(ABC):
    """TTL, single flight, invalidation. `cached` and a route's `cache=` take any of these.

    `vary_headers` and `key_fn` are for a route (and `key_fn` for `cached`): which request headers
    are part of the key, and a function that makes the whole key. `tags`: a list of str, or a
    function of what `key_fn` gets that returns one.
    """

    def __init__(
        self,
        *,
        vary_headers: Iterable[str] = (),
        key_fn: Callable[..., str] | None = None,
        tags: Iterable[str] | Callable[..., Iterable[str]] = (),
    ) -> None:
        me = type(self).__name__
        if isinstance(vary_headers, str):
            raise TypeError(f"{me}(vary_headers={vary_headers!r}): write [{vary_headers!r}]")
        self.vary_headers = tuple(str(name).lower() for name in vary_headers)
        if "*" in self.vary_headers:
            raise ValueError(f"{me}(vary_headers=): '*' would match no request; name the headers")
        if key_fn is not None and not callable(key_fn):
            raise TypeError(f"{me}(key_fn={key_fn!r}): a function that returns the key")
        self.key_fn = key_fn
        self.tags = tags if callable(tags) else tag_set(tags, me)
        self.names: dict[str, object] = {}
        """Functions whose calls are kept here under their own names."""

    @abstractmethod
    async def fetch(
        self,
        key: str,
        compute: Callable[[], Awaitable[Any]],
        *,
        tags: Iterable[str] = (),
        admit: Admit | None = None,
    ) -> Found:
        """The kept value, or what `compute()` gives: called once however many ask at once.

        Raises what `compute` raises, and `WorkCancelled` when somebody cancels the shared work.
        """

    @abstractmethod
    async def get(self, key: str, default: Any = None) -> Any:
        """The kept value while it is fresh, else `default`."""

    @abstractmethod
    async def set(
        self, key: str, value: Any, *, ttl: float | None = None, tags: Iterable[str] = ()
    ) -> None:
        """Keep a value. What is being computed for this key will not be stored over it."""

    @abstractmethod
    async def invalidate(
        self, *, key: str | None = None, pattern: str | None = None, tag: str | None = None
    ) -> None:
        """Forget what matches exactly one of: `key`, `pattern` (`*`, `?`), `tag`.

        A value whose computation began before this returned is not stored afterwards, and no later
        call waits for that computation.
        """

    @abstractmethod
    def stats(self) -> CacheStats:
        """A snapshot of the counters."""

    def hit(self, key: str) -> Any:
        """Without waiting: an entry with a fresh `value`, or None (always, when it is remote)."""
        return None

    async def connect(self) -> None:  # noqa: B027  # nothing to open is fine
        """Open what needs opening; every other method does so by itself."""

    async def close(self) -> None:  # noqa: B027
        """Cancel background work and close connections. The cache can be used again after that."""

    async def __aenter__(self) -> Any:
        await self.connect()
        return self

    async def __aexit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        traceback: TracebackType | None,
    ) -> None:
        await self.close()


def seconds(whose: str, name: str, value: object, *, zero: bool = False) -> float:
    """A duration, or a clear error."""
    if isinstance(value, bool) or not isinstance(value, (int, float)):
        raise TypeError(f"{whose}({name}={value!r}): a number of seconds")
    if math.isnan(value) or value < 0 or (value == 0 and not zero):
        least = "0 or more" if zero else "more than 0"
        raise ValueError(f"{whose}({name}={value!r}): {least} seconds")
    return float(value)


def count(whose: str, name: str, value: object) -> int:
    """A number of things, at least one, or a clear error."""
    if isinstance(value, bool) or not isinstance(value, int):
        raise TypeError(f"{whose}({name}={value!r}): a whole number")
    if value < 1:
        raise ValueError(f"{whose}({name}={value!r}): at least 1")
    return value


def one_of(whose: str, key: str | None, pattern: str | None, tag: str | None) -> tuple[str, str]:
    """Which of the three was given."""
    given = [(n, v) for n, v in (("key", key), ("pattern", pattern), ("tag", tag)) if v is not None]
    if len(given) != 1:
        names = " and ".join(n for n, _ in given) or "nothing"
        raise TypeError(f"{whose}.invalidate(): exactly one of key=, pattern=, tag=, not {names}")
    kind, what = given[0]
    if type(what) is not str or not what:
        raise TypeError(f"{whose}.invalidate({kind}={what!r}): a non-empty str")
    return kind, what


def admitted(admit: Admit | None, value: Any) -> Lifetime | None:
    """What `admit` said, in one form."""
    if admit is None:
        return Lifetime()
    verdict = admit(value)
    if verdict is None or verdict is False:
        return None
    if verdict is True:
        return Lifetime()
    if isinstance(verdict, Lifetime):
        return verdict
    return Lifetime(ttl=verdict)

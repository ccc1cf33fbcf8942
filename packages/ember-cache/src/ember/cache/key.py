"""Keys of function calls, and the patterns that `invalidate(pattern=)` understands."""

from __future__ import annotations

import inspect
import re
import string
from collections.abc import Callable, Iterable
from datetime import date, datetime, time, timedelta
from decimal import Decimal
from enum import Enum
from functools import lru_cache
from typing import Any
from uuid import UUID

__all__ = ["CallKey", "matcher", "redis_glob"]

# Their repr says the value and its type and nothing else, so that equal text means equal argument.
_PLAIN = frozenset(
    {str, int, float, bool, bytes, type(None), UUID, date, datetime, time, timedelta, Decimal}
)
_CONTAINERS = (tuple, list)


@lru_cache(maxsize=256)
def matcher(pattern: str) -> Callable[[str], bool]:
    """`*` stands for any run of characters, `?` for exactly one; everything else for itself.

    Takes time linear in the key, which may hold what a client sent: a piece between two `*` stands
    where it is found first, and is never looked for again.
    """
    if "*" not in pattern:
        fixed = _piece(pattern).fullmatch
        return lambda key: fixed(key) is not None
    return _marked(pattern) if "?" in pattern else _plain(pattern)


def _plain(pattern: str) -> Callable[[str], bool]:
    """For a pattern with `*` only, which is what most are."""
    first, *between, last = pattern.split("*")
    between = [piece for piece in between if piece]
    least = len(first) + len(last)

    def matches(key: str) -> bool:
        if not key.startswith(first) or not key.endswith(last) or len(key) < least:
            return False
        at, end = len(first), len(key) - len(last)
        for piece in between:
            at = key.find(piece, at, end)
            if at < 0:
                return False
            at += len(piece)
        return True

    return matches


def _marked(pattern: str) -> Callable[[str], bool]:
    """For a pattern with `*` and `?`."""
    first, *between, last = (_piece(text) for text in pattern.split("*"))
    between = [piece for piece in between if piece.pattern]
    size = len(pattern.rpartition("*")[2])

    def matches(key: str) -> bool:
        begin, end = first.match(key), len(key) - size
        if begin is None or end < begin.end() or last.match(key, end) is None:
            return False
        at = begin.end()
        for piece in between:
            found = piece.search(key, at, end)
            if found is None:
                return False
            at = found.end()
        return True

    return matches


def _piece(text: str) -> re.Pattern[str]:
    """Without a quantifier, so that it has one length."""
    return re.compile("".join("." if c == "?" else re.escape(c) for c in text), re.DOTALL)


def redis_glob(pattern: str) -> str:
    """The same pattern in Redis' language, where brackets and backslashes mean something."""
    return re.sub(r"([\[\]\\^])", r"\\\1", pattern)


class CallKey:
    """Makes the cache key of a call.

    `key`: None (the function's name and its arguments), a template such as `"user:{id}"` filled
    from the arguments, or a function of the same arguments that returns the key.
    """

    __slots__ = ("_defaults", "_given", "_name", "_names", "_positional", "_signature", "prefix")

    def __init__(
        self, function: Callable[..., Any], key: str | Callable[..., str] | None = None
    ) -> None:
        self._name = f"{function.__module__}.{function.__qualname__}"
        self.prefix = self._name + "("
        self._signature = inspect.signature(function)
        self._given = key
        self._names = tuple(self._signature.parameters)
        parameters = self._signature.parameters.values()
        plain = all(p.kind is inspect.Parameter.POSITIONAL_OR_KEYWORD for p in parameters)
        # Only such a call can be read without Signature.bind(), which is slow; -1 matches none.
        self._positional = len(self._names) if plain else -1
        self._defaults = tuple(
            p.default for p in parameters if p.default is not inspect.Parameter.empty
        )
        if isinstance(key, str):
            self._check_template(key)
        elif key is not None and not callable(key):
            raise TypeError(
                f"cached(key={key!r}): a template such as 'user:{{id}}', a function of the call's "
                f"arguments, or None"
            )

    def __call__(self, args: tuple[Any, ...], kwargs: dict[str, Any]) -> str:
        given = self._given
        if given is not None:
            if isinstance(given, str):
                return given.format_map(
                    dict(zip(self._names, self._all(args, kwargs), strict=True))
                )
            key = given(*args, **kwargs)
            if type(key) is not str:
                raise TypeError(
                    f"{self._name}(): its key function returned {type(key).__name__}, not str"
                )
            return key
        if kwargs or len(args) != self._positional:
            args = self._all(args, kwargs)
        for value in args:
            if type(value) not in _PLAIN:
                return self.prefix + ", ".join(self._text(value) for value in args) + ")"
        if len(args) == 1:
            return f"{self.prefix}{args[0]!r})"
        return self.prefix + ", ".join(map(repr, args)) + ")"

    def _all(self, args: tuple[Any, ...], kwargs: dict[str, Any]) -> tuple[Any, ...]:
        """Every argument of the call in the order of the parameters, defaults filled in."""
        if not kwargs:
            missing = self._positional - len(args)
            if missing == 0:
                return args
            if 0 < missing <= len(self._defaults):
                return args + self._defaults[-missing:]
        bound = self._signature.bind(*args, **kwargs)  # raises what the call would raise
        bound.apply_defaults()
        return tuple(bound.arguments.values())

    def _text(self, value: Any) -> str:
        kind = type(value)
        if kind in _PLAIN:
            return repr(value)
        if kind in _CONTAINERS:
            inner = ", ".join(self._text(item) for item in value)
            return f"[{inner}]" if kind is list else f"({inner},)"
        if kind is dict:
            items = sorted((self._text(k), self._text(v)) for k, v in value.items())
            return "{" + ", ".join(f"{k}: {v}" for k, v in items) + "}"
        if kind in (set, frozenset):
            return f"{kind.__name__}(" + ", ".join(sorted(self._text(i) for i in value)) + ")"
        if isinstance(value, Enum):
            return f"{kind.__module__}.{kind.__qualname__}.{value.name}"
        raise TypeError(
            f"{self._name}(): no cache key can be made of an argument of type {kind.__qualname__}; "
            f"pass key= to cached(): a template ('user:{{id}}') or a function of the arguments"
        )

    def _check_template(self, template: str) -> None:
        names = {
            re.split(r"[.\[]", field)[0]
            for _, field, _, _ in string.Formatter().parse(template)
            if field is not None
        }
        unknown = sorted(names - set(self._signature.parameters))
        if unknown:
            raise ValueError(
                f"cached(key={template!r}): {self._name} has no parameter "
                f"{', '.join(map(repr, unknown))}; it has: {', '.join(self._signature.parameters)}"
            )


def tag_set(tags: Iterable[str], whose: str) -> frozenset[str]:
    """The tags as a set, or a clear error: a lone str would be a tag per letter."""
    if isinstance(tags, str):
        raise TypeError(f"{whose}: tags={tags!r} is one str; write tags=[{tags!r}]")
    result = frozenset(tags)
    for tag in result:
        if type(tag) is not str or not tag:
            raise TypeError(f"{whose}: a tag is a non-empty str, not {tag!r}")
    return result

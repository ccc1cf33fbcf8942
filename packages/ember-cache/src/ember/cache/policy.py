"""RFC 9111 as a shared cache has to read it, and the conditional requests of RFC 9110, 13.

Pure functions over methods, status codes and header fields (pairs of str, names in any case): no
cache, no framework, no clock but what is handed in. Sections are RFC 9111's unless said otherwise.

Stricter than the RFC where it leaves a choice, because a mistake gives the response of one user to
another:

- a request with `Cookie` counts as one with `Authorization` (3.5): its response is stored only if
  it says that it is meant for all, or if that field is part of the key;
- of the three directives that 3.5 lists, `must-revalidate` does not count: too many write it who
  only think of browsers;
- a response with `Set-Cookie` is not stored (7.3 leaves it to the server to prevent);
- `no-cache` and `private` with field names count as the forms without (5.2.2.4 and 5.2.2.7 allow
  it), and `must-understand` does not lift `no-store` (5.2.2.3 allows it);
- freshness that is not well formed, or given twice with different values, does not count (4.2.1).
"""

from __future__ import annotations

import re
from collections.abc import Iterable, Mapping
from typing import Final, NamedTuple

try:
    # The same as hashlib's, which loads OpenSSL besides: 1 MiB of memory.
    from _blake2 import blake2b
except ImportError:
    from hashlib import blake2b

from ember.cache.fields import (
    FOREVER,
    Fields,
    cache_control,
    delta_seconds,
    http_date,
    index,
    vary_names,
)

__all__ = [
    "Decision",
    "age_value",
    "cache_control",
    "current_age",
    "decide",
    "entity_tag",
    "invalidates",
    "key",
    "lifetime",
    "may_reuse",
    "not_modified",
    "not_modified_fields",
    "only_if_cached",
    "personal",
    "vary_names",
    "weak_match",
]

METHODS: Final = frozenset({"GET", "HEAD"})
SAFE: Final = frozenset({"GET", "HEAD", "OPTIONS", "TRACE"})  # RFC 9110, 9.2.1
# RFC 9110, 15.1: the 2xx that may be stored without explicit freshness; 206 needs a cache that can
# put ranges together (3.3), which this is not.
HEURISTIC: Final = frozenset({200, 203, 204})
CREDENTIALS: Final = ("authorization", "cookie")
# RFC 9110, 15.4.5: what a 304 has to repeat of the 200 that it stands for.
KEPT_IN_304: Final = frozenset(
    {"cache-control", "content-location", "date", "etag", "expires", "vary"}
)

# RFC 9110, 8.8.3: a backslash inside is a backslash, unlike in a quoted string.
_ENTITY_TAG: Final = re.compile(r'(?:W/)?"[\x21\x23-\x7e\x80-\xff]*"').findall
_WIRE_PATH: Final = re.compile(r"[^\s\x00?#]*").fullmatch
_WIRE_QUERY: Final = re.compile(r"[^\s\x00#]*").fullmatch
_SCHEMES: Final = {None: "", "http": "http:", "https": "https:"}
_WIRE_HOST: Final = re.compile(r"[^\s\x00/?#@]*").fullmatch


class Decision(NamedTuple):
    """Whether a response may be stored, and for how many seconds it may be used."""

    store: bool
    reason: str
    """Why not, with the section; empty when it is stored."""
    lifetime: float = 0.0
    """For how long it stays fresh from now on (what it has aged already is taken off)."""
    age: float = 0.0
    stale_while_revalidate: float = 0.0
    stale_if_error: float = 0.0
    for_all: bool = False
    """It says itself that it may be given to requests with credentials."""
    vary: tuple[str, ...] = ()
    """Request fields that the second part of the key is made of."""
    strict: bool = False
    """It may never be given stale, whatever the cache was made with (4.2.4)."""


def decide(
    method: str,
    request: Fields,
    status: int,
    response: Fields,
    *,
    ttl: float | None = None,
    now: float,
    keyed: Iterable[str] = (),
) -> Decision:
    """3: whether a shared cache stores this response.

    `ttl`: what the route says; the freshness of the response itself can only shorten it. None: the
    response must have its own. `now`: seconds since the epoch. `keyed`: request fields (lower case)
    that are part of the key anyway.
    """
    asked, answered = index(request), index(response)
    if method not in METHODS:
        return _no(f"3: {method} is not cached here")
    if not 200 <= status < 300:
        return _no(f"status {status}: only 2xx is cached here")
    if status == 206:
        return _no("3.3: a part of a representation")
    if "content-range" in answered:
        return _no("3.3: Content-Range in something that is not 206")
    said = cache_control(answered.get("cache-control", ()))
    if "no-store" in cache_control(asked.get("cache-control", ())):
        return _no("5.2.1.5: the request says no-store")
    for directive, section in (("no-store", "5.2.2.5"), ("private", "5.2.2.7")):
        if directive in said:
            return _no(f"{section}: the response says {directive}")
    if "no-cache" in said:
        return _no("5.2.2.4: the response says no-cache, and there is nobody to validate it with")
    if "set-cookie" in answered:
        return _no("7.3: the response sets a cookie")
    vary = vary_names(answered.get("vary", ()))
    if vary is None:
        return _no("4.1: Vary: * matches no other request")
    for_all = "public" in said or "s-maxage" in said
    known = {*vary, *(name.lower() for name in keyed)}
    for name in CREDENTIALS:
        if name in asked and name not in known and not for_all:
            return _no(f"3.5: the request has {name.title()}, and the response is not public")
    own = lifetime(said, answered, now)
    if own is None and status not in HEURISTIC and "public" not in said:
        return _no(f"3: status {status} needs explicit freshness")
    if own is None and ttl is None:
        return _no("4.2.1: no freshness")
    age = _age(answered, now)
    if own is None:
        left = 0.0 if ttl is None else ttl
    else:
        left = own - age if ttl is None else min(own - age, ttl)
    if left <= 0:
        return _no("4.2: not fresh any more")
    # 4.2.4: must-revalidate, proxy-revalidate, and s-maxage (5.2.2.10) forbid to serve it stale.
    strict = not said.keys().isdisjoint({"must-revalidate", "proxy-revalidate", "s-maxage"})
    window = {} if strict else said
    return Decision(
        store=True,
        reason="",
        lifetime=left,
        age=age,
        stale_while_revalidate=delta_seconds(window.get("stale-while-revalidate"))
        or 0.0,  # RFC 5861, 3
        stale_if_error=delta_seconds(window.get("stale-if-error")) or 0.0,  # RFC 5861, 4
        for_all=for_all,
        vary=vary,
        strict=strict,
    )


def lifetime(
    said: Mapping[str, str | None], response: Mapping[str, list[str]], now: float
) -> float | None:
    """4.2.1: freshness by s-maxage, max-age, Expires, in this order; None: nothing is said.

    `said`: the directives; `response`: the fields by lower-case name.
    """
    for directive in ("s-maxage", "max-age"):
        if directive in said:
            return float(delta_seconds(said[directive]) or 0)
    expires = response.get("expires")
    if expires is None:
        return None
    ends = {http_date(value) for value in expires}
    end = ends.pop() if len(ends) == 1 else None
    begin = http_date(response["date"][0]) if response.get("date") else now
    if end is None or begin is None:
        return 0.0  # 5.3: an invalid date, especially "0", is in the past
    return max(0.0, end - begin)


def may_reuse(
    method: str,
    request: Fields,
    *,
    age: float,
    fresh_for: float,
    for_all: bool,
    keyed: Iterable[str] = (),
) -> bool:
    """4: whether a stored response may be used for this request.

    `age`, `fresh_for`: of the stored response, now (negative: stale for so long). `for_all`,
    `keyed`: as in `decide`; a request with credentials gets only what is meant for all, or what is
    kept under its own credentials.
    """
    if method not in METHODS:
        return False
    asked = index(request)
    if not for_all and personal(request, keyed):
        return False
    said = cache_control(asked.get("cache-control", ()))
    if "no-cache" in said:  # 5.2.1.4
        return False
    if not said and any("no-cache" in v.lower() for v in asked.get("pragma", ())):  # 5.4
        return False
    if "max-age" in said:  # 5.2.1.1
        oldest = delta_seconds(said["max-age"])
        if oldest is None or age > oldest:
            return False
    if "min-fresh" in said:  # 5.2.1.3
        least = delta_seconds(said["min-fresh"])
        if least is None or fresh_for < least:
            return False
    return True  # max-stale (5.2.1.2) is a permission, and nobody has to make use of it


def personal(request: Fields, keyed: Iterable[str] = ()) -> bool:
    """3.5: whether the request has credentials that are not part of the key."""
    names = {name.lower() for name, _ in request}
    known = {name.lower() for name in keyed}
    return any(name in names and name not in known for name in CREDENTIALS)


def only_if_cached(request: Fields) -> bool:
    """5.2.1.7: the client wants a stored response or 504 Gateway Timeout."""
    return "only-if-cached" in cache_control(index(request).get("cache-control", ()))


def invalidates(method: str, status: int) -> bool:
    """4.4: whether what is stored for this target has to go: an unsafe method that succeeded."""
    return method not in SAFE and 200 <= status < 400


def key(
    method: str,
    path: str,
    query: str = "",
    *,
    host: str | None = None,
    scheme: str | None = None,
    vary: Iterable[str] = (),
    request: Fields = (),
) -> str:
    """2 and 4.1: the key of a request, first part and (for `vary`) second.

    `path` and `query` as they came, not decoded. With `host`, and `scheme`, the first part has the
    whole URI. A HEAD may be answered from what is stored for GET: look under that first.
    Credentials are in the key as a digest: keys get into logs and into other people's stores.
    Raises ValueError for what cannot have been in a request line.
    """
    if not _WIRE_PATH(path) or not _WIRE_QUERY(query):
        raise ValueError(f"key({path=}, {query=}): pass them as they were sent, not decoded")
    if host is not None and not _WIRE_HOST(host):
        raise ValueError(f"key({host=}): not a host")
    if scheme not in _SCHEMES:
        raise ValueError(f"key({scheme=}): expected http or https")
    authority = "" if host is None else f"{_SCHEMES[scheme]}//{host.lower()}"
    parts = [f"{method} {authority}{path}"]
    if query:
        parts[0] += "?" + query
    asked = index(request)
    for name in sorted({name.lower() for name in vary}):
        values = asked.get(name)
        if values is None:
            parts.append(f"{name}-")  # 4.1: absent matches absent, and nothing else
            continue
        # 4.1: whitespace around does not matter, and lines of one field may be joined.
        text = ", ".join(value.strip() for value in values)
        if name in CREDENTIALS:
            text = blake2b(text.encode("utf-8", "surrogatepass"), digest_size=16).hexdigest()
        parts.append(f"{name}: {text}")
    return "\n".join(parts)


def current_age(stored_age: float, resident: float) -> float:
    """4.2.3: corrected initial age and resident time. Seconds."""
    return max(0.0, stored_age) + max(0.0, resident)


def age_value(age: float) -> str:
    """5.1: the value of the Age field."""
    return str(min(FOREVER, max(0, int(age))))


def entity_tag(content: bytes) -> str:
    """RFC 9110, 8.8.3: a strong entity tag, from the content."""
    return f'"{blake2b(content, digest_size=12).hexdigest()}"'


def weak_match(one: str, other: str) -> bool:
    """RFC 9110, 8.8.3.2: equal but for the weakness mark."""
    return one.removeprefix("W/") == other.removeprefix("W/")


def not_modified(
    method: str, request: Fields, *, etag: str | None = None, last_modified: str | None = None
) -> bool:
    """4.3.2: whether a stored 200 with these validators is answered as 304 Not Modified.

    RFC 9110, 13.1.2: If-None-Match by weak comparison; `*` matches whatever is there. 13.1.3:
    If-Modified-Since is not looked at when there is an If-None-Match, or when it is no valid date.
    """
    if method not in METHODS:
        return False
    asked = index(request)
    tags = asked.get("if-none-match")
    if tags is not None:
        if [tag.strip() for tag in tags] == ["*"]:
            return True
        wanted = _ENTITY_TAG(",".join(tags))
        return etag is not None and any(weak_match(tag, etag) for tag in wanted)
    since = asked.get("if-modified-since")
    if since is None or len(since) != 1 or last_modified is None:
        return False
    bound, modified = http_date(since[0]), http_date(last_modified)
    return bound is not None and modified is not None and modified <= bound


def not_modified_fields(response: Fields) -> list[tuple[str, str]]:
    """RFC 9110, 15.4.5: the fields of the stored response that its 304 repeats."""
    return [(name, value) for name, value in response if name.lower() in KEPT_IN_304]


def _no(reason: str) -> Decision:
    return Decision(False, reason)


def _age(response: Mapping[str, list[str]], now: float) -> float:
    """4.2.3: the age that a response arrives with: by its Age field, or by its Date if older."""
    values = response.get("age", ())
    said = delta_seconds(values[0].strip()) if values else None
    date = http_date(response["date"][0]) if response.get("date") else None
    apparent = 0.0 if date is None else max(0.0, now - date)
    return max(apparent, float(said or 0))

"""The endpoint of a cached route, inside its hooks and middlewares."""

from __future__ import annotations

import logging
import math
import time
from collections.abc import Iterable
from functools import partial
from typing import TYPE_CHECKING, Any

from ember.cache import Found, StaticCache, WorkCancelled, policy
from ember.cache.fields import cache_control, index
from ember.cache.shared import SharedCache
from ember.exceptions import GatewayTimeout, ServiceUnavailable
from ember.request import Request
from ember.response import Response
from ember.responses.conversion import convert
from ember.route_cache.stored_response import StoredResponse
from ember.route_cache.wire import STATUSES, Wire
from ember.route_cache.work import ASK_AGAIN, Work

if TYPE_CHECKING:
    from ember.routing.dispatch import Endpoint
    from ember.routing.route import Route

log = logging.getLogger("ember.cache")

#: The most names in the Vary fields of one route. With more names there would be no hits.
_MOST_VARY = 16


class _NotKept:
    """Marks an entry whose response the connection cannot store, so that it is not tried again."""

    alive = True

    def take_hits(self) -> int:
        return 0

    def forget(self) -> None:
        pass


_NEVER = _NotKept()


class CachedRoute:
    """Responds for one route from its cache, and calls its endpoint on a miss.

    - `names`: request header fields that the handler reads by its parameters; part of the key.
    - `tagged`: stored responses get a tag for their path, so that unsafe methods can remove them.
    """

    def __init__(
        self, app: Any, route: Route, endpoint: Endpoint, names: Iterable[str], tagged: bool
    ) -> None:
        cache = route.cache
        counters = route.cache_counters
        assert cache is not None
        assert counters is not None
        self.app = app
        self.endpoint = endpoint
        self.owner = route.owner
        self.label = f"{','.join(route.hosts)} {route.path}"
        self.cache = cache
        self.counters = counters
        counters.tally.route = route
        self.wire = Wire(cache)
        #: The request header fields in the key. The Vary fields of responses add to them.
        self.vary: tuple[str, ...] = tuple(sorted({*cache.vary_headers, *names}))
        #: The last response was allowed for requests with credentials.
        self.for_all = False
        #: Whether the connection sends hits by itself; `Ember` sets it for routes without
        #: middleware.
        self.fast_path = False
        self._hit = cache.hit
        # Other processes can write to a shared cache: a value is checked before it counts as a hit.
        self._fetch = (
            partial(cache.fetch, read=self.wire.unpack)
            if isinstance(cache, SharedCache)
            else cache.fetch
        )
        self._key_fn = cache.key_fn
        self._tags = cache.tags
        self._tagged = tagged
        #: Seconds; None: only the response itself says how long it is fresh.
        self._ttl: float | None = getattr(cache, "ttl", None)
        self._static = isinstance(cache, StaticCache)
        self._vary_lost = self._collided = False

    # -- a request ----------------------------------------------------------------------------

    def call(self, request: Request, values: list[Any]) -> object:
        """The response for `request`, or an awaitable that gives it."""
        method = request.method
        if method != "GET" and method != "HEAD":
            self.counters.passed += 1
            return self.endpoint.call(request, values)
        if request.bypasses_cache:
            return self._checked(request, values)
        key = self.key(request)
        entry = self._hit(key)
        if entry is not None:
            stored = entry.value
            if type(stored) is StoredResponse and stored.label == self.label:
                return self._hit_response(request, entry, stored)
        if method == "HEAD":
            return self._head(request, values, key)
        return self._plain(request, values, key)

    def key(self, request: Request) -> str:
        """The key of the response to `request`."""
        if self._key_fn is not None:
            key = self._key_fn(request)
            if type(key) is not str:
                raise TypeError(f"{self.owner}: key_fn returned {type(key).__name__}, expected str")
            return key
        # The whole URI: a handler may put the host and scheme of the request into its response.
        if self.vary:
            return policy.key(
                "GET",
                request.raw_path.decode("latin-1"),
                request.query_string,
                host=request.host,
                scheme=request.scheme,
                vary=self.vary,
                request=request.headers.items(),
            )
        # The same key, made faster: no header fields are needed.
        key = request.route_key
        query = request.query_string
        path = key[4:] if key.startswith("GET ") else key[key.index(" ") + 1 :]
        authority = f"{request.scheme}://{request.host.lower()}"
        return f"GET {authority}{path}?{query}" if query else f"GET {authority}{path}"

    def _hit_response(self, request: Request, entry: Any, stored: StoredResponse) -> Response:
        """The response of a hit in this process. The connection may get a copy for later hits."""
        self.counters.hits += 1
        age = self.cache.store.clock() - entry.stored_at  # type: ignore[attr-defined]
        response = stored.response("HIT", age)
        if self.fast_path and (entry.copy is None or not entry.copy.alive):
            query = f"?{request.query_string}" if request.query_string else ""
            target = f"GET {request.raw_path.decode('latin-1')}{query}"
            kept = self.app.kept_answers.keep(
                target.encode("latin-1"),
                response,
                host=request.host.lower().encode("latin-1"),
                scheme=request.scheme,
                stored_at=entry.stored_at,
                fresh_until=entry.fresh_until,
                tally=self.counters.tally,
            )
            entry.copy = _NEVER if kept is None else kept
        return response

    async def _plain(self, request: Request, values: list[Any], key: str) -> Response:
        """A request without credentials, conditions and cache directives."""
        stored, found, work = await self._fetch_stored(request, values, key)
        self._count(found, work)
        if stored is None:
            return _mark_miss(found.value)
        return stored.response(found.state, found.age)

    async def _head(self, request: Request, values: list[Any], key: str) -> Response:
        """HEAD uses the stored response to GET. The handler's own response to HEAD is not stored:
        it may have no content."""
        stored, age = await self._fresh(key)
        if stored is None:
            return await self._call_uncached(request, values)
        self.counters.hits += 1
        return stored.response("HIT", age)

    async def _checked(self, request: Request, values: list[Any]) -> Response:
        """A request with credentials, conditions, cache directives, a range, or a body."""
        fields = request.headers.items()
        asked = index(fields)
        only = "only-if-cached" in cache_control(asked.get("cache-control", ()))
        if self._must_ask(fields, asked):
            if only:
                raise GatewayTimeout("the cache has no response that this request may get")
            return await self._call_uncached(request, values)
        key = self.key(request)
        if only or request.method == "HEAD":
            kept, age = await self._fresh(key)
            if kept is not None and self._usable(kept, age, fields):
                self.counters.hits += 1
                return _conditional(request.method, fields, kept, "HIT", age)
            if only:
                raise GatewayTimeout("the cache has no response that this request may get")
            return await self._call_uncached(request, values)
        stored, found, work = await self._fetch_stored(request, values, key)
        if stored is None:
            self._count(found, work)
            return _mark_miss(found.value)
        if not work.ran and not self._usable(stored, found.age, fields):
            return await self._call_uncached(request, values)
        self._count(found, work)
        return _conditional(request.method, fields, stored, found.state, found.age)

    def _must_ask(self, fields: list[tuple[str, str]], asked: dict[str, list[str]]) -> bool:
        """Whether the handler has to be called."""
        if asked.keys() & {"content-length", "transfer-encoding"} and (
            asked.get("content-length") != ["0"]
        ):
            return True  # the handler may read the body, which is not part of the key
        if not self.for_all and policy.personal(fields, self.vary):
            return True
        if "no-store" in cache_control(asked.get("cache-control", ())):
            return True
        return not policy.may_reuse(
            "GET", fields, age=0.0, fresh_for=math.inf, for_all=True, keyed=self.vary
        )

    def _usable(self, stored: StoredResponse, age: float, fields: list[tuple[str, str]]) -> bool:
        return policy.may_reuse(
            "GET",
            fields,
            age=age,
            fresh_for=stored.freshness - age,
            for_all=stored.for_all,
            keyed=self.vary,
        )

    # -- the cache and the handler ------------------------------------------------------------

    async def _fetch_stored(
        self, request: Request, values: list[Any], key: str
    ) -> tuple[StoredResponse | None, Found, Work]:
        """The stored response, or that of the handler, which is called once for all that wait.

        The first item is None if the response is for this request alone and was not stored."""
        while True:
            work = Work(self, request, values)
            try:
                found = await self._fetch(
                    key, work.run, tags=self._tags_of(request), admit=work.admit
                )
            except WorkCancelled:
                self._count(None, work)
                raise ServiceUnavailable(
                    "the request that this one waited for was cancelled"
                ) from None
            except Exception:
                self._count(None, work)
                raise
            if found.value is ASK_AGAIN:
                key = self.key(request)
                continue
            if isinstance(found.value, Response):
                return None, found, work
            stored = self.wire.unpack(found.value)
            if stored is not None and stored.label == self.label:
                return stored, found, work
            if stored is not None:
                self._collision(key, stored)
            response = await self._respond(request, values)
            return None, Found(response, "MISS", 0.0), work

    async def _fresh(self, key: str) -> tuple[StoredResponse | None, float]:
        """The stored response if it is fresh, with its age in seconds."""
        entry = self._hit(key)
        if entry is not None:
            stored: StoredResponse | None = entry.value
            age = self.cache.store.clock() - entry.stored_at  # type: ignore[attr-defined]
        else:
            stored = self.wire.unpack(await self.cache.get(key)) if self.wire.packs else None
            age = 0.0 if stored is None else max(0.0, time.time() - stored.born)
        if stored is None or stored.label != self.label:
            return None, 0.0
        return stored, age

    async def _call_uncached(self, request: Request, values: list[Any]) -> Response:
        """The handler's response to this request alone, which is not stored."""
        self.counters.passed += 1
        response = await self._respond(request, values)
        if not self.for_all and request.method == "GET":
            # Updates `for_all`: the next request with credentials may use the cache.
            self.decide(request, response)
        return _mark_miss(response)

    async def _respond(self, request: Request, values: list[Any]) -> Response:
        value = self.endpoint.call(request, values)
        if hasattr(value, "__await__"):
            value = await value
        return value if isinstance(value, Response) else convert(value, 0, self.owner)

    def decide(self, request: Request, response: Response) -> policy.Decision | None:
        """Whether and for how long `response` is stored; None: it is not stored."""
        if response.stream is not None or (self._static and response.status_code != 200):
            return None
        if self.wire.packs and response.status_code not in STATUSES:
            return None
        decision = policy.decide(
            "GET",
            request.headers.items(),
            response.status_code,
            [*response.headers.items()],
            ttl=self._ttl,
            now=time.time(),
            keyed=self.vary,
        )
        if not decision.store:
            return None
        self.for_all = decision.for_all
        if not set(decision.vary).issubset(self.vary):
            self._learn(decision.vary)
            return None
        return decision

    def _learn(self, names: Iterable[str]) -> None:
        """Add the names of a Vary field to all keys from now on."""
        known = sorted({*self.vary, *names})
        if len(known) > _MOST_VARY:
            if not self._vary_lost:
                self._vary_lost = True
                log.warning(
                    "%s: its responses vary on more than %d fields and are not stored",
                    self.owner,
                    _MOST_VARY,
                )
            return
        self.vary = tuple(known)
        self.fast_path = False
        self.app.kept_answers.clear(self.counters.tally)

    def _tags_of(self, request: Request) -> Iterable[str]:
        tags = self._tags
        given = tags(request) if callable(tags) else tags
        return (*given, path_tag(request)) if self._tagged else given

    def _collision(self, key: str, stored: StoredResponse) -> None:
        if not self._collided:
            self._collided = True
            log.warning(
                "%s: %r is also the key of another route (%s) in the same cache; "
                "let key_fn return different keys, or give each route a cache of its own",
                self.owner,
                key,
                stored.label,
            )

    def _count(self, found: Found | None, work: Work) -> None:
        counters = self.counters
        if found is not None and found.state == "HIT":
            counters.hits += 1
        elif found is not None and found.state == "STALE":
            counters.stale += 1
        else:
            counters.misses += 1
            if not work.ran:
                counters.waits += 1


def path_tag(request: Request) -> str:
    """The tag of all stored responses of a path, with any query."""
    return f"uri:{request.raw_path.decode('latin-1')}"


def _mark_miss(response: Response) -> Response:
    """A copy of a response that is not stored, with `X-Cache: MISS`. A copy, because the
    application may return the same object again."""
    response = response.copy()
    response.headers["X-Cache"] = "MISS"
    return response


def _conditional(
    method: str, fields: list[tuple[str, str]], stored: StoredResponse, state: str, age: float
) -> Response:
    """A 304 or the stored response (RFC 9111 section 4.3.2). Range is ignored, which RFC 9110
    section 14.2 allows."""
    if stored.status == 200 and policy.not_modified(
        method, fields, etag=stored.etag, last_modified=stored.last_modified
    ):
        return stored.not_modified(state, age)
    return stored.response(state, age)

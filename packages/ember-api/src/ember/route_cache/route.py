"""What stands in the place of a cached route's endpoint, inside its hooks and middlewares."""

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
from ember.route_cache.answer import Answer
from ember.route_cache.wire import STATUSES, Wire
from ember.route_cache.work import ASK_AGAIN, Work

if TYPE_CHECKING:
    from ember.routing.dispatch import Endpoint
    from ember.routing.route import Route

log = logging.getLogger("ember.cache")

#: More names than that in the Vary fields of one route are made up, and nothing will be hit again.
_MOST_VARY = 16


class _Kept:
    """Stands in an entry for an answer that the connection cannot keep: not to be tried again."""

    alive = True

    def take_hits(self) -> int:
        return 0

    def forget(self) -> None:
        pass


_NEVER = _Kept()


class CachedRoute:
    """Answers for one route from its cache, and calls its endpoint when there is nothing to give.

    - `names`: request fields that the handler reads by its parameters; part of the key.
    - `tagged`: answers are tagged with their path, for unsafe methods of the same path.
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
        #: request fields that are part of the key; grows with what the answers say in Vary
        self.vary: tuple[str, ...] = tuple(sorted({*cache.vary_headers, *names}))
        #: the last answer said that it may be given to requests with credentials
        self.for_all = False
        #: hits may be left to the connection; `Ember` says so where nothing stands around the route
        self.quick = False
        self._hit = cache.hit
        # What other processes can write to is looked at before it counts as a hit.
        self._fetch = (
            partial(cache.fetch, read=self.wire.unpack)
            if isinstance(cache, SharedCache)
            else cache.fetch
        )
        self._key_fn = cache.key_fn
        self._tags = cache.tags
        self._tagged = tagged
        #: seconds; None: answers have to bring their own freshness
        self._ttl: float | None = getattr(cache, "ttl", None)
        self._static = isinstance(cache, StaticCache)
        self._vary_lost = self._collided = False

    # -- a request ----------------------------------------------------------------------------

    def call(self, request: Request, values: list[Any]) -> object:
        """The answer for `request`, or an awaitable of it."""
        method = request.method
        if method != "GET" and method != "HEAD":
            self.counters.passed += 1
            return self.endpoint.call(request, values)
        if request.particular:
            return self._particular(request, values)
        key = self.key(request)
        entry = self._hit(key)
        if entry is not None:
            answer = entry.value
            if type(answer) is Answer and answer.label == self.label:
                return self._give(request, entry, answer)
        if method == "HEAD":
            return self._head(request, values, key)
        return self._plain(request, values, key)

    def key(self, request: Request) -> str:
        """What the answer to `request` is kept under."""
        if self._key_fn is not None:
            key = self._key_fn(request)
            if type(key) is not str:
                raise TypeError(f"{self.owner}: key_fn gave {type(key).__name__}, expected str")
            return key
        # The whole URI: a handler that sees the request may say its host and scheme in the answer.
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
        # The same without looking at fields: this is every hit that the connection leaves to us.
        key = request.route_key
        query = request.query_string
        path = key[4:] if key.startswith("GET ") else key[key.index(" ") + 1 :]
        authority = f"{request.scheme}://{request.host.lower()}"
        return f"GET {authority}{path}?{query}" if query else f"GET {authority}{path}"

    def _give(self, request: Request, entry: Any, answer: Answer) -> Response:
        """A hit in this process."""
        self.counters.hits += 1
        age = self.cache.store.clock() - entry.stored_at  # type: ignore[attr-defined]
        response = answer.response("HIT", age)
        if self.quick and (entry.copy is None or not entry.copy.alive):
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
        """A request that asks for nothing but the target."""
        answer, found, work = await self._obtain(request, values, key)
        self._count(found, work)
        if answer is None:
            return _missed(found.value)
        return answer.response(found.state, found.age)

    async def _head(self, request: Request, values: list[Any], key: str) -> Response:
        """HEAD is answered from what is kept for GET; the handler's answer to it is not kept,
        because nobody knows whether it made the content."""
        answer, age = await self._look(key)
        if answer is None:
            return await self._alone(request, values)
        self.counters.hits += 1
        return answer.response("HIT", age)

    async def _particular(self, request: Request, values: list[Any]) -> Response:
        """A request with credentials, conditions, cache directives, a range, or a body."""
        fields = request.headers.items()
        asked = index(fields)
        only = "only-if-cached" in cache_control(asked.get("cache-control", ()))
        if self._must_ask(fields, asked):
            if only:
                raise GatewayTimeout("nothing that may be given to this request is kept")
            return await self._alone(request, values)
        key = self.key(request)
        if only or request.method == "HEAD":
            kept, age = await self._look(key)
            if kept is not None and self._usable(kept, age, fields):
                self.counters.hits += 1
                return _conditional(request.method, fields, kept, "HIT", age)
            if only:
                raise GatewayTimeout("nothing that may be given to this request is kept")
            return await self._alone(request, values)
        answer, found, work = await self._obtain(request, values, key)
        if answer is None:
            self._count(found, work)
            return _missed(found.value)
        if not work.ran and not self._usable(answer, found.age, fields):
            return await self._alone(request, values)
        self._count(found, work)
        return _conditional(request.method, fields, answer, found.state, found.age)

    def _must_ask(self, fields: list[tuple[str, str]], asked: dict[str, list[str]]) -> bool:
        """Whether only the handler itself can answer."""
        if asked.keys() & {"content-length", "transfer-encoding"} and (
            asked.get("content-length") != ["0"]
        ):
            return True  # a body is no part of the key, and the handler may look at it
        if not self.for_all and policy.personal(fields, self.vary):
            return True
        if "no-store" in cache_control(asked.get("cache-control", ())):
            return True
        return not policy.may_reuse(
            "GET", fields, age=0.0, fresh_for=math.inf, for_all=True, keyed=self.vary
        )

    def _usable(self, answer: Answer, age: float, fields: list[tuple[str, str]]) -> bool:
        return policy.may_reuse(
            "GET",
            fields,
            age=age,
            fresh_for=answer.freshness - age,
            for_all=answer.for_all,
            keyed=self.vary,
        )

    # -- the cache and the handler ------------------------------------------------------------

    async def _obtain(
        self, request: Request, values: list[Any], key: str
    ) -> tuple[Answer | None, Found, Work]:
        """What is kept, or what the handler gives: called once however many wait. The answer is
        None where there is only a response, for this request alone."""
        while True:
            work = Work(self, request, values)
            try:
                found = await self._fetch(
                    key, work.run, tags=self._tags_of(request), admit=work.admit
                )
            except WorkCancelled:
                self._count(None, work)
                raise ServiceUnavailable("the work for this answer was cancelled") from None
            except Exception:
                self._count(None, work)
                raise
            if found.value is ASK_AGAIN:
                key = self.key(request)
                continue
            if isinstance(found.value, Response):
                return None, found, work
            answer = self.wire.unpack(found.value)
            if answer is not None and answer.label == self.label:
                return answer, found, work
            if answer is not None:
                self._collision(key, answer)
            response = await self._respond(request, values)
            return None, Found(response, "MISS", 0.0), work

    async def _look(self, key: str) -> tuple[Answer | None, float]:
        """What is kept and fresh, with its age."""
        entry = self._hit(key)
        if entry is not None:
            answer: Answer | None = entry.value
            age = self.cache.store.clock() - entry.stored_at  # type: ignore[attr-defined]
        else:
            answer = self.wire.unpack(await self.cache.get(key)) if self.wire.packs else None
            age = 0.0 if answer is None else max(0.0, time.time() - answer.born)
        if answer is None or answer.label != self.label:
            return None, 0.0
        return answer, age

    async def _alone(self, request: Request, values: list[Any]) -> Response:
        """The handler's answer to this request alone."""
        self.counters.passed += 1
        response = await self._respond(request, values)
        if not self.for_all and request.method == "GET":
            # Perhaps the next one with credentials may be answered from here.
            self.decide(request, response)
        return _missed(response)

    async def _respond(self, request: Request, values: list[Any]) -> Response:
        value = self.endpoint.call(request, values)
        if hasattr(value, "__await__"):
            value = await value
        return value if isinstance(value, Response) else convert(value, 0, self.owner)

    def decide(self, request: Request, response: Response) -> policy.Decision | None:
        """Whether and for how long `response` is kept; None: it is not."""
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
        """What the answers vary on is part of every key from now on."""
        known = sorted({*self.vary, *names})
        if len(known) > _MOST_VARY:
            if not self._vary_lost:
                self._vary_lost = True
                log.warning(
                    "%s: its answers vary on more than %d fields and are not kept",
                    self.owner,
                    _MOST_VARY,
                )
            return
        self.vary = tuple(known)
        self.quick = False
        self.app.kept_answers.clear(self.counters.tally)

    def _tags_of(self, request: Request) -> Iterable[str]:
        tags = self._tags
        given = tags(request) if callable(tags) else tags
        return (*given, path_tag(request)) if self._tagged else given

    def _collision(self, key: str, answer: Answer) -> None:
        if not self._collided:
            self._collided = True
            log.warning(
                "%s: %r is the key of an answer of another route (%s) in the same cache; "
                "let key_fn tell them apart, or give each a cache of its own",
                self.owner,
                key,
                answer.label,
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
    """The tag of everything that is kept for a path, whatever its query."""
    return f"uri:{request.raw_path.decode('latin-1')}"


def _missed(response: Response) -> Response:
    """An answer that is not kept. A copy: the application may return the same object again."""
    response = response.copy()
    response.headers["X-Cache"] = "MISS"
    return response


def _conditional(
    method: str, fields: list[tuple[str, str]], answer: Answer, state: str, age: float
) -> Response:
    """RFC 9111 section 4.3.2. A Range is left aside, as RFC 9110 section 14.2 lets a server do."""
    if answer.status == 200 and policy.not_modified(
        method, fields, etag=answer.etag, last_modified=answer.last_modified
    ):
        return answer.not_modified(state, age)
    return answer.response(state, age)

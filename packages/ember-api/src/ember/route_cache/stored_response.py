"""A response as it is stored, and the responses that are made from it."""

from __future__ import annotations

import time
from collections.abc import Iterable

from ember.cache import policy
from ember.headers import MutableHeaders
from ember.response import Response

#: Header fields of one connection or one moment. They are not stored.
NOT_KEPT = frozenset(
    {
        "age",
        "connection",
        "content-length",
        "keep-alive",
        "proxy-authenticate",
        "proxy-authorization",
        "proxy-connection",
        "te",
        "trailer",
        "transfer-encoding",
        "upgrade",
        "x-cache",
    }
)


class StoredResponse:
    """One stored response. Only `encoded` changes after it was made."""

    __slots__ = (
        "_hit",
        "_second",
        "body",
        "born",
        "content_type",
        "encoded",
        "etag",
        "fields",
        "for_all",
        "freshness",
        "label",
        "last_modified",
        "status",
    )

    def __init__(
        self,
        label: str,
        status: int,
        content_type: str | None,
        fields: list[tuple[str, str]],
        body: bytes,
        for_all: bool,
        freshness: float,
        born: float,
    ) -> None:
        #: The route that it belongs to. It finds wrong keys of an application's `key_fn`.
        self.label = label
        self.status = status
        self.content_type = content_type
        self.fields = fields
        self.body = body
        #: It may be sent to requests with credentials (RFC 9111 section 3.5).
        self.for_all = for_all
        #: The age up to which it is fresh, in seconds.
        self.freshness = freshness
        #: When its age was zero, in seconds since the epoch.
        self.born = born
        self.etag = next((v for n, v in fields if n.lower() == "etag"), None)
        self.last_modified = next((v for n, v in fields if n.lower() == "last-modified"), None)
        #: The compressed bodies by content coding, made when needed
        #: (`ember.middleware.compression`).
        self.encoded: dict[str, bytes] = {}
        self._hit: MutableHeaders | None = None
        self._second = 0

    @classmethod
    def of(
        cls, response: Response, decision: policy.Decision, label: str, vary: Iterable[str]
    ) -> StoredResponse:
        """The stored form of `response`. `vary`: the request header fields in its key."""
        headers = response.headers
        fields = [(n, v) for n, v in headers.items() if n.lower() not in NOT_KEPT]
        if "etag" not in headers and response.status_code == 200:
            fields.append(("ETag", policy.entity_tag(response.body)))
        named = policy.vary_names(headers.get_all("vary")) or ()
        missing = [name for name in vary if name not in named]
        if missing:
            # Caches between server and client have to use the same fields.
            fields.append(("Vary", ", ".join(missing)))
        return cls(
            label,
            response.status_code,
            response.content_type,
            fields,
            response.body,
            decision.for_all,
            decision.lifetime + decision.age,
            time.time() - decision.age,
        )

    def response(self, state: str, age: float) -> Response:
        """A new response, which one request may change. `age`: seconds. A response that was just
        made has an Age field only if the handler gave it one."""
        if state == "HIT":
            # Most hits have the same fields as the hit before.
            second = int(age)
            if self._hit is None or self._second != second:
                self._hit, self._second = self._fields("HIT", age), second
            fields = self._hit
        else:
            fields = self._fields(state, age)
        response = Response.sharing(self.body, self.status, self.content_type, fields)
        # The compression middleware finds the compressed bodies here.
        setattr(response, "stored", self)  # noqa: B010 - the class does not declare it
        return response

    def not_modified(self, state: str, age: float) -> Response:
        """A 304 with the fields that RFC 9110 section 15.4.5 requires."""
        response = Response(b"", 304, policy.not_modified_fields(self.fields))
        for name, value in _cache_fields(state, age):
            response.headers.add(name, value)
        return response

    def _fields(self, state: str, age: float) -> MutableHeaders:
        return MutableHeaders([*self.fields, *_cache_fields(state, age)])


def _cache_fields(state: str, age: float) -> list[tuple[str, str]]:
    """The fields X-Cache and Age. Age is the last field, as `KeptAnswers` expects."""
    fields = [("X-Cache", state)]
    if state != "MISS" or age >= 1.0:
        # RFC 9111 section 4.2.3: the handler's own Age, or an old Date, is included.
        fields.append(("Age", policy.age_value(age)))
    return fields

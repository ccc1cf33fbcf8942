"""An answer as it is kept, and the answers that are made of it."""

from __future__ import annotations

import time
from collections.abc import Iterable

from ember.cache import policy
from ember.headers import MutableHeaders
from ember.response import Response

#: Fields that belong to one connection or one moment, and are not kept.
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


class Answer:
    """One stored answer. Never changed once it is made, but for `encoded`."""

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
        #: the route that it is of, for caches whose keys the application makes
        self.label = label
        self.status = status
        self.content_type = content_type
        self.fields = fields
        self.body = body
        #: it may be given to requests with credentials (RFC 9111 section 3.5)
        self.for_all = for_all
        #: the age up to which it is fresh, seconds
        self.freshness = freshness
        #: when its age was zero, seconds since the epoch
        self.born = born
        self.etag = next((v for n, v in fields if n.lower() == "etag"), None)
        self.last_modified = next((v for n, v in fields if n.lower() == "last-modified"), None)
        #: its body in other codings, made when first asked for (`ember.middleware.compression`)
        self.encoded: dict[str, bytes] = {}
        self._hit: MutableHeaders | None = None
        self._second = 0

    @classmethod
    def of(
        cls, response: Response, decision: policy.Decision, label: str, vary: Iterable[str]
    ) -> Answer:
        """What is kept of `response`; `vary`: request fields that its key was made of."""
        headers = response.headers
        fields = [(n, v) for n, v in headers.items() if n.lower() not in NOT_KEPT]
        if "etag" not in headers and response.status_code == 200:
            fields.append(("ETag", policy.entity_tag(response.body)))
        told = policy.vary_names(headers.get_all("vary")) or ()
        missing = [name for name in vary if name not in told]
        if missing:
            # The caches between here and the client have to tell them apart too.
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
        """A new response, for this request alone to change. `age`: seconds; an answer that was just
        made tells it only where its handler gave it one."""
        if state == "HIT":
            # Most hits have the fields of the one before.
            second = int(age)
            if self._hit is None or self._second != second:
                self._hit, self._second = self._fields("HIT", age), second
            fields = self._hit
        else:
            fields = self._fields(state, age)
        response = Response.sharing(self.body, self.status, self.content_type, fields)
        # With this the compression finds the bodies that it has made before.
        setattr(response, "kept", self)  # noqa: B010 - of this package, not of the class
        return response

    def not_modified(self, state: str, age: float) -> Response:
        """304 with the fields that RFC 9110 section 15.4.5 asks for."""
        response = Response(b"", 304, policy.not_modified_fields(self.fields))
        for name, value in _told(state, age):
            response.headers.add(name, value)
        return response

    def _fields(self, state: str, age: float) -> MutableHeaders:
        return MutableHeaders([*self.fields, *_told(state, age)])


def _told(state: str, age: float) -> list[tuple[str, str]]:
    """The fields that say where an answer comes from; Age is the last, as `KeptAnswers` has it."""
    fields = [("X-Cache", state)]
    if state != "MISS" or age >= 1.0:
        # RFC 9111 section 4.2.3: what the handler's own Age, or an old Date, said counts on.
        fields.append(("Age", policy.age_value(age)))
    return fields

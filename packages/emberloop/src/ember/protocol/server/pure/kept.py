"""Responses that the compiled connection gives by itself; this build makes a request of each."""

from __future__ import annotations

from ember.protocol.http1.render import render_head

TYPE_CHECKING = False
if TYPE_CHECKING:
    from ember.protocol.message._response import Response

#: Bytes of a head that the compiled connection writes in one piece with a body.
_LONGEST = 4096


def split_head(response: Response) -> tuple[bytes, bytes] | None:
    """The head of `response` before the value of Age and from its end on to before Connection and
    Date; None for one that cannot be kept, or that does not end with Age."""
    if response.stream is not None or response.status_code != 200:
        return None
    if "date" in response.headers:
        return None
    rendered = render_head(response, "GET", 1, True)
    before, age, rest = rendered.head.rpartition(b"\r\nAge: ")
    value, end, framing = rest.partition(b"\r\n")
    length, date, _ = framing.rpartition(b"Date: ")
    last = length == b"Content-Length: %d\r\n" % len(response.body)
    if not (rendered.keep_alive and age and end and date and last and value.isdigit()):
        return None
    if len(before) > _LONGEST:
        return None
    return before + age, end + length


class Tally:
    """Counts `hits`: how often a stored response was given; shared by those it is handed in with.

    `route`: what an observer is told as the route of these."""

    __slots__ = ("hits", "route")

    def __init__(self) -> None:
        self.hits = 0
        self.route: object = None

    def __repr__(self) -> str:
        return f"<Tally {self.hits}>"


class Kept:
    """One stored response, for whoever has it kept."""

    __slots__ = ()

    @property
    def alive(self) -> bool:
        """Whether it may still be given."""
        return False

    def take_hits(self) -> int:
        """How often it was given since the last call."""
        return 0

    def forget(self) -> None:
        """Give it no more, from the next request on."""


class KeptAnswers:
    """The responses of one application that need no request, `app.kept_answers`.

    A request that says more than its target (credentials, conditions, ranges, cache directives, an
    absolute form, a body) is not answered from here. Belongs to one thread. Only the compiled
    connection looks here: in this build nothing is kept.
    """

    __slots__ = ()

    def __len__(self) -> int:
        return 0

    def keep(
        self,
        target: bytes,
        response: Response,
        *,
        host: bytes,
        scheme: str,
        stored_at: float,
        fresh_until: float,
        tally: Tally,
    ) -> Kept | None:
        """Give `response`, whose last field is Age, to GET and HEAD of `target`.

        `target`: `b"GET /path?query"`. `host`: the Host field that it is for, in lower case; who
        spells it in another way is left to the application. `scheme`: `"http"` or `"https"`, the
        object that `request.scheme` gives. Until `fresh_until`; Age counts from `stored_at`; both
        in seconds of `time.monotonic()`. Gives a `Kept`; None for a response that cannot be kept: a
        stream, a Date of its own, `Connection: close`, a head of more than 4 KiB. Of one target
        eight are kept, each for a host and scheme of its own; the oldest is forgotten first.
        """
        return None

    def clear(self, tally: Tally | None = None) -> None:
        """Forget all, or those that were kept with `tally`."""

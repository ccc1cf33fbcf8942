"""What the connection answers by itself: a small problem+json, and who can be asked about it."""

from __future__ import annotations

import logging

from ember._logs import get_logger
from ember.constants import reason
from ember.protocol.http1.render import STATUS_LINES
from ember.protocol.message.dates import date_field
from ember.protocol.message.headers import check_name, check_value
from ember.protocol.server.overload import RETRY_AFTER

TYPE_CHECKING = False
if TYPE_CHECKING:
    from ember.exceptions import ProtocolError
    from ember.protocol.server.application import Application

    #: The id of a request, and the name of the field that carries it in the response, if one does.
    Identity = tuple[str, str | None]

# The logger of the whole package, which every build asks for here.
log = get_logger("ember.protocol")


def identify(app: Application, request: object) -> Identity | None:
    """Ask the application, which may have ids, for that of a refused request; `request` is None
    when it was refused before there was one."""
    ask = getattr(app, "identify", None)
    if ask is None:
        return None
    try:
        identity, field = ask(request)
        if field is not None:
            check_name(field)
            check_value(field, identity)
    except Exception:
        log.exception("identify() failed for a refused request")
        return None
    return identity, field


def log_refusal(peer: str, error: ProtocolError, identity: Identity | None) -> None:
    """The line that says why."""
    level = logging.DEBUG if error.quiet else logging.WARNING
    known = "" if identity is None else f" [request {identity[0]}]"
    log.log(level, "%s: %s%s", peer, error, known)


def render_error(error: ProtocolError, method: str, identity: Identity | None = None) -> bytes:
    """The whole response to a broken request: problem+json (RFC 9457); the connection closes."""
    # The details are this package's own words: nothing in them needs escaping.
    body = (
        f'{{"type":"about:blank","title":"{reason(error.status)}",'
        f'"status":{error.status},"detail":"{error.detail}"'
    )
    # Somewhere else, or a moment later, there may be room.
    field = f"Retry-After: {RETRY_AFTER}\r\n" if error.status == 503 else ""
    if identity is not None:
        import json  # not before somebody is refused

        known, name = identity
        body += f',"request_id":{json.dumps(known)}'
        if name is not None:
            field += f"{name}: {known}\r\n"
    body += "}"
    return b"".join(
        (
            STATUS_LINES[error.status],
            b"Content-Type: application/problem+json\r\nContent-Length: %d\r\n" % len(body),
            field.encode("latin-1"),
            b"Connection: close\r\n",
            date_field(),
            b"\r\n",
            # Never content in a response to HEAD (RFC 9110 section 9.3.2).
            b"" if method == "HEAD" else body.encode(),
        )
    )

"""The states of a connection, and which of them may follow one another.

A connection does not keep its state: it follows from what it holds (`Connection.state`), so that
the two cannot disagree. Here is what the rest of the code relies on, and the tests check it.
"""

from __future__ import annotations

from enum import Enum

__all__ = ["TRANSITIONS", "State"]


class State(Enum):
    """What a connection is about."""

    IDLE = "idle"
    """Between two requests: nothing of the next one has come."""
    RECEIVING_HEAD = "receiving head"
    """Part of a request's head has come, or requests wait for their turn."""
    RECEIVING_BODY = "receiving body"
    """The application has the request; its body is still on its way."""
    ANSWERING = "answering"
    """The request has come as a whole; its response is not complete."""
    DRAINING = "draining"
    """The response is complete, and what is left of the request's body is read and dropped."""
    UPGRADED = "upgraded"
    """Another codec speaks here; see `codec.py`."""
    CLOSING = "closing"
    """Nothing more is read or answered; what was written is still sent."""
    CLOSED = "closed"
    """The connection is gone."""


_END = {State.CLOSING, State.CLOSED}
#: Where the application has a request, or has answered it already.
_ASKED = {State.RECEIVING_BODY, State.ANSWERING, State.DRAINING, State.IDLE, State.UPGRADED}

#: What may come after each state, from one byte to the next and with whatever happens in between. A
#: response that is there at once is given within the byte that completes its request.
TRANSITIONS: dict[State, set[State]] = {
    # Upgraded: by the handshake of TLS, before the first byte.
    State.IDLE: {State.RECEIVING_HEAD, State.UPGRADED, *_END},
    State.RECEIVING_HEAD: {*_ASKED, *_END},
    State.RECEIVING_BODY: {State.ANSWERING, State.DRAINING, State.IDLE, *_END},
    # Behind a response come requests that have waited for it.
    State.ANSWERING: {State.RECEIVING_HEAD, *_ASKED, *_END},
    State.DRAINING: {State.RECEIVING_HEAD, *_ASKED, *_END},
    State.UPGRADED: _END,
    State.CLOSING: {State.CLOSED},
    State.CLOSED: set(),
}


def state_of(
    *,
    lost: bool,
    closing: bool,
    upgraded: bool,
    started: bool,
    body: bool,
    exchange: bool,
    answered: bool,
) -> State:
    """The state of a connection. `started`: something of a request waits in its buffer; `exchange`:
    a request is with the application; `body`: its body is not complete; `answered`: its response
    is."""
    if lost or closing:
        return State.CLOSED if lost else State.CLOSING
    if upgraded:
        return State.UPGRADED
    if not exchange:
        return State.RECEIVING_HEAD if started else State.IDLE
    if answered:
        return State.DRAINING if body else State.IDLE
    return State.RECEIVING_BODY if body else State.ANSWERING

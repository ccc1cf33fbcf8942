"""The states of TLS on one connection, and which of them may follow one another.

`TLSMachine` (`tls_machine.py`) does not keep its state: it follows from what it holds, so that the
two cannot disagree. Here is what the rest of the code relies on, and the tests check it.
"""

from __future__ import annotations

from enum import Enum

__all__ = ["TLS_TRANSITIONS", "TLSState"]


class TLSState(Enum):
    """What TLS on a connection is about."""

    NEW = "new"
    """Nothing has come. What is written waits."""
    HANDSHAKE = "handshake"
    """The peer has begun with TLS. What is written waits."""
    OPEN = "open"
    """What comes is opened, what is written is sealed."""
    PEER_ENDED = "peer ended"
    """The peer sends no more: its close_notify or its FIN has come. What still comes is dropped;
    what is written is sealed."""
    ENDING = "ending"
    """The connection has ended, and plain text waits for the peer to take what was sealed."""
    IN_CLEAR = "in clear"
    """The peer spoke HTTP without TLS. It gets one response, without TLS."""
    FINISHED = "finished"
    """Nothing is sealed any more: our close_notify or an alert is out, or the handshake will not be
    done. What still comes is dropped."""
    CLOSED = "closed"
    """The socket is gone."""


_END = {TLSState.FINISHED, TLSState.CLOSED}

#: What may come after each state, from one input to the next.
TLS_TRANSITIONS: dict[TLSState, set[TLSState]] = {
    TLSState.NEW: {TLSState.HANDSHAKE, TLSState.IN_CLEAR, *_END},
    # The last flight of the client may have requests behind it, and its end.
    TLSState.HANDSHAKE: {TLSState.OPEN, TLSState.PEER_ENDED, TLSState.ENDING, *_END},
    TLSState.OPEN: {TLSState.PEER_ENDED, TLSState.ENDING, *_END},
    TLSState.PEER_ENDED: {TLSState.ENDING, *_END},
    TLSState.ENDING: _END,
    TLSState.IN_CLEAR: {TLSState.CLOSED},
    TLSState.FINISHED: {TLSState.CLOSED},
    TLSState.CLOSED: set(),
}


def tls_state_of(
    *,
    closed: bool,
    in_clear: bool,
    finished: bool,
    ending: bool,
    peer_ended: bool,
    established: bool,
    begun: bool,
) -> TLSState:
    """The state that follows from what is true; the first of these that is decides."""
    if closed:
        return TLSState.CLOSED
    if in_clear:
        return TLSState.IN_CLEAR
    if finished:
        return TLSState.FINISHED
    if ending:
        return TLSState.ENDING
    if peer_ended:
        return TLSState.PEER_ENDED
    if established:
        return TLSState.OPEN
    return TLSState.HANDSHAKE if begun else TLSState.NEW

"""What `TLSMachine` needs of the world around it: the connection above, the socket below, a turn of
the loop. `_tls.pyx` and `tls_layer.py` give it."""

from __future__ import annotations

TYPE_CHECKING = False
if TYPE_CHECKING:
    from typing import Any

__all__ = ["TLSAdapter"]


class TLSAdapter:
    """Carries out what the machine decides; these methods decide nothing."""

    def connection(self) -> Any:
        """The connection above, of either build. Not asked for after `lost`."""
        raise NotImplementedError

    def send(self, data: bytes) -> None:
        """Send `data` to the peer as it is."""
        raise NotImplementedError

    def takes_no_more(self) -> bool:
        """Whether enough is unsent: `take_more` will be called."""
        raise NotImplementedError

    def pause_below(self) -> None:
        """Receive nothing."""
        raise NotImplementedError

    def resume_below(self) -> None:
        """Receive again."""
        raise NotImplementedError

    def close_below(self, linger: bool) -> None:
        """Close the socket after what was sent. `linger`: end our side only, and read on for a
        while."""
        raise NotImplementedError

    def go_on_later(self) -> None:
        """Call `go_on` in the next turn of the loop."""
        raise NotImplementedError

    def turn_began(self) -> float:
        """When this turn of the loop began, seconds of the monotonic clock; see `knows_turns`."""
        return 0.0

    def had_its_share(self) -> bool:
        """Whether the connection above has had its share of this turn."""
        return False

    def deliver(self, size: int) -> None:
        """So many bytes of plain text are in `plain`."""
        raise NotImplementedError

    def tell_established(self) -> None:
        """The handshake is done."""
        raise NotImplementedError

    def tell_eof(self) -> None:
        """The peer will send no more."""
        raise NotImplementedError

    def tell_hangup(self) -> None:
        """The peer's FIN came, after its close_notify."""
        raise NotImplementedError

    def tell_writable(self) -> None:
        """All that was written is with the kernel, or nearly: more may come."""
        raise NotImplementedError

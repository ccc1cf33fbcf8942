"""What httptools and h11 make of the same bytes."""

from __future__ import annotations

import h11
import httptools
from h11._state import MIGHT_SWITCH_PROTOCOL as MIGHT_SWITCH


class Seen:
    """The requests that a parser took from some bytes, in order, and whether it then refused.

    A request is (method, target, body). `halted`: it stopped for reasons of its own (an upgrade),
    so that nothing can be said about the rest.
    """

    def __init__(self) -> None:
        self.requests: list[tuple[str, bytes, bytes]] = []
        self.refused: str | None = None
        self.halted = False


class _Callbacks:
    def __init__(self, seen: Seen) -> None:
        self.seen = seen
        self.parser: httptools.HttpRequestParser
        self.url = b""
        self.body = b""

    def on_message_begin(self) -> None:
        self.url = self.body = b""

    def on_url(self, url: bytes) -> None:
        self.url += url

    def on_body(self, body: bytes) -> None:
        self.body += body

    def on_message_complete(self) -> None:
        method = self.parser.get_method().decode("latin-1")
        self.seen.requests.append((method, self.url, self.body))


def with_httptools(data: bytes) -> Seen:
    """httptools, which is llhttp."""
    seen = Seen()
    callbacks = _Callbacks(seen)
    callbacks.parser = httptools.HttpRequestParser(callbacks)
    try:
        callbacks.parser.feed_data(data)
    except httptools.HttpParserUpgrade:
        seen.halted = True
    except httptools.HttpParserError as error:
        seen.refused = str(error) or type(error).__name__
    return seen


def with_h11(data: bytes) -> Seen:
    """h11 as a server that answers everything with an empty 200."""
    seen = Seen()
    connection = h11.Connection(h11.SERVER, max_incomplete_event_size=1 << 20)
    connection.receive_data(data)
    request: h11.Request | None = None
    body = b""
    try:
        while True:
            event = connection.next_event()
            if event is h11.NEED_DATA:
                break
            if event is h11.PAUSED:
                if connection.their_state is MIGHT_SWITCH:
                    seen.halted = True
                    break
                if connection.our_state is h11.MUST_CLOSE or connection.our_state is h11.CLOSED:
                    seen.halted = True
                    break
                connection.start_next_cycle()
            elif isinstance(event, h11.Request):
                request, body = event, b""
            elif isinstance(event, h11.Data):
                body += event.data
            elif isinstance(event, h11.EndOfMessage):
                assert request is not None
                seen.requests.append((request.method.decode("latin-1"), request.target, body))
                connection.send(h11.Response(status_code=200, headers=[("Content-Length", "0")]))
                connection.send(h11.EndOfMessage())
            else:
                break
    except h11.RemoteProtocolError as error:
        seen.refused = str(error)
    except h11.LocalProtocolError:
        seen.halted = True
    return seen

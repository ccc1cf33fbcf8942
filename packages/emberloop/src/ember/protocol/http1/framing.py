"""How the messages of a connection are told apart: every rule of framing, in one place."""

from __future__ import annotations

import re

from ember.exceptions import ProtocolError
from ember.protocol.http1.authority import valid_authority

__all__ = ["Framing", "response_has_body", "response_has_length", "tokens"]

# 1*DIGIT (RFC 9110 section 8.6); 18 digits fit 64 bits.
_length = re.compile(rb"[0-9]{1,18}").fullmatch


class Framing:
    """What the head of a request says about its body and its connection, field by field."""

    __slots__ = (
        "_coded",
        "_hosts",
        "_lengths",
        "_options",
        "_unknown_coding",
        "_unknown_expectation",
        "chunked",
        "expects_continue",
        "host",
        "keep_alive",
        "length",
    )

    def __init__(self) -> None:
        self._coded = self._unknown_coding = self._unknown_expectation = False
        self._hosts = self._lengths = 0
        self._options: list[bytes] = []
        self.length = 0
        self.chunked = False
        self.keep_alive = True
        self.expects_continue = False
        #: host and port; of an absolute-form target, which replaces Host (RFC 9112 section 3.2.2)
        self.host = b""

    @property
    def has_body(self) -> bool:
        """Whether body bytes, or a last chunk, follow the head."""
        return self.chunked or self.length > 0

    def take(self, name: bytes, value: bytes) -> None:
        """One field. Raises `ProtocolError` (400)."""
        # The lengths of the names that matter, so that most fields cost one comparison.
        if len(name) not in (4, 6, 10, 14, 17):
            return
        lower = name.lower()
        if lower == b"host":
            self._take_host(value)
        elif lower == b"content-length":
            # One field with one number. A repeated one is refused even when equal: that is what the
            # RFC offers as an alternative to repairing it (RFC 9112 section 6.3, item 5).
            self._lengths += 1
            if self._lengths > 1 or _length(value) is None:
                raise ProtocolError(400, "Content-Length is not one number")
            self.length = int(value)
        elif lower == b"transfer-encoding":
            self._take_codings(value)
        elif lower == b"connection":
            self._options += tokens(value)
        elif lower == b"expect":
            for expectation in tokens(value):
                if expectation != b"100-continue" or self.expects_continue:
                    self._unknown_expectation = True
                self.expects_continue = True

    def _take_host(self, value: bytes) -> None:
        # At most one Host, and a valid one (RFC 9112 section 3.2).
        self._hosts += 1
        if self._hosts > 1:
            raise ProtocolError(400, "the request has more than one Host field")
        if not valid_authority(value):
            raise ProtocolError(400, "the Host field is malformed")
        if not self.host:
            self.host = value

    def _take_codings(self, value: bytes) -> None:
        self._coded = True
        for part in value.lower().split(b","):
            coding = part.strip(b" \t")
            # No sender makes empty elements (RFC 9110 section 5.6.1.1), and not every reader drops
            # them.
            if not coding:
                raise ProtocolError(400, "a transfer coding is empty")
            # Chunked comes last and once, or the end cannot be found (RFC 9112 section 6.3,
            # item 4).
            if self.chunked:
                raise ProtocolError(400, "the last transfer coding is not chunked")
            if coding == b"chunked":
                self.chunked = True
            else:
                self._unknown_coding = True

    def complete(self, minor: int) -> None:
        """The end of a head in HTTP/1.`minor`. Raises `ProtocolError` (400, 417, 501)."""
        if minor and not self._hosts:  # RFC 9112 section 3.2
            raise ProtocolError(400, "the request has no Host field")
        if self._coded:
            # Both lengths together are an attempt at smuggling (RFC 9112 section 6.3, item 3).
            if self._lengths:
                raise ProtocolError(400, "Content-Length and Transfer-Encoding exclude each other")
            # HTTP/1.0 has no Transfer-Encoding: its framing is faulty (RFC 9112 section 6.1).
            if not minor:
                raise ProtocolError(400, "Transfer-Encoding needs HTTP/1.1")
            if not self.chunked:
                raise ProtocolError(400, "the last transfer coding is not chunked")
            # Other codings are unknown here (RFC 9112 section 6.1).
            if self._unknown_coding:
                raise ProtocolError(501, "the only transfer coding known here is chunked")
        # Persistence (RFC 9112 section 9.3)
        if b"close" in self._options:
            self.keep_alive = False
        elif not minor:
            self.keep_alive = b"keep-alive" in self._options
        # Expectations of HTTP/1.0 are ignored; the only known one is 100-continue (RFC 9110
        # section 10.1.1).
        if not minor or not self.has_body:
            self.expects_continue = False
        if minor and self._unknown_expectation:
            raise ProtocolError(417, "the only expectation known here is 100-continue")


def tokens(value: bytes) -> list[bytes]:
    """The elements of a comma-separated list, lower case, empty ones dropped (RFC 9110 section
    5.6.1)."""
    return [part for part in (p.strip(b" \t") for p in value.lower().split(b",")) if part]


def response_has_body(method: str, status: int) -> bool:
    """Whether body bytes may follow the head of a response (RFC 9112 section 6.3, item 1; for 205,
    RFC 9110 section 15.3.6)."""
    return method != "HEAD" and status not in (204, 205, 304) and status >= 200


def response_has_length(status: int) -> bool:
    """Whether Content-Length may be sent: never with 1xx and 204 (RFC 9110 section 8.6)."""
    return status >= 200 and status != 204

"""The head of a request: a strict, incremental parser of HTTP/1.1 (RFC 9112 sections 2, 3 and 5).

The first byte at fault decides, as soon as it has arrived: what a line may be made of is judged
byte by byte, what it says at its LF, what concerns several lines at the end of the head. So the
result for the same bytes is the same however they were split, and comes at the same byte as from
the compiled parser (`csrc/http1.h`), in the same words.

Accepted is a closed list. Where RFC 3986 and what browsers send differ, see `_QUERY`.
"""

from __future__ import annotations

import re

from ember.exceptions import ProtocolError
from ember.protocol.http1.authority import has_port, valid_authority
from ember.protocol.http1.field_line import (
    CONTROL,
    CR_ALONE,
    LF_ALONE,
    field_value,
    parse_field,
    token,
)
from ember.protocol.http1.framing import Framing
from ember.protocol.message.quoting import unquote

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Callable

    from ember.limits import ServerLimits

__all__ = ["Head", "HeadParser"]

#: A method is a token (RFC 9110 section 9.1); longer ones than this are implemented by nobody
#: (501).
MAX_METHOD = 32

REQUEST_LINE = "the request line is malformed"
CHARACTER = "the request target has a character that must be encoded"

# HTTP-version (RFC 9112 section 2.3): case-sensitive, one digit each. Also when it is cut short.
_version = re.compile(rb"HTTP/([0-9])\.([0-9])").match
_version_begun = re.compile(rb"(?:H(?:T(?:T(?:P(?:/(?:[0-9]\.?)?)?)?)?)?)?").fullmatch

_PCHAR = rb"A-Za-z0-9\-._~!$&'()*+,;=:@"
# [ ] \ ^ ` { | } in a query: the URL Standard does not encode these there, so every browser sends
# `?id[]=1` as it is. RFC 3986 section 3.4 has no place for them.
_QUERY_EXTRA = rb"\[\]\\^`{|}"
_target_run = re.compile(rb"[%/?" + _QUERY_EXTRA + _PCHAR + rb"]*").match
# absolute-path (RFC 9110 section 4.1, RFC 3986 section 3.3)
_path = re.compile(rb"(?:[/" + _PCHAR + rb"]|%[0-9A-Fa-f]{2})*").fullmatch
# A % of the query that begins no escape stands for itself, as browsers send it and the URL Standard
# reads it: nothing is decided by a query before it is decoded.
_query = re.compile(rb"[%/?" + _QUERY_EXTRA + _PCHAR + rb"]*").fullmatch
# absolute-form (RFC 9112 section 3.2.2); userinfo is an error in http URIs (RFC 9110 section
# 4.2.4).
_absolute = re.compile(rb"[hH][tT][tT][pP][sS]?://([^/?]*)([^?]*)(?:\?(.*))?", re.DOTALL).fullmatch


class Head:
    """The parsed head of one request. Bytes are as received."""

    __slots__ = ("absolute", "fields", "framing", "method", "minor", "query", "raw_path", "target")

    method: str
    target: bytes
    raw_path: bytes
    query: bytes
    minor: int
    fields: list[tuple[bytes, bytes]]
    framing: Framing
    #: host and port of an absolute-form target, which replace Host (RFC 9112 section 3.2.2)
    absolute: bytes | None

    def __init__(self) -> None:
        self.fields = []
        self.absolute = None
        self.framing = Framing()


#: What an unfinished line has to be judged by next.
_METHOD, _TARGET, _VERSION, _NAME, _VALUE, _END = range(6)


class HeadParser:
    """Takes heads off the front of a buffer. Remembers how far it looked, so that a byte-by-byte
    client costs no more than any other."""

    __slots__ = ("_head", "_limits", "_line", "_part", "_scanned", "_state", "method")

    def __init__(self, limits: ServerLimits) -> None:
        self._limits = limits
        self._line = 0  # where the line that is being read begins
        self._scanned = 0  # up to here there is no LF in it, and nothing at fault
        self._state = _METHOD
        self._part = 0  # where that part of the request line begins
        self._head: Head | None = None
        #: the method of the request that is being read, as soon as it is whole
        self.method = ""

    @property
    def started(self) -> bool:
        """Whether bytes of a head, other than blank lines before it, were seen."""
        return self._head is not None or self._scanned > self._line

    def feed(self, buffer: bytearray) -> Head | None:
        """The next head, taken off `buffer`; None while it is incomplete.

        Raises `ProtocolError` (400, 414, 417, 431, 501, 505).
        """
        most = self._limits.max_header_size
        while True:
            at = buffer.find(b"\n", self._scanned, most)
            if at < 0:
                end = min(len(buffer), most)
                if self._scanned < end:
                    if self._head is None:
                        self._request_line(buffer, end)
                    else:
                        self._field_begun(self._head, buffer, end)
                    self._scanned = end
                if len(buffer) > most:
                    raise ProtocolError(431, "the request head is too large")
                return None
            line = self._line
            if self._head is None:
                # An empty line before the request line is ignored (RFC 9112 section 2.2).
                if at != line + 1 or buffer[line] != 13:
                    self._head = self._request_line(buffer, at + 1)
                self._state = _METHOD if self._head is None else _NAME
                self._line = self._scanned = at + 1
            elif at != line + 1 or buffer[line] != 13:
                self._field(self._head, bytes(buffer[line:at]))
                self._state = _NAME
                self._line = self._scanned = at + 1
            else:
                head = self._head
                del buffer[: at + 1]
                self._line = self._scanned = 0
                self._state = _METHOD
                self._head = None
                head.framing.complete(head.minor)
                self.method = ""
                return head

    def _request_line(self, buffer: bytearray, end: int) -> Head | None:
        """The head that begins with the line in `buffer`, looked at from where the last look ended
        up to `end`; None when that is before its LF."""
        # method SP request-target SP HTTP-version CRLF, each SP exactly one (RFC 9112 section 3)
        begin, at = self._line, self._scanned
        if self._state == _METHOD:
            if buffer[begin] == 13:
                if end > begin + 1:
                    raise ProtocolError(400, CR_ALONE)
                return None
            at = _end(token, buffer, at, end)
            if at - begin > MAX_METHOD:
                raise ProtocolError(501, "the method is too long")
            if at == end:
                return None
            if at == begin or buffer[at] != 32:
                raise ProtocolError(400, REQUEST_LINE)
            self.method = buffer[begin:at].decode("latin-1")
            at += 1
            self._state, self._part = _TARGET, at
        if self._state == _TARGET:
            begin, most = self._part, self._limits.max_target_size
            at = _end(_target_run, buffer, at, min(end, begin + most + 1))
            if at - begin > most:
                raise ProtocolError(414, "the request target is too long")
            if at == end:
                return None
            if at == begin or buffer[at] in b"\r\n":
                raise ProtocolError(400, REQUEST_LINE)
            if buffer[at] != 32:
                raise ProtocolError(400, CHARACTER)
            at += 1
            self._state, self._part = _VERSION, at
        # At most eleven bytes, of which every look may be the first.
        rest = bytes(buffer[self._part : end])
        match = _version(rest)
        if match is None:
            if _version_begun(rest):
                return None
            raise ProtocolError(400, "the HTTP version is malformed")
        if match[1] != b"1":  # RFC 9110 section 15.6.6
            raise ProtocolError(505, "only HTTP/1.0 and HTTP/1.1 are spoken here")
        after = rest[8:]
        if after != b"\r\n":
            if after in (b"", b"\r"):
                return None
            fault = {10: LF_ALONE, 13: CR_ALONE}.get(after[0], REQUEST_LINE)
            raise ProtocolError(400, fault)
        head = Head()
        head.method = self.method
        head.target = bytes(buffer[self._line + len(self.method) + 1 : self._part - 1])
        # A higher minor version is answered as the highest known one (RFC 9110 section 2.5).
        head.minor = 0 if match[2] == b"0" else 1
        _target(head)
        return head

    def _field(self, head: Head, line: bytes) -> None:
        """The field in a whole line, which ends before its LF."""
        self._count_field(head, line[:1])
        name, value = parse_field(line)
        head.fields.append((name, value))
        head.framing.take(name, value)

    def _field_begun(self, head: Head, buffer: bytearray, end: int) -> None:
        """Judge the line in `buffer`, of which there are bytes up to `end`, before its LF."""
        begin, at = self._line, self._scanned
        if self._state == _NAME:
            if at == begin:
                self._count_field(head, buffer[begin : begin + 1])
            if buffer[begin] == 13:
                if end > begin + 1:
                    raise ProtocolError(400, CR_ALONE)
                return
            at = _end(token, buffer, at, end)
            if at == end:
                return
            if at == begin or buffer[at] != 58:
                parse_field(bytes(buffer[begin : at + 1]))
            at += 1
            self._state = _VALUE
        if self._state == _VALUE:
            at = _end(field_value, buffer, at, end)
            if at == end:
                return
            if buffer[at] != 13:
                raise ProtocolError(400, CONTROL)
            at += 1
            self._state = _END
        if at < end:
            raise ProtocolError(400, CR_ALONE)

    def _count_field(self, head: Head, first: bytes | bytearray) -> None:
        if first != b"\r" and len(head.fields) >= self._limits.max_headers:
            raise ProtocolError(431, "the request has too many header fields")


def _end(run: Callable[..., re.Match[bytes] | None], buffer: bytearray, at: int, end: int) -> int:
    """Where the run of characters that begins at `at` ends."""
    match = run(buffer, at, end)
    assert match is not None
    return match.end()


def _target(head: Head) -> None:
    target = head.target
    if head.method == "CONNECT":  # authority-form (RFC 9112 section 3.2.3), for proxies only
        if not has_port(target) or not valid_authority(target):
            raise ProtocolError(400, "the target of CONNECT is not host:port")
        raise ProtocolError(501, "CONNECT is for proxies")
    if target[0] == 47:  # origin-form (RFC 9112 section 3.2.1)
        path, _, query = target.partition(b"?")
    elif target == b"*":  # asterisk-form (RFC 9112 section 3.2.4)
        if head.method != "OPTIONS":
            raise ProtocolError(400, "the target * is for OPTIONS only")
        head.raw_path, head.query = target, b""
        return
    else:  # absolute-form (RFC 9112 section 3.2.2)
        match = _absolute(target)
        if match is None:
            raise ProtocolError(400, "the request target is malformed")
        if not match[1] or not valid_authority(match[1]):
            raise ProtocolError(400, "the authority of the request target is malformed")
        head.absolute = head.framing.host = match[1]
        # An empty path is "/" (RFC 9110 section 4.2.3), except in OPTIONS (RFC 9112 section 3.2.4).
        empty = b"*" if head.method == "OPTIONS" and match[3] is None else b"/"
        path, query = match[2] or empty, match[3] or b""
    if _path(path) is None or _query(query) is None:
        raise ProtocolError(400, CHARACTER)
    if b"%" in path:
        _check_decoded(path)
    head.raw_path, head.query = path, query


def _check_decoded(path: bytes) -> None:
    """NUL has no place in a path (RFC 3986 section 7.3); overlong and other broken UTF-8 is refused
    (RFC 3629 section 10): two spellings of one path are how checks are passed by."""
    decoded = unquote(path)
    if b"\0" in decoded:
        raise ProtocolError(400, "the request target has an encoded NUL")
    try:
        decoded.decode()
    except UnicodeDecodeError:
        raise ProtocolError(400, "the request target is not UTF-8") from None

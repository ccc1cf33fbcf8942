"""The head of a request: a strict, incremental parser of HTTP/1.1 (RFC 9112 sections 2, 3 and 5).

The first byte at fault decides: lines are judged in the order of their bytes when their LF has
arrived or a limit is crossed, a request line's target and a field's value at the end of their line,
what concerns several lines at the end of the head. So the answer to the same bytes is the same
however they were split.

Accepted is a closed list. Where RFC 3986 and what browsers send differ, see `_QUERY`.
"""

from __future__ import annotations

import re

from ember.exceptions import ProtocolError
from ember.protocol.pure.authority import has_port, valid_authority
from ember.protocol.pure.fieldline import LINE_END, TCHAR, parse_field, token
from ember.protocol.pure.framing import Framing
from ember.protocol.quoting import unquote

TYPE_CHECKING = False
if TYPE_CHECKING:
    from ember.limits import ServerLimits

__all__ = ["Head", "HeadParser"]

#: A method is a token (RFC 9110 section 9.1); longer ones than this are implemented by nobody
#: (501).
MAX_METHOD = 32

# HTTP-version (RFC 9112 section 2.3): case-sensitive, one digit each. Also when it is cut short.
_version = re.compile(rb"HTTP/([0-9])\.([0-9])").match
_version_begun = re.compile(rb"H?T?T?P?/?[0-9]?\.?").fullmatch

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
_absolute = re.compile(rb"[hH][tT][tT][pP][sS]?://([^/?]+)([^?]*)(?:\?(.*))?", re.DOTALL).fullmatch


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


class HeadParser:
    """Takes heads off the front of a buffer. Remembers how far it looked, so that a byte-by-byte
    client costs no more than any other."""

    __slots__ = ("_head", "_limits", "_line", "_scanned", "method")

    def __init__(self, limits: ServerLimits) -> None:
        self._limits = limits
        self._line = 0  # where the line that is being read begins
        self._scanned = 0  # up to here there is no LF in it
        self._head: Head | None = None
        #: the method of the latest request, as far as it was understood
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
                self._scanned = min(len(buffer), most)
                self._cut_short(buffer)
                return None
            line = bytes(buffer[self._line : at])
            self._line = self._scanned = at + 1
            if self._head is None:
                if line != b"\r":
                    self._head = self._request_line(line, cut=False)
                # else: an empty line before the request line is ignored (RFC 9112 section 2.2)
            elif line != b"\r":
                self._field(self._head, line)
            else:
                head = self._head
                del buffer[: self._line]
                self._line = self._scanned = 0
                self._head = None
                head.framing.complete(head.minor)
                return head

    def _cut_short(self, buffer: bytearray) -> None:
        """What can be said of a line whose end has not come."""
        limits = self._limits
        begin, end = self._line, self._scanned
        over = len(buffer) > limits.max_header_size
        if self._head is None:
            # Longer than the longest method and the longest target: one of them is at fault.
            long = end - begin > MAX_METHOD + limits.max_target_size + 12
            method = (
                end - begin > MAX_METHOD and buffer.find(b" ", begin, begin + MAX_METHOD + 1) < 0
            )
            if over or long or method:
                self._request_line(bytes(buffer[begin:end]), cut=True)
        elif over and end > begin:
            line = bytes(buffer[begin:end])
            self._count_field(self._head, line)
            if line != b"\r" and _field_begun(line) is None:
                parse_field(line)
        if over:
            raise ProtocolError(431, "the request head is too large")

    def _request_line(self, line: bytes, *, cut: bool) -> Head | None:
        """The head that begins with `line`, which ends before its LF. `cut`: only look whether it
        can still become one."""
        # method SP request-target SP HTTP-version CRLF, each SP exactly one (RFC 9112 section 3)
        match = token(line)
        assert match is not None
        end = match.end()
        if end > MAX_METHOD:
            raise ProtocolError(501, "the method is too long")
        if cut and end == len(line):
            return None
        if end == 0 or line[end : end + 1] != b" ":
            raise ProtocolError(400, "the request line is malformed")
        self.method = line[:end].decode("latin-1")
        begin = end + 1
        match = _target_run(line, begin)
        assert match is not None
        end = match.end()
        if end - begin > self._limits.max_target_size:
            raise ProtocolError(414, "the request target is too long")
        if cut and end == len(line):
            return None
        if end == begin or line[end:] in (b"", b"\r"):
            raise ProtocolError(400, "the request line is malformed")
        if line[end] != 32:
            raise ProtocolError(400, "the request target has a character that must be encoded")
        head = Head()
        head.method = self.method
        head.target = line[begin:end]
        match = _version(line, end + 1)
        if match is None:
            if cut and _version_begun(line[end + 1 :]):
                return None
            raise ProtocolError(400, "the HTTP version is malformed")
        if match[1] != b"1":  # RFC 9110 section 15.6.6
            raise ProtocolError(505, "only HTTP/1.0 and HTTP/1.1 are spoken here")
        if cut and line[match.end() :] in (b"", b"\r"):
            return None
        if line[match.end() :] != b"\r":
            raise ProtocolError(400, LINE_END)
        # A higher minor version is answered as the highest known one (RFC 9110 section 2.5).
        head.minor = 0 if match[2] == b"0" else 1
        _target(head)
        return head

    def _field(self, head: Head, line: bytes) -> None:
        self._count_field(head, line)
        name, value = parse_field(line)
        head.fields.append((name, value))
        head.framing.take(name, value)

    def _count_field(self, head: Head, line: bytes) -> None:
        if line[:1] != b"\r" and len(head.fields) >= self._limits.max_headers:
            raise ProtocolError(431, "the request has too many header fields")


_field_begun = re.compile(TCHAR + rb"*(?::[\t\x20-\x7e\x80-\xff]*\r?)?").fullmatch


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
        if not valid_authority(match[1]):
            raise ProtocolError(400, "the authority of the request target is malformed")
        head.absolute = head.framing.host = match[1]
        # An empty path is "/" (RFC 9110 section 4.2.3), except in OPTIONS (RFC 9112 section 3.2.4).
        empty = b"*" if head.method == "OPTIONS" and match[3] is None else b"/"
        path, query = match[2] or empty, match[3] or b""
    if _path(path) is None or _query(query) is None:
        raise ProtocolError(400, "the request target has a character that must be encoded")
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

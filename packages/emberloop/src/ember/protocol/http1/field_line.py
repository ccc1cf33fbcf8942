"""A field line of a head or of a trailer section (RFC 9112 section 5)."""

from __future__ import annotations

import re

from ember.exceptions import ProtocolError

#: A character of a token (RFC 9110 section 5.6.2).
TCHAR = rb"[!#$%&'*+\-.^_`|~0-9A-Za-z]"
token = re.compile(TCHAR + rb"*").match
# field-value (RFC 9110 section 5.5): visible characters, SP, HTAB, obs-text
field_value = re.compile(rb"[\t\x20-\x7e\x80-\xff]*").match

LF_ALONE = "a line ends in LF without CR"
CR_ALONE = "a line has a CR without LF"
CONTROL = "a header field value has a control character"


def parse_field(line: bytes) -> tuple[bytes, bytes]:
    """(name, value) of a field line, which ends before its LF. Raises `ProtocolError` (400)."""
    match = token(line)
    assert match is not None
    end = match.end()
    if end == 0 or line[end : end + 1] != b":":
        if line[:1] == b"\r":
            raise ProtocolError(400, CR_ALONE)
        if line[:1] in (b" ", b"\t"):  # RFC 9112 section 5.2
            raise ProtocolError(400, "a header field is folded over several lines")
        raise ProtocolError(400, "a header field is malformed")
    match = field_value(line, end + 1)
    assert match is not None
    last = match.end()
    if line[last:] != b"\r":
        if last == len(line):
            raise ProtocolError(400, LF_ALONE)
        raise ProtocolError(400, CR_ALONE if line[last] == 13 else CONTROL)
    return line[:end], line[end + 1 : last].strip(b" \t")

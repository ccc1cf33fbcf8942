"""The authority of a target and the value of Host: `uri-host [ ":" port ]`."""

from __future__ import annotations

import re

# uri-host [ ":" port ] (RFC 9110 section 7.2, RFC 3986 section 3.2.2). A port needs a host; all of
# it may be missing.
_authority = re.compile(
    rb"(?:(\[[0-9A-Fa-f.]*:[0-9A-Fa-f.]*:[0-9A-Fa-f:.]*\]"
    rb"|(?:[A-Za-z0-9\-._~!$&'()*+,;=]|%[0-9A-Fa-f]{2})+)(?::([0-9]*))?)?"
).fullmatch


def valid_authority(value: bytes) -> bool:
    """Whether `value` is empty, or a host and perhaps a port that exists."""
    match = _authority(value)
    if match is None:
        return False
    port = (match[2] or b"").lstrip(b"0")
    return len(port) <= 5 and int(port or b"0") <= 65535


def has_port(value: bytes) -> bool:
    """Whether a valid authority names its port."""
    match = _authority(value)
    return match is not None and bool(match[2])

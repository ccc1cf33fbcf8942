"""Percent-encoding of paths, in both directions (RFC 3986 section 2.1)."""

from __future__ import annotations

from ember.protocol.message.quoting import OCTET

_UNRESERVED = frozenset(b"ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789-._~")
# RFC 3986 section 3.3: what a path segment may hold unencoded besides the unreserved ones.
_LITERAL = _UNRESERVED | frozenset(b"!$&'()*+,;=:@/")

#: Stands for an encoded slash inside a decoded path, so that it separates nothing. A NUL can be
#: that mark because `decode_path` refuses a path that holds one.
ENCODED_SLASH = "\x00"


def decode_path(path: str) -> str | None:
    """Decode the raw path of a request line, given as latin-1; None when it cannot be a path.

    Refused are a `%` without two hex digits, `%00` and a raw NUL (they end strings in too many
    places further down), and what is not UTF-8, overlong forms and surrogates included (RFC 3629
    section 3). An encoded slash comes out as `ENCODED_SLASH`.
    """
    if "%" not in path and path.isascii() and "\x00" not in path:
        return path
    raw = path.encode("latin-1")
    if b"\x00" in raw:
        return None
    first, *rest = raw.split(b"%")
    parts = [first]
    for part in rest:
        octet = OCTET.get(part[:2])
        if octet is None or octet == b"\x00":
            return None
        parts.append(b"\x00" if octet == b"/" else octet)
        parts.append(part[2:])
    try:
        return b"".join(parts).decode("utf-8")
    except UnicodeDecodeError:
        return None


def _quote(text: str, safe: frozenset[int]) -> str:
    return "".join(
        chr(octet) if octet in safe else f"%{octet:02X}" for octet in text.encode("utf-8")
    )


def quote_segment(text: str) -> str:
    """Encode a value that fills one path segment: a slash becomes `%2F`."""
    return _quote(text, _UNRESERVED)


def quote_path(text: str) -> str:
    """Encode a value that spans segments, or the literal text of a route: slashes stay."""
    return _quote(text, _LITERAL)

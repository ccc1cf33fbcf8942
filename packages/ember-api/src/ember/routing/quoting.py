"""Percent-encoding of paths, in both directions (RFC 3986 section 2.1)."""

from __future__ import annotations

from ember.protocol.message.quoting import OCTET

_UNRESERVED = frozenset(b"ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789-._~")
# RFC 3986 section 3.3: the other characters that a path segment may contain unencoded.
_LITERAL = _UNRESERVED | frozenset(b"!$&'()*+,;=:@/")

#: Replaces an encoded slash in a decoded path, so that it does not separate segments. It can be a
#: NUL because `decode_path` refuses paths with NUL.
ENCODED_SLASH = "\x00"


def decode_path(path: str) -> str | None:
    """Decode the raw path of a request line, given as latin-1; None if it is not valid.

    It refuses a `%` without two hex digits, `%00` and a raw NUL (which ends strings in C), and
    bytes that are not UTF-8, also overlong forms and surrogates (RFC 3629 section 3). An encoded
    slash becomes `ENCODED_SLASH`.
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
    """Encode a value for one path segment: a slash becomes `%2F`."""
    return _quote(text, _UNRESERVED)


def quote_path(text: str) -> str:
    """Encode a value that may span segments, or the literal text of a route: slashes stay."""
    return _quote(text, _LITERAL)

"""Percent-decoding (RFC 3986 section 2.1)."""

from __future__ import annotations

_DIGITS = "0123456789abcdefABCDEF"
#: What the two digits after a % stand for.
OCTET = {(a + b).encode(): bytes((int(a + b, 16),)) for a in _DIGITS for b in _DIGITS}


def unquote(value: bytes) -> bytes:
    """`value` with every %XX replaced; what is no %XX stays."""
    first, *rest = value.split(b"%")
    if not rest:
        return value
    out = [first]
    for part in rest:
        byte = OCTET.get(part[:2])
        out += (b"%", part) if byte is None else (byte, part[2:])
    return b"".join(out)

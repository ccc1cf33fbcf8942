"""Percent-decoding (RFC 3986 section 2.1)."""

from __future__ import annotations

_DIGITS = "0123456789abcdefABCDEF"
#: What the two digits after a % stand for.
OCTET = {(a + b).encode(): bytes((int(a + b, 16),)) for a in _DIGITS for b in _DIGITS}


#: Bytes that are decoded at once: what an escape costs in memory while it is decoded is more than
#: thirty times what it takes on the wire.
_BLOCK = 16384


def unquote(value: bytes) -> bytes:
    """`value` with every %XX replaced; what is no %XX stays."""
    if b"%" not in value:
        return value
    if len(value) <= _BLOCK:
        return _unquote_block(value)
    out = bytearray()
    start = 0
    while start < len(value):
        end = start + _BLOCK
        # An escape is not cut in two.
        cut = value.rfind(b"%", end - 2, end)
        if cut >= 0 and end < len(value):
            end = cut
        out += _unquote_block(value[start:end])
        start = end
    return bytes(out)


def _unquote_block(value: bytes) -> bytes:
    first, *rest = value.split(b"%")
    out = [first]
    for part in rest:
        byte = OCTET.get(part[:2])
        out += (b"%", part) if byte is None else (byte, part[2:])
    return b"".join(out)

"""Decodes the text of clients by the charset that they name: one of a short list.

Python has a hundred codecs. Some take quadratic time (punycode), some are for errors (undefined),
and every unknown name is remembered for ever: a client may not choose among all of them.
"""

from __future__ import annotations

import re

from ember.exceptions import BadRequest, UnsupportedMediaType

__all__ = ["CHARSETS", "codec_of", "decode_text", "parameter"]

#: Charset, lower case, to Python's codec: the names of IANA and those that are common besides.
CHARSETS = {
    "utf-8": "utf-8",
    "utf8": "utf-8",
    "us-ascii": "ascii",
    "ascii": "ascii",
    "iso-8859-1": "latin-1",
    "iso8859-1": "latin-1",
    "latin1": "latin-1",
    "latin-1": "latin-1",
    "windows-1252": "cp1252",
    "cp1252": "cp1252",
    "utf-16": "utf-16",
    "utf-16le": "utf-16-le",
    "utf-16be": "utf-16-be",
}
_KNOWN = "utf-8, us-ascii, iso-8859-1, windows-1252, utf-16, utf-16le, utf-16be"

# One `; name=value` of a field (RFC 9110 section 5.6.6), as lenient as its readers have to be. The
# quantifiers are possessive: nothing is read twice.
_parameter = re.compile(
    r'[ \t;]*+([^=;"]*+)(?:=[ \t]*+(?:"((?:[^"\\]|\\.)*+)"?|([^;]*+)))?+[^;]*+', re.DOTALL
).match


def parameter(value: str, wanted: str) -> str | None:
    """The first parameter called `wanted` (lower case) of a field such as `text/plain;
    charset=utf-8`, without quotes; None when there is none. Takes linear time."""
    at = value.find(";")
    size = len(value)
    while 0 <= at < size:
        match = _parameter(value, at)
        assert match is not None
        if match[1].strip(" \t").lower() == wanted:
            if match[2] is not None:
                return re.sub(r"\\(.)", r"\1", match[2], flags=re.DOTALL)
            if match[3] is not None:
                return match[3].strip(" \t")
        at = match.end()
    return None


def codec_of(charset: str) -> str:
    """Python's name of a charset, which is read in any case. Raises `UnsupportedMediaType`, with
    the list, for one that is not known."""
    codec = CHARSETS.get(charset[:32].strip(" \t").lower())
    if codec is None:
        raise UnsupportedMediaType(
            f"text in the charset {charset[:32]!r} is not taken; known: {_KNOWN}"
        )
    return codec


def decode_text(body: bytes, content_type: str) -> str:
    """`body` as text, by the charset of `content_type` (default UTF-8).

    Raises `UnsupportedMediaType` for a charset that is not known, and `BadRequest` when the body is
    not in it."""
    charset = parameter(content_type, "charset") or "utf-8"
    try:
        return body.decode(codec_of(charset))
    except UnicodeDecodeError:
        raise BadRequest(f"the body is not {charset} text") from None

"""Conditional requests and ranges (RFC 9110 sections 13 and 14)."""

from __future__ import annotations

import re

from ember.headers import Headers
from ember.protocol.message.dates import parse_http_date

#: The most ranges of one request. With more, which may be an attack (RFC 9110 section 17.15), the
#: whole file is sent.
MAX_RANGES = 32

# Bits of `Request.conditions`; 4 stands for all the others.
IF_NONE_MATCH, IF_MODIFIED_SINCE = 1, 2

_tags = re.compile(r'(?:W/)?"[\x21\x23-\x7e\x80-\xff]*"').findall
_range = re.compile(r"(\d*)-(\d*)").fullmatch

Range = tuple[int, int]


class Unsatisfiable(Exception):
    """No requested range lies in the file (416)."""


def precondition(headers: Headers, etag: str, modified: int) -> int:
    """The status by the preconditions of a GET or HEAD: 200, 304 or 412.

    They are evaluated in the order of RFC 9110 section 13.2.2. `modified`: seconds since the epoch.
    """
    if (match := _all(headers, "if-match")) is not None:
        # Strong comparison (section 13.1.1): a weak validator never matches.
        if match != "*" and (etag.startswith("W/") or etag not in _tags(match)):
            return 412
    elif (since := _date(headers.get("if-unmodified-since"))) is not None and modified > since:
        return 412
    if (none := _all(headers, "if-none-match")) is not None:
        # Weak comparison (section 13.1.2).
        known = {tag.removeprefix("W/") for tag in _tags(none)}
        return 304 if none == "*" or etag.removeprefix("W/") in known else 200
    if (since := _date(headers.get("if-modified-since"))) is not None and modified <= since:
        return 304
    return 200


def ranges(headers: Headers, size: int, etag: str, modified: int) -> list[Range] | None:
    """The requested parts of a GET, as (first byte, byte after the last); None: the whole file.

    Overlapping parts are joined. A malformed field is ignored (RFC 9110 section 14.2). Raises
    `Unsatisfiable`.
    """
    field = headers.get("range")
    if field is None or not _if_range(headers.get("if-range"), etag, modified):
        return None
    unit, equals, specs = field.partition("=")
    if not equals or unit.strip().lower() != "bytes":
        return None
    found: list[Range] = []
    parts = [spec.strip(" \t") for spec in specs.split(",")]
    parts = [part for part in parts if part]
    if not parts or len(parts) > MAX_RANGES:
        return None
    for part in parts:
        spec = _range(part)
        if spec is None or (not spec[1] and not spec[2]) or len(part) > 40:
            return None
        if not spec[1]:  # a suffix: the last bytes
            first, end = max(0, size - int(spec[2])), size
        else:
            first, end = int(spec[1]), int(spec[2]) + 1 if spec[2] else size
            if spec[2] and end <= first:
                return None
            end = min(end, size)
        if first < end:
            found.append((first, end))
    if not found:
        raise Unsatisfiable
    joined = _join(found)
    # If the parts have as many bytes as the file, the whole file is shorter.
    return joined if len(joined) == 1 or sum(e - f for f, e in joined) < size else None


def _join(found: list[Range]) -> list[Range]:
    """The ranges without overlaps, in the requested order (RFC 9110 section 15.3.7.2)."""
    joined: list[Range] = []
    for first, end in found:
        kept: list[Range] = []
        at = len(joined)
        for index, (other, stop) in enumerate(joined):
            if first <= stop and other <= end:
                first, end = min(first, other), max(end, stop)
                at = min(at, index)
            else:
                kept.append((other, stop))
        kept.insert(min(at, len(kept)), (first, end))
        joined = kept
    return joined


def _if_range(value: str | None, etag: str, modified: int) -> bool:
    """Whether If-Range matches the file, by strong comparison (RFC 9110 section 13.1.5)."""
    if value is None:
        return True
    if value.startswith(('"', "W/")):
        return value == etag and not etag.startswith("W/")
    return _date(value) == modified


def _all(headers: Headers, name: str) -> str | None:
    values = headers.get_all(name)
    return ", ".join(values).strip() if values else None


def _date(value: str | None) -> int | None:
    """Seconds since the epoch; None for an invalid date, which is ignored."""
    return None if value is None else parse_http_date(value)

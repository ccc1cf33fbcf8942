"""Dates as HTTP writes them (IMF-fixdate, RFC 9110 section 5.6.7), whatever the locale."""

from __future__ import annotations

import time

_DAYS = ("Mon", "Tue", "Wed", "Thu", "Fri", "Sat", "Sun")
_MONTHS = ("Jan", "Feb", "Mar", "Apr", "May", "Jun", "Jul", "Aug", "Sep", "Oct", "Nov", "Dec")

_cached_second = -1
_cached_field = b""


def http_date(seconds: float) -> str:
    """`seconds` since the epoch as an IMF-fixdate."""
    t = time.gmtime(seconds)
    return (
        f"{_DAYS[t.tm_wday]}, {t.tm_mday:02} {_MONTHS[t.tm_mon - 1]} {t.tm_year:04} "
        f"{t.tm_hour:02}:{t.tm_min:02}:{t.tm_sec:02} GMT"
    )


def date_field() -> bytes:
    """The `Date` field line of now, made once a second."""
    global _cached_second, _cached_field
    now = int(time.time())
    if now != _cached_second:
        _cached_field = b"Date: " + http_date(now).encode() + b"\r\n"
        _cached_second = now
    return _cached_field

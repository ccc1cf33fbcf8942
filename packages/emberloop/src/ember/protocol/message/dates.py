"""Dates as HTTP writes them (IMF-fixdate, RFC 9110 section 5.6.7), whatever the locale."""

from __future__ import annotations

import re
import time

#: The day from which time is counted: date(1970, 1, 1).toordinal().
_EPOCH = 719_163
_DAYS = ("Mon", "Tue", "Wed", "Thu", "Fri", "Sat", "Sun")
_MONTHS = ("Jan", "Feb", "Mar", "Apr", "May", "Jun", "Jul", "Aug", "Sep", "Oct", "Nov", "Dec")

# The three forms of RFC 9110 section 5.6.7: IMF-fixdate, RFC 850's, and that of C's asctime().
_TIME = r"([0-9]{2}):([0-9]{2}):([0-9]{2})"
_NAME = r"[A-Za-z]{3}"
_imf = re.compile(rf"{_NAME}, ([0-9]{{2}}) ({_NAME}) ([0-9]{{4}}) {_TIME} GMT").fullmatch
_rfc850 = re.compile(rf"[A-Za-z]{{6,9}}, ([0-9]{{2}})-({_NAME})-([0-9]{{2}}) {_TIME} GMT").fullmatch
_asctime = re.compile(rf"{_NAME} ({_NAME}) ([0-9 ][0-9]) {_TIME} ([0-9]{{4}})").fullmatch

_cached_second = -1
_cached_field = b""


def http_date(seconds: float) -> str:
    """`seconds` since the epoch as an IMF-fixdate."""
    t = time.gmtime(seconds)
    return (
        f"{_DAYS[t.tm_wday]}, {t.tm_mday:02} {_MONTHS[t.tm_mon - 1]} {t.tm_year:04} "
        f"{t.tm_hour:02}:{t.tm_min:02}:{t.tm_sec:02} GMT"
    )


def parse_http_date(text: str) -> int | None:
    """Seconds since the epoch of an HTTP date in any of its three forms (RFC 9110 section 5.6.7);
    None for what is no such date. It is always UTC. A year of two digits that would be more than 50
    years ahead is one of the past."""
    text = text.strip(" \t")
    if match := _imf(text):
        day, name, year, hour, minute, second = match.groups()
    elif match := _rfc850(text):
        day, name, year, hour, minute, second = match.groups()
        now = time.gmtime().tm_year
        whole = now - now % 100 + int(year)
        year = str(whole - 100 if whole > now + 50 else whole)
    elif match := _asctime(text):
        name, day, hour, minute, second, year = match.groups()
    else:
        return None
    name = name.capitalize()
    if name not in _MONTHS or int(hour) > 23 or int(minute) > 59 or int(second) > 60:
        return None
    # Here, because an idle process that was never sent a date spares 0.4 MiB.
    from datetime import date

    try:
        days = date(int(year), _MONTHS.index(name) + 1, int(day)).toordinal() - _EPOCH
    except ValueError:
        return None
    return ((days * 24 + int(hour)) * 60 + int(minute)) * 60 + int(second)


def date_field() -> bytes:
    """The `Date` field line of now, made once a second."""
    global _cached_second, _cached_field
    now = int(time.time())
    if now != _cached_second:
        _cached_field = b"Date: " + http_date(now).encode() + b"\r\n"
        _cached_second = now
    return _cached_field

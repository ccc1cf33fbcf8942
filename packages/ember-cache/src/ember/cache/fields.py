"""Header fields as RFC 9111 and RFC 9110 have them read. Sections are RFC 9111's unless said
otherwise."""

from __future__ import annotations

import re
from collections.abc import Iterable
from datetime import UTC, datetime
from typing import Final

__all__ = [
    "FOREVER",
    "Fields",
    "cache_control",
    "delta_seconds",
    "http_date",
    "index",
    "vary_names",
]

#: Pairs of str, names in any case.
Fields = Iterable[tuple[str, str]]

# 1.2.2: what a delta-seconds that is too large to be represented is taken for.
FOREVER: Final = 2**31

_MONTHS: Final = {
    name: number
    for number, name in enumerate(
        ("jan", "feb", "mar", "apr", "may", "jun", "jul", "aug", "sep", "oct", "nov", "dec"), 1
    )
}
_TIME: Final = r"(?P<hour>[0-9]{2}):(?P<minute>[0-9]{2}):(?P<second>[0-5][0-9]|60)"
_MONTH: Final = rf"(?P<month>{'|'.join(_MONTHS)})"
# RFC 9110, 5.6.7: IMF-fixdate, rfc850-date, asctime-date.
_DATES: Final = tuple(
    re.compile(form, re.IGNORECASE | re.ASCII).fullmatch
    for form in (
        rf"(?:mon|tue|wed|thu|fri|sat|sun), (?P<day>[0-9]{{2}}) {_MONTH} (?P<year>[0-9]{{4}}) "
        rf"{_TIME} (?:GMT|UTC)",
        rf"(?:mon|tues|wednes|thurs|fri|satur|sun)day, (?P<day>[0-9]{{2}})-{_MONTH}-"
        rf"(?P<year>[0-9]{{2}}) {_TIME} (?:GMT|UTC)",
        rf"(?:mon|tue|wed|thu|fri|sat|sun) {_MONTH} (?P<day>[0-9 ][0-9]) {_TIME} "
        rf"(?P<year>[0-9]{{4}})",
    )
)


def index(fields: Fields) -> dict[str, list[str]]:
    """Every value by lower-case name, in order."""
    result: dict[str, list[str]] = {}
    for name, value in fields:
        result.setdefault(name.lower(), []).append(value)
    return result


def cache_control(values: Iterable[str]) -> dict[str, str | None]:
    """5.2: the directives, names in lower case, with their arguments (quoted or not) or None.

    A directive that is given twice with different arguments has the argument "": not well formed.
    """
    result: dict[str, str | None] = {}
    for part in _split(",".join(values)):
        name, equals, argument = part.partition("=")
        name = name.strip().lower()
        if not name:
            continue
        value = _unquote(argument.strip()) if equals else None
        if name in result and result[name] != value:
            value = ""
        result[name] = value
    return result


def vary_names(values: Iterable[str]) -> tuple[str, ...] | None:
    """4.1, RFC 9110, 12.5.5: the names in Vary, lower case and sorted; None: it has a `*`."""
    names = {name.strip().lower() for value in values for name in value.split(",")} - {""}
    return None if "*" in names else tuple(sorted(names))


def delta_seconds(value: str | None) -> int | None:
    """1.2.2: delta-seconds, digits and nothing else; None for anything else."""
    if value is None or not value.isascii() or not value.isdigit():
        return None
    return FOREVER if len(value) > 10 else min(FOREVER, int(value))


def http_date(value: str) -> float | None:
    """RFC 9110, 5.6.7: an HTTP-date in any of its three forms, as seconds since the epoch; None for
    anything else. As 4.2 has a cache read it: in any case, and of zones GMT and UTC only."""
    found = next(filter(None, (form(value.strip(" \t")) for form in _DATES)), None)
    if found is None:
        return None
    day, month, year, *clock = found.group("day", "month", "year", "hour", "minute", "second")
    hour, minute, second = map(int, clock)
    number = int(year)
    if len(year) == 2:
        # What is more than 50 years ahead is the latest year in the past with these digits.
        this = datetime.now(UTC).year
        number += this - this % 100
        if number > this + 50:
            number -= 100
    try:
        # A leap second has no number of its own.
        date = datetime(
            number, _MONTHS[month.lower()], int(day), hour, minute, min(second, 59), tzinfo=UTC
        )
    except ValueError:
        return None
    return (date - datetime(1970, 1, 1, tzinfo=UTC)).total_seconds()


def _split(text: str) -> list[str]:
    """At commas that are not inside a quoted string (RFC 9110, 5.6.1 and 5.6.4)."""
    parts: list[str] = []
    start = at = 0
    quoted = False
    while at < len(text):
        c = text[at]
        if quoted and c == "\\":
            at += 1
        elif c == '"':
            quoted = not quoted
        elif c == "," and not quoted:
            parts.append(text[start:at])
            start = at + 1
        at += 1
    parts.append(text[start:])
    return [part for part in parts if part.strip()]


def _unquote(text: str) -> str:
    if len(text) < 2 or text[0] != '"' or text[-1] != '"':
        return text
    inner = text[1:-1]
    result = []
    at = 0
    while at < len(inner):
        if inner[at] == "\\" and at + 1 < len(inner):
            at += 1
        result.append(inner[at])
        at += 1
    return "".join(result)

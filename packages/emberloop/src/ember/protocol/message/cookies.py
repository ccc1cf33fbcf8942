"""Cookies both ways: the `Cookie` field parsed, `Set-Cookie` values made (RFC 6265)."""

from __future__ import annotations

import re

from ember.protocol.message.dates import http_date
from ember.protocol.message.text import utf8

TYPE_CHECKING = False
if TYPE_CHECKING:
    from datetime import datetime
    from typing import Literal

# cookie-name is a token, cookie-value made of cookie-octets (RFC 6265 section 4.1.1)
_name = re.compile(r"[!#$%&'*+\-.^_`|~0-9A-Za-z]+").fullmatch
_value = re.compile(r"[\x21\x23-\x2b\x2d-\x3a\x3c-\x5b\x5d-\x7e]*").fullmatch
#: What cannot stand between quotes as it is, with how it does. Not the controls: they are refused.
_ESCAPED = {ord('"'): '\\"', ord("\\"): "\\\\"} | {
    octet: f"\\{octet:03o}" for octet in (*b",;", *range(0x80, 0x100))
}
_escape = re.compile(rb"\\([0-3][0-7][0-7]|.)", re.DOTALL)
_control = re.compile(r"[\x00-\x1f\x7f]").search
_path = re.compile(r"/[\x20-\x3a\x3c-\x7e]*").fullmatch
_domain = re.compile(r"\.?[A-Za-z0-9]([A-Za-z0-9.\-]*[A-Za-z0-9])?").fullmatch


def parse_cookies(field: str) -> dict[str, str]:
    """Name to value of a `Cookie` field. Of a repeated name the first counts (the most specific
    path, RFC 6265 section 5.4); what is no pair is passed over."""
    cookies: dict[str, str] = {}
    for part in field.split(";"):
        name, equals, value = part.partition("=")
        name = name.strip(" \t")
        if not equals or not name:
            continue
        value = value.strip(" \t")
        if len(value) > 1 and value[0] == value[-1] == '"':
            value = value[1:-1]
            if "\\" in value:
                value = _unquote(value)
        cookies.setdefault(name, value)
    return cookies


def _unquote(value: str) -> str:
    """What stands between quotes, as `_quote`, Python's http.cookies and browsers write it: a
    backslash before three octal digits, of UTF-8, or before the character itself."""
    octets = _escape.sub(_octet, value.encode("utf-8", "surrogateescape"))
    return octets.decode("utf-8", "replace")


def _seconds(moment: datetime) -> float:
    """Since the epoch. A datetime without a time zone is UTC, as everything in HTTP is."""
    if moment.tzinfo is None:
        from datetime import UTC

        moment = moment.replace(tzinfo=UTC)
    return moment.timestamp()


def _octet(match: re.Match[bytes]) -> bytes:
    escaped = match[1]
    return escaped if len(escaped) == 1 else bytes((int(escaped, 8),))


def _quote(value: str) -> str:
    """`value` between quotes, with what cookies cannot carry escaped."""
    return '"' + "".join(_ESCAPED.get(octet, chr(octet)) for octet in utf8(value)) + '"'


def format_cookie(
    name: str,
    value: str,
    *,
    max_age: int | None,
    expires: datetime | int | float | None,
    path: str | None,
    domain: str | None,
    secure: bool,
    httponly: bool,
    samesite: Literal["lax", "strict", "none"] | None,
    partitioned: bool,
) -> str:
    """A `Set-Cookie` value (RFC 6265 section 4.1.1). Raises `ValueError` that names the
    attribute."""
    if _name(name) is None:
        raise ValueError(f"cookie name {name!r} is not a token (RFC 6265 section 4.1.1)")
    if _value(value) is None:
        if _control(value) is not None:
            raise ValueError(
                f"cookie {name}: value {value!r} has a control character, which cookies cannot "
                "carry; encode it first"
            )
        value = _quote(value)
    parts = [f"{name}={value}"]
    if max_age is not None:
        if isinstance(max_age, bool) or not isinstance(max_age, int):
            raise ValueError(f"cookie {name}: max_age={max_age!r}: expected whole seconds")
        parts.append(f"Max-Age={max_age}")
    if expires is not None:
        seconds = expires if isinstance(expires, int | float) else _seconds(expires)
        parts.append(f"Expires={http_date(seconds)}")
    if path is not None:
        if _path(path) is None:
            raise ValueError(f"cookie {name}: path={path!r}: expected /... without ; and controls")
        parts.append(f"Path={path}")
    if domain is not None:
        if _domain(domain) is None:
            raise ValueError(f"cookie {name}: domain={domain!r} is not a host name")
        parts.append(f"Domain={domain}")
    if samesite is not None and samesite not in ("lax", "strict", "none"):
        raise ValueError(f'cookie {name}: samesite={samesite!r}: expected "lax", "strict", "none"')
    if (samesite == "none" or partitioned) and not secure:
        why = 'samesite="none"' if samesite == "none" else "partitioned=True"
        raise ValueError(f"cookie {name}: {why} needs secure=True, or browsers drop the cookie")
    if name.startswith(("__Secure-", "__Host-")) and not secure:
        raise ValueError(f"cookie {name}: the prefix needs secure=True")
    if name.startswith("__Host-") and (path != "/" or domain is not None):
        raise ValueError(f'cookie {name}: the prefix needs path="/" and no domain')
    if secure:
        parts.append("Secure")
    if httponly:
        parts.append("HttpOnly")
    if samesite is not None:
        parts.append(f"SameSite={samesite.capitalize()}")
    if partitioned:
        parts.append("Partitioned")
    return "; ".join(parts)

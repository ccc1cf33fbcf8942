"""The cookies that a test client keeps (RFC 6265 sections 5.2 to 5.4)."""

from __future__ import annotations

import time
from collections.abc import Iterator, MutableMapping
from email.utils import parsedate_to_datetime
from typing import NamedTuple


class Cookie(NamedTuple):
    """A stored cookie; `expires` in seconds since the epoch."""

    name: str
    value: str
    domain: str
    host_only: bool
    path: str
    secure: bool
    expires: float | None

    def fits(self, host: str, path: str, https: bool) -> bool:
        """Whether it is sent with a request (RFC 6265 section 5.4)."""
        if self.secure and not https:
            return False
        if host != self.domain and (self.host_only or not host.endswith(f".{self.domain}")):
            return False
        if self.path == path or self.path == "/":
            return True
        return path.startswith(self.path.rstrip("/") + "/")


def parse(field: str, host: str, path: str) -> Cookie | None:
    """The cookie of one Set-Cookie field; None if it is ignored (section 5.2)."""
    pair, *attributes = field.split(";")
    name, equals, value = pair.partition("=")
    name = name.strip()
    if not equals or not name:
        return None
    domain, host_only, secure = host, True, False
    scope = path.rpartition("/")[0] or "/"
    expires: float | None = None
    max_age: float | None = None
    for attribute in attributes:
        key, _, text = attribute.strip().partition("=")
        key, text = key.strip().lower(), text.strip()
        if key == "domain" and text:
            domain, host_only = text.lstrip(".").lower(), False
        elif key == "path" and text.startswith("/"):
            scope = text
        elif key == "secure":
            secure = True
        elif key == "max-age" and text.lstrip("-").isdigit():
            max_age = time.time() + int(text) if int(text) > 0 else 0.0
        elif key == "expires":
            try:
                expires = parsedate_to_datetime(text).timestamp()
            except ValueError:
                expires = None  # section 5.2.1: an unreadable date is no date
    if not host_only and host != domain and not host.endswith(f".{domain}"):
        return None
    if max_age is not None:
        expires = max_age
    return Cookie(name, value.strip(), domain, host_only, scope, secure, expires)


class CookieJar(MutableMapping[str, str]):
    """Cookies by name. A cookie that a test sets is sent with every request."""

    def __init__(self) -> None:
        self._kept: dict[tuple[str, str, str], Cookie] = {}

    def take(self, fields: list[str], host: str, path: str) -> dict[str, str]:
        """Store the cookies of Set-Cookie fields. Returns them by name."""
        found = {}
        for field in fields:
            cookie = parse(field, host, path)
            if cookie is None:
                continue
            key = (cookie.domain, cookie.path, cookie.name)
            if cookie.expires is not None and cookie.expires <= time.time():
                self._kept.pop(key, None)
            else:
                self._kept[key] = cookie
                found[cookie.name] = cookie.value
        return found

    def field(self, host: str, path: str, https: bool, extra: dict[str, str]) -> str:
        """The Cookie field of a request, longer paths first; empty if there are no cookies."""
        now = time.time()
        sent = [
            c
            for c in self._kept.values()
            if (not c.domain or c.fits(host, path, https))
            and (c.expires is None or c.expires > now)
            and c.name not in extra
        ]
        sent.sort(key=lambda c: -len(c.path))
        pairs = [f"{c.name}={c.value}" for c in sent]
        pairs += [f"{name}={value}" for name, value in extra.items()]
        return "; ".join(pairs)

    def __getitem__(self, name: str) -> str:
        for cookie in self._kept.values():
            if cookie.name == name:
                return cookie.value
        raise KeyError(name)

    def __setitem__(self, name: str, value: str) -> None:
        self._kept["", "/", name] = Cookie(name, value, "", False, "/", False, None)

    def __delitem__(self, name: str) -> None:
        keys = [key for key in self._kept if key[2] == name]
        if not keys:
            raise KeyError(name)
        for key in keys:
            del self._kept[key]

    def __iter__(self) -> Iterator[str]:
        return iter({cookie.name: None for cookie in self._kept.values()})

    def __len__(self) -> int:
        return len({cookie.name for cookie in self._kept.values()})

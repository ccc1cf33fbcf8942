"""Makes the bytes of a request from the command line."""

from __future__ import annotations

import ipaddress
import re
import socket
from collections.abc import Iterable
from typing import NamedTuple
from urllib.parse import quote, urlsplit

from ember.cli.bench.load import Target

_TOKEN = re.compile(r"[!#$%&'*+.^_`|~0-9A-Za-z-]+")


class BadTarget(Exception):
    """Why the target is invalid, in one sentence."""


class Goal(NamedTuple):
    """A target with its URL and method."""

    url: str
    method: str
    target: Target
    #: Whether the server is on this machine.
    local: bool


def aim(
    url: str,
    method: str | None,
    headers: Iterable[str],
    body: bytes | None,
    *,
    insecure: bool = False,
) -> Goal:
    """The target and request for the command line. Raises BadTarget."""
    example = "expected something like http://127.0.0.1:8000/path"
    if "://" not in url:
        url = f"http://{url}"
    try:
        parts = urlsplit(url)
        host, port = parts.hostname, parts.port
    except ValueError as error:
        raise BadTarget(f'"{url}": {error}; {example}') from None
    if parts.scheme not in ("http", "https") or not host:
        raise BadTarget(f'"{url}": {example}')
    secure = parts.scheme == "https"
    port = (443 if secure else 80) if port is None else port
    method = (method or ("GET" if body is None else "POST")).upper()
    if not _TOKEN.fullmatch(method):
        raise BadTarget(f'--method "{method}" is not a method name')
    path = quote(parts.path or "/", safe="/%:@!$&'()*+,;=~-._")
    query = f"?{quote(parts.query, safe='/%:@!$&()*+,;=~-._?')}" if parts.query else ""
    fields = _fields(headers)
    names = {name.lower() for name, _ in fields}
    try:
        authority = parts.netloc.rpartition("@")[2].encode("ascii").decode()
    except UnicodeEncodeError:
        authority = host.encode("idna").decode() + (f":{parts.port}" if parts.port else "")
    if "host" not in names:
        fields.insert(0, ("Host", authority))
    if body is not None and "content-length" not in names:
        fields.append(("Content-Length", str(len(body))))
    lines = [f"{method} {path}{query} HTTP/1.1", *(f"{n}: {v}" for n, v in fields), "", ""]
    request = "\r\n".join(lines).encode("latin-1") + (body or b"")
    tls = None
    if secure:
        import ssl

        tls = ssl.create_default_context()
        if insecure:
            tls.check_hostname = False
            tls.verify_mode = ssl.CERT_NONE
    target = Target(host, port, tls, request, method == "HEAD")
    return Goal(f"{parts.scheme}://{authority}{path}{query}", method, target, _is_local(host))


def _fields(headers: Iterable[str]) -> list[tuple[str, str]]:
    fields = []
    for header in headers:
        name, colon, value = header.partition(":")
        value = value.strip(" \t")
        if not colon or not _TOKEN.fullmatch(name):
            raise BadTarget(f"--header {header!r}: expected 'Name: value'")
        try:
            value.encode("latin-1")
        except UnicodeEncodeError:
            raise BadTarget(f"--header {header!r}: a value is Latin-1 text") from None
        if re.search(r"[\0\r\n]", value):
            raise BadTarget(f"--header {header!r}: a value is one line")
        fields.append((name, value))
    return fields


def _is_local(host: str) -> bool:
    """Whether `host` is this machine, as far as it is known without DNS."""
    if host in ("localhost", socket.gethostname()):
        return True
    try:
        address = ipaddress.ip_address(host)
    except ValueError:
        return False
    return address.is_loopback or address.is_unspecified

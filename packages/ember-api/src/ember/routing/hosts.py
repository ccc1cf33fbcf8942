"""The prefixes and hosts of blueprints. They are checked when they are declared."""

from __future__ import annotations

import re
from collections.abc import Iterable
from typing import NamedTuple

from ember.routing.router import RouteError, Template

#: A name, an IPv4 or a bracketed IPv6 address, as `Host` carries them; without port.
_HOST = re.compile(r"[a-z0-9_-]+(\.[a-z0-9_-]+)*|\[[0-9a-f:.]+\]")


class Mount(NamedTuple):
    """One prefix under which a blueprint is added, and the hosts for which it has this prefix.

    `hosts` is empty for every host that no blueprint names."""

    hosts: tuple[str, ...]
    prefix: str


def check_prefix(prefix: str) -> str:
    """`prefix`, without a slash at its end. Raises RouteError."""
    if prefix in ("", "/"):
        return ""
    if not isinstance(prefix, str) or not prefix.startswith("/"):
        raise RouteError(f'prefix={prefix!r}: a prefix starts with "/"; write "/{prefix}"')
    prefix = prefix.rstrip("/")
    Template(prefix)
    return prefix


def check_hosts(hosts: Iterable[str]) -> tuple[str, ...]:
    """`hosts` in lower case; empty where `*` is among them. Raises RouteError."""
    if isinstance(hosts, str):
        raise RouteError(f'hosts={hosts!r}: expected a list: hosts=["{hosts}"]')
    names = tuple(dict.fromkeys(host.lower().rstrip(".") for host in hosts))
    for name in names:
        if name != "*" and not _HOST.fullmatch(name):
            raise RouteError(
                f'"{name}" is not a valid host name; leave out the scheme and the port: '
                f'"admin.example.org"'
            )
    if "*" in names and len(names) > 1:
        raise RouteError(
            f'hosts={list(names)!r}: "*" means every host that no blueprint names; add the '
            f'blueprint once for "*" and once for the other hosts'
        )
    return () if names == ("*",) else names


def check_tags(tags: Iterable[str], owner: str) -> tuple[str, ...]:
    """`tags` as a tuple. Raises RouteError."""
    if isinstance(tags, str):
        raise RouteError(f'{owner}: tags={tags!r}; expected a list: tags=["{tags}"]')
    return tuple(tags)


def narrow(*levels: tuple[str, ...]) -> tuple[str, ...]:
    """The hosts that every level allows. A level without hosts allows every host.

    Raises RouteError if no host is left."""
    named = [level for level in levels if level]
    if not named:
        return ()
    common = tuple(host for host in named[0] if all(host in level for level in named))
    if not common:
        listed = " and ".join(", ".join(level) for level in named)
        raise RouteError(f"a blueprint for {listed}: no host is in both; nothing would reach it")
    return common


def host_name(host: str) -> str:
    """The host name in a `Host` field, in lower case and without port (RFC 9110 section 7.2)."""
    end = host.find("]") + 1 if host.startswith("[") else host.find(":")
    return (host if end <= 0 else host[:end]).lower().rstrip(".")

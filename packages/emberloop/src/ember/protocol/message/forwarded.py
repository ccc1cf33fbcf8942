"""Who the client is behind proxies: X-Forwarded-For or Forwarded (RFC 7239), from trusted peers
only.

Only one field is read, which the application names: a proxy writes one, and passes on whatever the
client has put into the other.
"""

from __future__ import annotations

import re
from functools import lru_cache

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Collection, Iterable
    from ipaddress import IPv4Network, IPv6Network

    from ember.protocol.message.headers import Headers


#: Addresses of which it is remembered whether they are in a network.
_REMEMBERED = 1024


#: The field that is read when the application names none: what most proxies write.
X_FORWARDED_FOR = "x-forwarded-for"
#: Proxies that a request may have come through; what is said of others is not looked at.
MAX_HOPS = 64
#: Characters of the longest node: an IPv6 address and a port, in brackets.
_LONGEST_NODE = 64

# One pair of a `Forwarded` element, and what has to follow it (RFC 7239 section 4). Possessive: no
# quantifier gives back what it took.
_token = r"[!#$%&'*+\-.^_`|~0-9A-Za-z]++"
_pair = re.compile(
    rf'[ \t]*+(?:({_token})=({_token}|"(?:[^"\\]|\\.)*+"))?+[ \t]*+([;,]|\Z)', re.DOTALL
).match
_field_name = re.compile(_token).fullmatch
_port = re.compile(r"(?::(?:[0-9]{1,5}|_[A-Za-z0-9._-]+))?").fullmatch


class TrustedProxies(tuple[str, ...]):
    """Who is believed: addresses, networks (`10.0.0.0/8`), "unix", "*". `in` asks for an address.
    `header` is the name of the field that they write, lower case.

    Raises ValueError for what can be none of these.
    """

    header: str
    _networks: list[IPv4Network | IPv6Network]
    _known: dict[object, bool]

    def __new__(cls, proxies: Iterable[str], header: str = X_FORWARDED_FOR) -> TrustedProxies:
        self = super().__new__(cls, proxies)
        if not isinstance(header, str) or _field_name(header) is None:
            raise ValueError(
                f"proxy_header={header!r}: expected the name of the field that the proxy writes, "
                '"X-Forwarded-For" or "Forwarded"'
            )
        self.header = header.lower()
        self._networks = [_network(one) for one in self if one not in ("*", "unix")]
        self._known = {}
        return self

    def __contains__(self, address: object) -> bool:
        known = self._known.get(address)
        if known is None:
            if len(self._known) >= _REMEMBERED:
                self._known.clear()
            known = self._known[address] = super().__contains__(address) or self._holds(address)
        return known

    def _holds(self, address: object) -> bool:
        import ipaddress

        try:
            found = ipaddress.ip_address(str(address))
        except ValueError:
            return False  # "unix", "*", or what a client wrote into the field
        mapped = getattr(found, "ipv4_mapped", None)
        if mapped is not None:  # ::ffff:10.0.0.1: how a socket of both versions calls 10.0.0.1
            found = mapped
        return any(found in network for network in self._networks)


def _network(text: str) -> IPv4Network | IPv6Network:
    import ipaddress

    try:
        return ipaddress.ip_network(text)
    except ValueError as error:
        raise ValueError(
            f"trusted_proxies={text!r}: {error}; expected addresses, networks such as 10.0.0.0/8, "
            '"unix" or "*"'
        ) from None


def client_ip(
    client: tuple[str, int] | None, headers: Headers, trusted: Collection[str]
) -> str | None:
    """The address of the client: the peer itself, unless it is in `trusted` ("unix" stands for who
    comes by a unix socket, "*" for everybody).

    The field that the proxies write (`trusted.header`, default X-Forwarded-For) is read from the
    right, where the nearest one writes: the first address that is no trusted proxy is the client.
    Where something else stands ("unknown", an obfuscated name, what a client made up) nobody knows,
    and the result is the last proxy that is known.
    """
    peer = client[0] if client is not None else None
    everyone = "*" in trusted
    if not trusted or not (everyone or (peer or "unix") in trusted):
        return peer
    found = peer
    header = getattr(trusted, "header", X_FORWARDED_FOR)
    values = headers.get_all(header)
    hops = _forwarded(values) if header == "forwarded" else _listed(values)
    for hop in hops[: -MAX_HOPS - 1 : -1]:
        node = _address(hop)
        if node is None:
            return found
        if node != "unix":
            found = node
        if not everyone and node not in trusted:
            return found
    return found


def _listed(values: list[str]) -> list[str]:
    return [part for part in ",".join(values).split(",") if part.strip(" \t")]


def _forwarded(values: list[str]) -> list[str]:
    """The `for` of each element; empty where there is none, or where the element is malformed."""
    hops: list[str] = []
    for value in values:
        # Each line by itself: a quote that one leaves open must not swallow the next one, which is
        # the proxy's.
        hops += _elements(value)
    return hops


def _elements(value: str) -> list[str]:
    hops: list[str] = []
    node = ""
    seen, empty = False, True
    at, size = 0, len(value)
    while at <= size:
        match = _pair(value, at)
        if match is None:
            # What follows cannot be told apart: who appended to it is not known either.
            return [*hops, ""]
        if match[1] is not None:
            empty = False
            if match[1].lower() == "for":
                node = "" if seen else _unquoted(match[2])  # twice: RFC 7239 section 4
                seen = True
        if match[3] != ";":
            if not empty:
                hops.append(node)
            node, seen, empty = "", False, True
            if not match[3]:
                break
        at = match.end()
    return hops


def _unquoted(text: str) -> str:
    return re.sub(r"\\(.)", r"\1", text[1:-1]) if text.startswith('"') else text


@lru_cache(maxsize=_REMEMBERED)
def _known(node: str) -> str | None:
    import ipaddress

    if node.startswith("["):
        address, bracket, port = node[1:].partition("]")
        if not bracket or ":" not in address or _port(port) is None:
            return None
    elif node.count(":") == 1:
        address, port = node.split(":")
        if _port(f":{port}") is None:
            return None
    else:
        address = node
    if "%" in address:  # a zone says something to that machine alone, and may be any text
        return None
    try:
        found = ipaddress.ip_address(address)
    except ValueError:
        return None
    return str(getattr(found, "ipv4_mapped", None) or found)


def _address(node: str) -> str | None:
    """The address of `192.0.2.1`, `192.0.2.1:80`, `[2001:db8::1]:80`, `2001:db8::1`; "unix" of a
    client of a unix socket; None for anything else (RFC 7239 section 6)."""
    node = node.strip(" \t")
    if not node or len(node) > _LONGEST_NODE:
        return None
    if node in ("unix", "unix:"):  # what nginx calls it
        return "unix"
    return _known(node)

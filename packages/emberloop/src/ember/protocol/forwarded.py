"""Who the client is behind proxies: X-Forwarded-For and Forwarded (RFC 7239), from trusted peers
only."""

from __future__ import annotations

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Collection, Iterable
    from ipaddress import IPv4Network, IPv6Network

    from ember.protocol.pure.headers import Headers


#: Addresses of which it is remembered whether they are in a network.
_REMEMBERED = 1024


class TrustedProxies(tuple[str, ...]):
    """Who is believed: addresses, networks (`10.0.0.0/8`), "unix", "*". `in` asks for an address.

    Raises ValueError for what can be none of these.
    """

    _networks: list[IPv4Network | IPv6Network]
    _known: dict[object, bool]

    def __new__(cls, proxies: Iterable[str]) -> TrustedProxies:
        self = super().__new__(cls, proxies)
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

    The lists are read from the right, where the nearest proxy writes: the first address that is no
    trusted proxy is the client. `Forwarded` counts before `X-Forwarded-For`.
    """
    peer = client[0] if client is not None else None
    everyone = "*" in trusted
    if not trusted or not (everyone or (peer or "unix") in trusted):
        return peer
    hops = _forwarded(headers) or _x_forwarded_for(headers)
    for hop in reversed(hops):
        if not everyone and hop not in trusted:
            return hop
    return hops[0] if hops else peer


def _x_forwarded_for(headers: Headers) -> list[str]:
    joined = ",".join(headers.get_all("x-forwarded-for"))
    return [_address(part) for part in joined.split(",") if part.strip()]


def _forwarded(headers: Headers) -> list[str]:
    hops = []
    for element in ",".join(headers.get_all("forwarded")).split(","):
        for pair in element.split(";"):
            name, _, value = pair.partition("=")
            if name.strip().lower() == "for":
                hops.append(_address(value))
    return hops


def _address(node: str) -> str:
    """The address of `192.0.2.1`, `192.0.2.1:80`, `"[2001:db8::1]:80"`, `2001:db8::1`."""
    node = node.strip().strip('"')
    if node.startswith("["):
        return node[1:].partition("]")[0]
    return node.partition(":")[0] if node.count(":") == 1 else node

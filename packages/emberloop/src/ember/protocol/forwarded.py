"""Who the client is behind proxies: X-Forwarded-For and Forwarded (RFC 7239), from trusted peers
only."""

from __future__ import annotations

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Collection

    from ember.protocol.pure.headers import Headers


def client_ip(
    client: tuple[str, int] | None, headers: Headers, trusted: Collection[str]
) -> str | None:
    """The address of the client: the peer itself, unless it is in `trusted` (addresses, "unix" for
    who comes by a unix socket, or "*").

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

"""The hosts that `ember dev` serves. It refuses others, to protect against DNS rebinding: a page of
another site, whose name points to this machine, could read the responses."""

from __future__ import annotations

import ipaddress
import socket

from ember.routing.hosts import host_name

#: The names of this machine in a browser on it.
LOOPBACK = ("localhost", "127.0.0.1", "[::1]")
#: All addresses. If it listens there, the machine's own name and addresses are allowed too.
EVERYWHERE = ("", "0.0.0.0", "::", "[::]")


class Hosts:
    """The allowed hosts: the loopback names, `*.localhost`, and `named` (`--allowed-host`,
    `app.run(host=...)`, the hosts of blueprints). `*.example.org` among `named` allows every name
    below `example.org`.

    `listening`: the host of the listening socket. If it is all addresses, the addresses of this
    machine are allowed too, and its host name, as it is and with `.local`.
    """

    def __init__(self, listening: str, *named: str) -> None:
        self._everywhere = listening in EVERYWHERE
        names = {_in_url(name) for name in (listening, *named) if name not in EVERYWHERE}
        self._names = {*LOOPBACK, *names}
        if self._everywhere:
            own = socket.gethostname().lower().rstrip(".")
            self._names |= {own, f"{own.partition('.')[0]}.local"} - {"", ".local"}
        self._below = (".localhost", *(name[1:] for name in names if name.startswith("*.")))

    def allow(self, host: str) -> bool:
        """Whether a request with this `Host` field is allowed; one without it is (HTTP/1.0)."""
        name = host_name(host)
        if not name or name in self._names or name.endswith(self._below):
            return True
        return self._everywhere and is_own_address(name)


def is_own_address(name: str) -> bool:
    """Whether a host name is an IP address of this machine: one can bind to those alone. It is
    asked for each time, because networks come and go."""
    try:
        address = ipaddress.ip_address(name.removeprefix("[").removesuffix("]"))
    except ValueError:
        return False
    family = socket.AF_INET if address.version == 4 else socket.AF_INET6
    try:
        with socket.socket(family, socket.SOCK_STREAM) as sock:
            sock.bind((str(address), 0))
    except OSError:
        return False
    return True


def refusal(host: str) -> str:
    """The text of the response to a refused request."""
    name = host_name(host)
    return (
        f"ember dev does not answer for {name!r}. Start it with --allowed-host {name} to allow it."
    )


def check(name: str) -> str:
    """`name`, if it can be an `--allowed-host`. Raises ValueError with what is wrong."""
    from ember.routing.hosts import check_hosts
    from ember.routing.router import RouteError

    plain = _in_url(name)
    try:
        if not check_hosts([plain.removeprefix("*.")]):
            raise ValueError('"*" would let every site in; name the hosts')
    except RouteError as error:
        raise ValueError(str(error)) from None
    return plain


def _in_url(name: str) -> str:
    name = name.lower().rstrip(".")
    return f"[{name}]" if ":" in name and not name.startswith("[") else name

"""The hosts that `ember dev` serves. It refuses others, to protect against DNS rebinding: a page of
another site, whose name points to this machine, could read the responses."""

from __future__ import annotations

from ember.routing.hosts import host_name

#: The names of this machine in a browser on it.
LOOPBACK = ("localhost", "127.0.0.1", "[::1]")
#: All addresses. With these, all host names are allowed.
EVERYWHERE = ("", "0.0.0.0", "::", "[::]")


class Hosts:
    """The allowed hosts: the loopback names, `*.localhost`, and `named` (`--host`,
    `app.run(host=...)`).

    `listening`: the host of the listening socket; if it is all addresses, every name is allowed.
    """

    def __init__(self, listening: str, *named: str) -> None:
        self._everything = listening in EVERYWHERE
        self._names = {*LOOPBACK, *(_in_url(name) for name in (listening, *named) if name)}

    def allow(self, host: str) -> bool:
        """Whether a request with this `Host` field is allowed; one without it is (HTTP/1.0)."""
        name = host_name(host)
        return self._everything or not name or name in self._names or name.endswith(".localhost")


def refusal(host: str) -> str:
    """The text of the response to a refused request."""
    name = host_name(host)
    return f"ember dev does not answer for {name!r}. Start it with --host {name} to allow it."


def _in_url(name: str) -> str:
    name = name.lower().rstrip(".")
    return f"[{name}]" if ":" in name and not name.startswith("[") else name

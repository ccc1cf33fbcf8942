"""Which names `ember dev` answers for: a page of elsewhere, whose name was made to point to this
machine (DNS rebinding), must not read what it shows."""

from __future__ import annotations

from ember.routing.hosts import host_name

#: What a browser on this machine calls it.
LOOPBACK = ("localhost", "127.0.0.1", "[::1]")
#: All addresses: whoever serves them wants to be found under names that nobody knows here.
EVERYWHERE = ("", "0.0.0.0", "::", "[::]")


class Hosts:
    """The loopback names, `*.localhost`, and `named`: what `--host` or `app.run(host=...)` said.

    `listening`: the host that is listened on; with all addresses, every name is answered.
    """

    def __init__(self, listening: str, *named: str) -> None:
        self._everything = listening in EVERYWHERE
        self._names = {*LOOPBACK, *(_in_url(name) for name in (listening, *named) if name)}

    def allow(self, host: str) -> bool:
        """Whether a request with this `Host` field is answered; one without is (HTTP/1.0)."""
        name = host_name(host)
        return self._everything or not name or name in self._names or name.endswith(".localhost")


def refusal(host: str) -> str:
    """What the others read."""
    name = host_name(host)
    return f"ember dev does not answer for {name!r}. Start it with --host {name} to allow it."


def _in_url(name: str) -> str:
    name = name.lower().rstrip(".")
    return f"[{name}]" if ":" in name and not name.startswith("[") else name

"""The HTTP/1.1 server core: `serve` an application, or feed a `MemoryConnection` by hand.

Names are loaded when they are first used, so that `ember.headers` alone does not bring asyncio
with it.
"""

from __future__ import annotations

from ember._build import PURE

TYPE_CHECKING = False
if TYPE_CHECKING:
    from ember.protocol.server.application import Application as Application
    from ember.protocol.server.pure.asyncio_protocol import HTTPProtocol as HTTPProtocol
    from ember.protocol.server.pure.kept import Kept as Kept
    from ember.protocol.server.pure.kept import KeptAnswers as KeptAnswers
    from ember.protocol.server.pure.kept import Tally as Tally
    from ember.protocol.server.pure.memory import MemoryConnection as MemoryConnection
    from ember.protocol.server.serve import Server as Server
    from ember.protocol.server.serve import serve as serve

__all__ = [
    "Application",
    "HTTPProtocol",
    "Kept",
    "KeptAnswers",
    "MemoryConnection",
    "Server",
    "Tally",
    "serve",
]

_SERVER = "ember.protocol.server"
_KEPT = f"{_SERVER}.pure.kept" if PURE else f"{_SERVER}._kept"

_HOMES = {
    "Application": "ember.protocol.server.application",
    "HTTPProtocol": f"{_SERVER}.pure.asyncio_protocol" if PURE else f"{_SERVER}._endpoints",
    "Kept": _KEPT,
    "KeptAnswers": _KEPT,
    "Tally": _KEPT,
    "MemoryConnection": f"{_SERVER}.pure.memory" if PURE else f"{_SERVER}._endpoints",
    "Server": "ember.protocol.server.serve",
    "serve": "ember.protocol.server.serve",
}


def __getattr__(name: str) -> object:
    home = _HOMES.get(name)
    if home is None:
        raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
    from importlib import import_module

    value = globals()[name] = getattr(import_module(home), name)
    return value


def __dir__() -> list[str]:
    return sorted({*globals(), *__all__})

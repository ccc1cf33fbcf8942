"""`ssl` is loaded when it is first used, and not because asyncio imports it: 4.4 MiB of memory.

asyncio imports `ssl` at its start and needs two of its exceptions then. `install` puts an empty
module in its place, which becomes the real one when any other attribute of it is asked for. It does
nothing where `ssl` or asyncio has been imported before.
"""

from __future__ import annotations

import sys
from importlib.machinery import PathFinder
from threading import RLock
from types import ModuleType
from typing import Any

#: What asyncio.sslproto makes a tuple of when it is imported.
_NEEDED = ("SSLWantReadError", "SSLSyscallError")


class _Late(ModuleType):
    """The module `ssl` before it is used."""

    def __getattr__(self, name: str) -> Any:
        # Other threads wait here while the first one loads; it comes here again for what `ssl`
        # itself looks for and does not have.
        with _lock:
            asker = sys._getframe(1).f_globals.get("__name__")
            if name in _NEEDED and asker == "asyncio.sslproto" and not _begun:
                return OSError  # _load puts the real ones there
            _load(self)
        return ModuleType.__getattribute__(self, name)

    def __dir__(self) -> list[str]:
        with _lock:
            _load(self)
        return list(ModuleType.__dir__(self))


_lock = RLock()
_begun: list[bool] = []


def _load(module: ModuleType) -> None:
    if _begun:
        return
    spec = module.__spec__
    assert spec is not None
    assert spec.loader is not None
    _begun.append(True)
    try:
        spec.loader.exec_module(module)
    except BaseException:
        _begun.clear()  # OpenSSL's library is missing, say: the next use says so again
        raise
    sslproto: Any = sys.modules.get("asyncio.sslproto")
    if sslproto is not None:
        sslproto.SSLAgainErrors = tuple(getattr(module, name) for name in _NEEDED)
    module.__class__ = ModuleType


def install() -> None:
    """Let the next `import ssl` load nothing yet."""
    if "ssl" in sys.modules or "asyncio" in sys.modules:
        return
    spec = PathFinder.find_spec("ssl")
    if spec is None or spec.loader is None or PathFinder.find_spec("_ssl") is None:
        return  # Python without OpenSSL: asyncio knows what to do
    module = _Late("ssl")
    module.__spec__ = spec
    module.__loader__ = spec.loader
    module.__file__ = spec.origin
    sys.modules["ssl"] = module

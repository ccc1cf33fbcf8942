"""Which build runs: the compiled core, or the pure modules that stand in for it.

`EMBER_PURE=1` chooses the pure modules even where the compiled ones were built. Everything that
has two implementations asks `PURE`, so that one variable decides for the whole process.
"""

from __future__ import annotations

import os
import sys
from importlib.machinery import (
    EXTENSION_SUFFIXES,
    SOURCE_SUFFIXES,
    FileFinder,
    ModuleSpec,
    SourceFileLoader,
)

_HERE = os.path.dirname(__file__)


def _built(package: str, module: str) -> bool:
    folder = os.path.join(_HERE, package)
    return any(os.path.exists(os.path.join(folder, module + s)) for s in EXTENSION_SUFFIXES)


#: True when the environment asks for the pure build.
ASKED_PURE: bool = os.environ.get("EMBER_PURE", "") not in ("", "0")
#: True when the pure modules serve, because they were asked for or because nothing was compiled.
PURE: bool = ASKED_PURE or not _built("protocol/server", "_connection")


class _SourceFirst:
    """A meta path finder that takes `ember.*` from source where an extension module lies beside
    it."""

    @staticmethod
    def find_spec(
        name: str, path: list[str] | None = None, target: object = None
    ) -> ModuleSpec | None:
        if path is None or not name.startswith("ember."):
            return None
        for entry in path:
            finder = FileFinder(entry, (SourceFileLoader, SOURCE_SUFFIXES))
            spec = finder.find_spec(name)
            # A folder without __init__.py is a namespace portion: the ordinary finders collect
            # those.
            if spec is not None and spec.loader is not None:
                return spec
        return None


def prefer_source() -> None:
    """Take every later import below `ember` from source, of all three distributions."""
    finders: list[object] = sys.meta_path  # type: ignore[assignment]
    if _SourceFirst not in finders:
        finders.insert(0, _SourceFirst)


if ASKED_PURE:
    prefer_source()

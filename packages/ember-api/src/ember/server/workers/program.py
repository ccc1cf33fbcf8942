"""Finds out whether the files of this program have changed."""

from __future__ import annotations

import os
import sys


def changed_since(moment: int) -> str | None:
    """A file of an imported module that was changed after `moment`, nanoseconds since the epoch;
    None if there is none.

    It compares ctime, not mtime: a copy may keep the mtime of the original.
    """
    for module in tuple(sys.modules.values()):
        file = getattr(module, "__file__", None)
        if isinstance(file, str):
            try:
                changed = os.stat(file).st_ctime_ns
            except OSError:
                continue  # in an archive, or removed
            if changed > moment:
                return file
    return None

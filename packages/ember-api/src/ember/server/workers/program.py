"""Whether the program that this process runs is the one that it was to run."""

from __future__ import annotations

import os
import sys


def changed_since(moment: int) -> str | None:
    """A file that this program was read from and that was changed after `moment`, nanoseconds of
    the epoch; None where there is none.

    The time of the change, not that of the content, which copies take over from the original.
    """
    for module in tuple(sys.modules.values()):
        file = getattr(module, "__file__", None)
        if isinstance(file, str):
            try:
                changed = os.stat(file).st_ctime_ns
            except OSError:
                continue  # out of an archive, or gone again
            if changed > moment:
                return file
    return None

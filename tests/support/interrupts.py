"""SIGINT works where tests run, also in the background."""

from __future__ import annotations

import signal


def heed_interrupts() -> None:
    """Undo that SIGINT is ignored, here and in what is started from here.

    A shell without job control has what it starts in the background ignore it, and that is
    inherited: tests of Ctrl+C would wait for ever.
    """
    if signal.getsignal(signal.SIGINT) is signal.SIG_IGN:
        signal.signal(signal.SIGINT, signal.default_int_handler)

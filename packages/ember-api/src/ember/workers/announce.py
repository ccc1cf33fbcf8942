"""What a server says when it serves."""

from __future__ import annotations

import os
import sys
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Sequence

    from ember.options import Options


def announce(
    addresses: Sequence[tuple[str, int] | str], options: Options, loop: str, workers: int = 1
) -> None:
    """Where it serves, how, and how to end it: one line on stderr, because what the program prints
    is its own."""
    from ember.terminal import Style

    style = Style(sys.stderr)
    scheme = "https" if options.ssl_certfile else "http"
    where = [
        address if isinstance(address, str) else f"{scheme}://{_host(address[0])}:{address[1]}"
        for address in addresses
    ]
    how = f"{loop} loop, pid {os.getpid()}; Ctrl+C stops"
    if workers > 1:
        how = f"{workers} workers, {how}"
    name, at = style.accent("Ember"), style.strong(" and ".join(where))
    print(f"{name} serves {at}{style.dim('  ' + how)}", file=sys.stderr, flush=True)


def _host(host: str) -> str:
    return f"[{host}]" if ":" in host else host

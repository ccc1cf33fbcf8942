"""The messages of a server that is ready: to people, and to the supervisor."""

from __future__ import annotations

import os
import sys
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Sequence

    from ember.server.options import Options
    from ember.server.workers.context import WorkerContext


def announce(
    addresses: Sequence[tuple[str, int] | str], options: Options, loop: str, workers: int = 1
) -> None:
    """Print one line with the addresses, the loop and how to stop. It goes to stderr: stdout
    belongs to the program."""
    from ember.server.terminal import Style

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


def report_ready(context: WorkerContext, loop: str) -> None:
    """Tell the supervisor that this worker serves, and if a file of the program has changed."""
    if context.since:
        from ember.server.workers.program import changed_since

        changed = changed_since(context.since)
        if changed is not None:
            context.report("changed", changed)
    context.report("ready", loop)


def _host(host: str) -> str:
    return f"[{host}]" if ":" in host else host

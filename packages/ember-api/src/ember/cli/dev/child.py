"""The process that `ember dev` starts again and again: it serves on an inherited socket.

It is started before it is needed: what every application imports is loaded when the word comes to
serve, so that only the application itself is left.
"""

from __future__ import annotations

import importlib
import os
import signal
import sys
import threading
import traceback
from typing import Any

from ember.cli.dev.hosts import Hosts, refusal

#: The application did not start, and stderr says why.
NOT_STARTED = 3


def serve(target: str | None, fd: int, lifeline: int, loop: str, listening: str) -> int:
    """Serve until told to stop; the exit status. `listening`: the host of the socket `fd`, as it
    was named."""
    # What the folder holds goes before what Ember's own command has put on the path.
    from ember.cli.locate import locate
    from ember.server.run import AppServer, StartError

    threading.Thread(target=_follow, args=(lifeline,), daemon=True).start()
    try:
        app, options = locate(target)
        said = options.host or ""
        options = options._replace(
            debug=True, host=None, uds=None, fd=fd, workers=None, reload=False, loop=loop
        )
        check_hosts(app, Hosts(listening, said))
        AppServer(app, options).run()
    except StartError as error:
        print(f"ember: {error}", file=sys.stderr)
        if error.__cause__ is not None:
            print(f"\n{explain(error.__cause__)}", file=sys.stderr)
        return NOT_STARTED
    return 0


def check_hosts(app: Any, hosts: Hosts) -> None:
    """Refuse requests for other names than `hosts` allows."""
    from ember.response import Response

    dispatch = app.dispatch

    def checked(request: Any) -> object:
        host = request.headers.get("host", "")
        return dispatch(request) if hosts.allow(host) else Response(refusal(host), 403)

    app.dispatch = checked


def explain(error: BaseException) -> str:
    """The traceback as far as it is the user's: without the machinery that imported the module."""
    machinery = (os.path.dirname(os.path.dirname(__file__)), "<frozen importlib")
    found = traceback.TracebackException.from_exception(error)
    kept = [
        frame
        for frame in found.stack
        if not frame.filename.startswith(machinery) and "/importlib/" not in frame.filename
    ]
    found.stack = traceback.StackSummary.from_list(kept)
    return "".join(found.format()).rstrip()


def _follow(lifeline: int) -> None:
    """End when the supervisor has ended, however that came about."""
    while os.read(lifeline, 1):
        pass
    os.kill(os.getpid(), signal.SIGTERM)


#: What applications have in common. Nothing of the user's, and nothing that starts a thread.
COMMON = (
    "asyncio",
    "msgspec",
    "ember.application.application",
    "ember.binding",
    "ember.cli.locate",
    "ember.eventloop",
    "ember.protocol",
    "ember.schema.native",
    "ember.server.run",
)


def wait(word: int) -> bool:
    """Load what is common, and wait for the word; False when it will not come any more."""
    signal.signal(signal.SIGINT, signal.SIG_DFL)  # nothing to finish yet
    for module in COMMON:
        try:
            importlib.import_module(module)
        except ImportError:  # whoever needs it will say so
            continue
    came = bool(os.read(word, 1))
    os.close(word)
    signal.signal(signal.SIGINT, signal.default_int_handler)
    return came


if __name__ == "__main__":
    name, socket_fd, lifeline_fd, event_loop, word_fd, host = sys.argv[1:]
    if wait(int(word_fd)):
        sys.exit(serve(name or None, int(socket_fd), int(lifeline_fd), event_loop, host))

"""The process of `ember dev` that serves the application, on an inherited socket.

It is started before it is needed. It imports the common modules and waits: then only the
application itself has to be imported.
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

#: The exit status if the application did not start; stderr says why.
NOT_STARTED = 3


def serve(target: str | None, fd: int, lifeline: int, loop: str, listening: str) -> int:
    """Serve until told to stop. Returns the exit status. `listening`: the host name with which the
    socket `fd` was bound."""
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
    """Refuse requests for hosts that `hosts` does not allow."""
    from ember.response import Response

    dispatch = app.dispatch

    def checked(request: Any) -> object:
        host = request.headers.get("host", "")
        return dispatch(request) if hosts.allow(host) else Response(refusal(host), 403)

    app.dispatch = checked


def explain(error: BaseException) -> str:
    """The traceback without the frames of Ember's and Python's import code."""
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
    """End this process when the supervisor has ended."""
    while os.read(lifeline, 1):
        pass
    os.kill(os.getpid(), signal.SIGTERM)


#: The modules that applications have in common: none of the user's, none that starts a thread.
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
    """Import the common modules and wait for the order to serve. Returns False if the supervisor
    has closed the pipe."""
    signal.signal(signal.SIGINT, signal.SIG_DFL)  # nothing to finish yet
    for module in COMMON:
        try:
            importlib.import_module(module)
        except ImportError:  # the application will report it, if it needs the module
            continue
    came = bool(os.read(word, 1))
    os.close(word)
    signal.signal(signal.SIGINT, signal.default_int_handler)
    return came


if __name__ == "__main__":
    name, socket_fd, lifeline_fd, event_loop, word_fd, host = sys.argv[1:]
    if wait(int(word_fd)):
        sys.exit(serve(name or None, int(socket_fd), int(lifeline_fd), event_loop, host))

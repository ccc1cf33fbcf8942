"""The process of `ember dev` that serves the application, on an inherited socket.

It is started before it is needed. It imports the common modules and waits: then only the
application itself has to be imported.
"""

from __future__ import annotations

import importlib
import os
import select
import signal
import socket
import sys
import threading
import traceback
from collections.abc import Sequence
from typing import Any

from ember.cli.dev.hosts import Hosts, refusal
from ember.server.processes.launch import NOT_STARTED, take_orders
from ember.server.processes.orders import Order


def serve(
    control_socket: socket.socket, fd: int, target: str, loop: str, hosts: Sequence[str]
) -> int:
    """Import and serve the application until told to stop. Returns the exit status.

    `hosts`: the host name with which the socket `fd` was bound, and further allowed names."""
    from ember.cli.locate import locate
    from ember.server.run import AppServer, StartError
    from ember.server.workers.context import WorkerContext
    from ember.server.workers.scoreboard import Scoreboard

    sock = socket.socket(fileno=fd)
    sock.set_inheritable(False)
    context = WorkerContext(Scoreboard(1), 0, [sock], control_socket)
    try:
        app, options = locate(target or None)
        named = [*app_hosts(app), *([options.host] if options.host else [])]
        context.report("hosts", " ".join(named))
        limit = app.limits.start_timeout
        context.report("imported", "" if limit is None else f"{limit:g}")
        options = options._replace(
            debug=True, host=None, uds=None, fd=fd, workers=None, reload=False, loop=loop
        )
        check_hosts(app, Hosts(*hosts, *named))
        AppServer(app, options, context).run()
    except StartError as error:
        print(f"ember: {error}", file=sys.stderr)
        if error.__cause__ is not None:
            print(f"\n{explain(error.__cause__)}", file=sys.stderr)
        return NOT_STARTED
    return 0


def app_hosts(app: Any) -> list[str]:
    """The host names for which the application has routes of their own."""
    return sorted({host for route in app.routes for host in route.hosts})


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


def _follow(control_socket: socket.socket) -> None:
    """End this process when the supervisor has ended, also while the application is imported."""
    poll = select.poll()
    poll.register(control_socket, 0)  # that the other end is closed is always reported
    poll.poll()
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


def main(arguments: Sequence[str]) -> int:
    """Import the common modules, wait for the order to serve, and serve. Gives the exit status."""
    control, fd, target, loop, *hosts = arguments
    control_socket = socket.socket(fileno=int(control))
    control_socket.set_inheritable(False)
    take_orders(control_socket, launched=True)
    for module in COMMON:
        try:
            importlib.import_module(module)
        except ImportError:  # the application will report it, if it needs the module
            continue
    if control_socket.recv(1) != Order.SERVE.value:
        return 0  # the supervisor has ended
    threading.Thread(target=_follow, args=(control_socket,), daemon=True).start()
    return serve(control_socket, int(fd), target, loop, hosts)


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))

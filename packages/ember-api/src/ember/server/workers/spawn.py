"""What a worker process does: run the program again, or serve."""

from __future__ import annotations

import logging
import os
import signal
import traceback
from typing import TYPE_CHECKING

from ember.server.options import StartError
from ember.server.processes.dumps import is_program
from ember.server.processes.launch import NOT_STARTED, take_orders
from ember.server.workers.context import VARIABLE, WorkerContext

if TYPE_CHECKING:
    from ember.server.interfaces import ServedApp
    from ember.server.options import Options

logger = logging.getLogger("ember.server")


def reexec(context: WorkerContext, command: list[str], folder: str) -> int:
    """Exec `command`, which finds its context in an environment variable. Does not return."""
    os.chdir(folder)
    # These signals may come before the new program has its handlers, and must not end it: SIGUSR2
    # from the supervisor, the others from an operator. `work` sets the handlers.
    for number in (signal.SIGUSR1, signal.SIGUSR2, signal.SIGHUP):
        signal.signal(number, signal.SIG_IGN)
    environment = {**os.environ, VARIABLE: context.to_environment()}
    os.execve(command[0], command, environment)


def work(app: ServedApp, options: Options, context: WorkerContext) -> int:
    """Serve as a worker until told to stop. Returns the exit status."""
    from ember.server.workers.worker import AppServer

    take_orders(context.control_socket)
    options = options._replace(startup_message=False)  # the supervisor announces all workers
    try:
        AppServer(app, options, context).run()
    except StartError as error:
        context.report("failed", str(error))
        if options.debug:
            traceback.print_exc()
        return NOT_STARTED
    except SystemExit as end:
        context.report("failed", f"SystemExit({end.code!r}){where(end)}")
        raise
    except BaseException as error:
        logger.exception("a worker ended")
        context.report("failed", f"{type(error).__name__}: {error}{where(error)}")
        return 1
    return 0


def where(error: BaseException) -> str:
    """The file and line of an error: the last frame outside Ember and the standard library."""
    for frame in reversed(traceback.extract_tb(error.__traceback__)):
        if is_program(frame.filename):
            return f" ({frame.filename}:{frame.lineno})"
    return ""

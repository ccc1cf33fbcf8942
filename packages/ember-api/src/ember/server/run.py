"""`app.run`: starts one process that serves, or a supervisor with workers."""

from __future__ import annotations

import os
import sys
import threading
from typing import TYPE_CHECKING

from ember.server.options import LOOPS as LOOPS
from ember.server.options import Options as Options
from ember.server.options import Recorder as Recorder
from ember.server.options import StartError as StartError
from ember.server.options import recorder as recorder
from ember.server.workers.context import VARIABLE
from ember.server.workers.loops import new_loop as new_loop
from ember.server.workers.worker import AppServer as AppServer

if TYPE_CHECKING:
    from ember.server.interfaces import ServedApp


def run(app: ServedApp, options: Options, *, block: bool = True) -> None:
    """Serve `app`. With `block` until a signal; it exits with status 1 if it cannot start."""
    if recorder.active:
        recorder.calls.append((app, options))
        return
    if block and VARIABLE in os.environ:
        from ember.server.workers.context import WorkerContext
        from ember.server.workers.spawn import work

        context = WorkerContext.from_environment()
        if context is not None:
            raise SystemExit(work(app, options, context))
    try:
        _serve(app, options, block)
    except StartError as error:
        if options.debug or not block:
            raise
        print(f"ember: {error}", file=sys.stderr)
        raise SystemExit(1) from None


def report(error: StartError) -> None:
    """If this process is a worker, tell its supervisor why it does not serve."""
    if VARIABLE in os.environ:
        from ember.server.workers.context import WorkerContext

        context = WorkerContext.from_environment()
        if context is not None:
            context.report("failed", str(error))


def _serve(app: ServedApp, options: Options, block: bool) -> None:
    options.check()
    workers = _workers(options, block)
    if workers == 1:
        server = AppServer(app, options)
        if block:
            server.run()
        else:
            server.start()
        return
    from ember.server.workers.supervised import SupervisedServer

    supervised = SupervisedServer(app, options, workers)
    if block and threading.current_thread() is threading.main_thread():
        supervised.run()
    else:
        supervised.start()
        if block:
            supervised.wait()


def _workers(options: Options, block: bool) -> int:
    if not hasattr(os, "fork"):
        if options.workers is not None and options.workers > 1:
            print(
                f"ember: workers={options.workers}: this platform cannot fork; one process serves",
                file=sys.stderr,
            )
        return 1
    if options.workers is not None:
        return options.workers
    if not block:
        return 1  # a thread of this program: it shares memory with the caller
    from ember.server.workers.counts import default_workers

    return default_workers().workers


def stop(app: ServedApp) -> None:
    """Stop the server of `app`, if there is one."""
    if app.server is not None:
        app.server.stop()

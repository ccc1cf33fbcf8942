"""The supervisor of `ember dev`: it holds the socket, watches files, and restarts its child."""

from __future__ import annotations

import os
import signal
import socket
import sys
import threading
from collections.abc import Iterable, Sequence

from ember.cli.dev.hosts import Hosts
from ember.cli.dev.overlay import Overlay
from ember.cli.dev.process import SLOW, DevProcess, DevSystem
from ember.cli.dev.watch import Bell, Watch
from ember.server.processes.children import Children, StopTimes
from ember.server.processes.orders import Order
from ember.server.run import StartError
from ember.server.terminal import Style
from ember.server.workers.ending import HURRY, START_END

#: Seconds between two checks of the files; longer if a check takes long.
INTERVAL = 0.05
#: The largest share of time for checks.
SHARE = 0.1
#: Seconds between two checks of the files if the kernel reports changes.
SAFETY = 2.0
#: Seconds after a start until the next process is made, which waits for an edit.
AHEAD = 0.5
#: Seconds in which an application that serves has to end before it is killed.
GRACE = 3.0
LATE = f"it did not end within {GRACE:g} s"


def listen(host: str, port: int) -> socket.socket:
    """The listening socket for the application. Raises StartError."""
    try:
        family = socket.getaddrinfo(host, port, type=socket.SOCK_STREAM)[0][0]
        sock = socket.socket(family, socket.SOCK_STREAM)
    except OSError as error:
        raise StartError(f"{host} is not an address: {error.strerror}") from None
    try:
        sock.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        sock.bind((host, port))
        sock.listen(2048)
    except OSError as error:
        sock.close()
        raise StartError(
            f"{host}:{port}: {error.strerror}; stop what listens there or choose another --port"
        ) from None
    sock.setblocking(False)
    return sock


class Supervisor:
    """Runs the application in a child process, and restarts it after every change.

    - `host`: the host name of the listening socket.
    - `allowed`: further host names for which it answers.
    - `system`, `watch`: the operating system and the files; tests give others.
    """

    def __init__(
        self,
        sock: socket.socket,
        target: str | None,
        loop: str,
        host: str,
        allowed: Sequence[str] = (),
        *,
        system: DevSystem | None = None,
        watch: Watch | None = None,
    ) -> None:
        self._sock = sock
        self._arguments = (str(sock.fileno()), target or "", loop, host, *allowed)
        self._named = (host, *allowed)
        #: The host names that the application has, as far as it was imported.
        self._hosts = Hosts(*self._named)
        self._style = Style(sys.stderr)
        self._system = system or DevSystem()
        times = StopTimes(starting=START_END + HURRY, serving=GRACE, late=LATE, kill_at=2)
        self._children: Children[DevProcess] = Children(self._system, self, times)
        #: The process that serves or starts to; the one that waits for the next edit.
        self._child: DevProcess | None = None
        self._next: DevProcess | None = None
        #: When the next process is made; never if one was made and has ended.
        self._next_at = float("inf")
        #: Another process takes the place of the child when it has ended.
        self._replace = False
        self._overlay: Overlay | None = None
        self._watch = watch or Watch(os.getcwd())
        self._rung = threading.Event()
        self._bell: Bell | None = None
        #: When the files are checked next.
        self._look_at = 0.0

    def run(self) -> int:
        """Run until SIGINT, SIGTERM or SIGHUP. Returns the exit status."""
        self._system.open()
        try:
            host, port = self._sock.getsockname()[:2]
            where = f"[{host}]" if ":" in host else host
            self._say(f"ember dev: http://{where}:{port}, watching {os.getcwd()}")
            self._bell = Bell(os.getcwd(), self._ring)
            self._start()
            while not self._children.stops or self._children.running:
                self._turn()
            return 0
        finally:
            if self._bell is not None:
                self._bell.stop()
            for child in self._children.kill_all():  # only after an error in this class
                child.release(0)
            self._end_overlay()
            self._system.close()

    def _turn(self) -> None:
        """Wait for an event, and handle everything that has happened."""
        events = self._children.wait(self._timeout())
        for child, word, text in events.reports:
            self._reported(child, word, text)
        for number in events.signals:
            if number != signal.SIGCHLD:
                self._children.stop()
        for child, status in events.ended:
            self._ended(child, status)
        self._children.look()
        if not self._children.stops:
            if self._next is None and self._system.now() >= self._next_at:
                self._next = self._make()
            self._look()

    def _timeout(self) -> float:
        if self._children.stops:
            return float("inf")
        due = self._look_at if self._next is not None else min(self._look_at, self._next_at)
        return max(0.0, due - self._system.now())

    def _say(self, text: str) -> None:
        print(self._style.dim(text), file=sys.stderr, flush=True)

    # -- files --------------------------------------------------------------------------------

    def _ring(self) -> None:
        """The kernel reports a change. Called in another thread."""
        self._rung.set()
        self._system.wake()

    def _look(self) -> None:
        """Check the files, if it is time to, and restart the application if one has changed."""
        began = self._system.now()
        if began < self._look_at and not self._rung.is_set():
            return
        self._rung.clear()
        changed = self._watch.changed()
        now = self._system.now()
        rings = self._bell is not None and self._bell.rings
        self._look_at = now + (SAFETY if rings else max(INTERVAL, (now - began) / SHARE))
        if changed:
            more = f" and {len(changed) - 1} more" if len(changed) > 1 else ""
            self._say(f"{changed[0]}{more} changed")
            self._restart()

    def _restart(self) -> None:
        child = self._child
        if child is None:
            self._end_overlay()
            self._start()
            return
        self._replace = True
        if child.asked is None:
            self._children.end(child, Order.STOP, GRACE, LATE)

    # -- the application ----------------------------------------------------------------------

    def _start(self) -> None:
        """Let the process that waits serve, or a new one."""
        self._replace = False
        child, self._next = self._next or self._make(), None
        if child is None:
            self._show("ember: the application cannot be started: no process could be made")
            return
        self._child = child
        self._hosts = Hosts(*self._named)
        child.copy_stderr()
        self._children.serve(child)
        self._next_at = self._system.now() + AHEAD

    def _make(self) -> DevProcess | None:
        """Make a process that has imported the common modules and waits."""
        self._next_at = float("inf")
        environment = dict(os.environ)
        if self._style.colours:
            environment["FORCE_COLOR"] = "1"
        try:
            child = self._system.launch(self._arguments, (self._sock.fileno(),), environment)
        except OSError as error:
            self._say(f"a process cannot be started: {error.strerror}")
            return None
        return self._children.add(child)

    def _reported(self, child: DevProcess, word: str, text: str) -> None:
        if word == "hosts":
            self._hosts = Hosts(*self._named, *text.split())
        elif word == "imported":
            child.imported = True
            child.started, child.slow_after = self._system.now(), SLOW
            if text:
                # The application cancels its hooks itself, unless they block its loop.
                reason = f"it did not serve within start_timeout={text} s"
                child.serve_within(child.started, float(text) + 2 * HURRY, reason)
        elif word == "stop" and child.asked is None:
            self._children.end(child, Order.STOP, GRACE, LATE)

    def _ended(self, child: DevProcess, status: int) -> None:
        if child is self._next:
            self._next = None
        if child is not self._child:
            child.release(status)
            return
        self._child = None
        if self._replace and not self._children.stops:
            self._start()  # before the last words of the old one: the new one has enough to do
        words = child.last_words()
        child.release(status)
        if self._child is None and not self._children.stops:
            self._fell(child, status, words)

    def _fell(self, child: DevProcess, status: int, words: str) -> None:
        """The application has ended by itself, or was killed: show why until a file changes."""
        if child.killed:
            words = "\n".join((f"ember: {child} was killed: {child.failure}", *child.last_stack))
        elif not words.startswith("ember: "):
            how = f"{child} {child.ended(status).removeprefix('it ')}"
            words = f"ember: {how}\n{words}"
            self._say(how)
        self._show(words)

    def _show(self, text: str) -> None:
        self._say("waiting for a change")
        self._overlay = Overlay(self._sock, text, self._hosts)
        self._overlay.start()

    def _end_overlay(self) -> None:
        overlay, self._overlay = self._overlay, None
        if overlay is not None:
            overlay.stop()

    # -- the voice of the core ----------------------------------------------------------------

    def slow(self, child: DevProcess, seconds: float, where: str) -> None:
        """See `Voice`."""
        what = (
            "its start hooks have been running for" if child.imported else "still importing after"
        )
        at = f", at {where}" if where else ""
        self._say(f"{what} {seconds:.0f} s{at}; a change starts it again, Ctrl+C ends it")

    def killed(self, child: DevProcess, what: str, stack: Iterable[str]) -> None:
        """See `Voice`."""
        child.last_stack = list(stack)
        self._say("\n".join((f"{child} {what}", *child.last_stack)))

"""The process that stays: it holds the socket, watches the files, and replaces its child."""

from __future__ import annotations

import contextlib
import os
import signal
import socket
import subprocess
import sys
import threading
import time
from types import FrameType

from ember.cli.dev.hosts import Hosts
from ember.cli.dev.overlay import Overlay
from ember.cli.dev.watch import Bell, Watch
from ember.server.run import StartError
from ember.server.terminal import Style

#: Seconds between two looks at the files; longer where a look takes long.
INTERVAL = 0.05
#: Of one look to the pause after it, at most.
SHARE = 0.1
#: Seconds between two looks at the files where the kernel says when they change.
SAFETY = 2.0
#: Seconds after a start at which the next process is made.
AHEAD = 0.5
#: Seconds that the application has to end before it is killed.
GRACE = 3.0
#: Characters of what it wrote to stderr that the page shows.
KEPT = 16_384


def listen(host: str, port: int) -> socket.socket:
    """The socket that the application will serve on. Raises StartError."""
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


class Spare:
    """A process that waits; `word` is the end of a pipe, and closing it unused ends the process."""

    def __init__(self, process: subprocess.Popen[str], word: int) -> None:
        self.process = process
        self._word = word

    def serve(self) -> subprocess.Popen[str]:
        """Give the word."""
        with contextlib.suppress(BrokenPipeError):  # ended already: whoever looks at it will see
            os.write(self._word, b"!")
        os.close(self._word)
        return self.process

    def forget(self) -> None:
        """End it, unused."""
        os.close(self._word)
        self.process.kill()
        self.process.wait()
        if self.process.stderr is not None:
            self.process.stderr.close()


class Supervisor:
    """Runs the application in a child, and another one after every change."""

    def __init__(self, sock: socket.socket, target: str | None, loop: str, host: str) -> None:
        self._sock = sock
        #: what was listened on, by the name that it was given
        self._host = host
        self._hosts = Hosts(host)
        self._target = target or ""
        self._loop = loop
        self._style = Style(sys.stderr)
        self._watch = Watch(os.getcwd())
        self._child: subprocess.Popen[str] | None = None
        self._spare: Spare | None = None
        self._started = 0.0
        self._tail = ""
        self._reader: threading.Thread | None = None
        self._overlay: Overlay | None = None
        self._terminal = sys.stdin is not None and sys.stdin.isatty()
        self._interrupted = False
        self._signals = 0
        self._wake = threading.Event()
        self._bell = Bell(os.getcwd(), self._wake.set)
        # The child ends when the other end is closed, however this process ends.
        self._lifeline, self._held = os.pipe()

    def run(self) -> int:
        """Until SIGINT or SIGTERM; the exit status."""
        before = {n: signal.signal(n, self._on_signal) for n in (signal.SIGINT, signal.SIGTERM)}
        try:
            host, port = self._sock.getsockname()[:2]
            where = f"[{host}]" if ":" in host else host
            self._say(f"ember dev: http://{where}:{port}, watching {os.getcwd()}")
            self._start()
            self._follow()
            return 0
        finally:
            self._bell.stop()
            self._end_child()
            if self._spare is not None:
                self._spare.forget()
            self._end_overlay()
            for number, handler in before.items():
                signal.signal(number, handler)
            os.close(self._lifeline)
            os.close(self._held)

    def _follow(self) -> None:
        """Look at the child and at the files until a signal comes."""
        pause, looked = INTERVAL, time.monotonic()
        while not self._signals:
            rung = self._wake.wait(pause)
            self._wake.clear()
            if self._child is not None and self._child.poll() is not None:
                self._fell()
            # The next process, once this one has had the time to start.
            if self._spare is None and time.monotonic() - self._started > AHEAD:
                self._spare = self._prepare()
            began = time.monotonic()
            if self._bell.rings and not rung and began - looked < SAFETY:
                continue
            changed = self._watch.changed()
            looked = time.monotonic()
            if not self._bell.rings:
                pause = max(INTERVAL, (looked - began) / SHARE)
            if changed and not self._signals:
                self._restart(changed)

    def _on_signal(self, number: int, frame: FrameType | None) -> None:
        self._signals += 1
        self._interrupted = number == signal.SIGINT
        self._wake.set()

    def _say(self, text: str) -> None:
        print(self._style.dim(text), file=sys.stderr, flush=True)

    # -- the child ----------------------------------------------------------------------------

    def _start(self) -> None:
        """Let the process that waits serve, or one that is made now."""
        spare, self._spare = self._spare, None
        if spare is None or spare.process.poll() is not None:
            if spare is not None:
                spare.forget()
            spare = self._prepare()
        self._tail = ""
        self._child = spare.serve()
        self._started = time.monotonic()
        self._reader = threading.Thread(target=self._copy, args=(self._child,), daemon=True)
        self._reader.start()

    def _prepare(self) -> Spare:
        """A process that has loaded what applications have in common, and waits for the word."""
        environment = dict(os.environ)
        if self._style.colours:
            environment["FORCE_COLOR"] = "1"
        fd = self._sock.fileno()
        theirs, ours = os.pipe()
        try:
            process = subprocess.Popen(
                [
                    sys.executable,
                    "-m",
                    "ember.cli.dev.child",
                    self._target,
                    str(fd),
                    str(self._lifeline),
                    self._loop,
                    str(theirs),
                    self._host,
                ],
                pass_fds=(fd, self._lifeline, theirs),
                stderr=subprocess.PIPE,
                text=True,
                errors="replace",
                env=environment,
                # At a terminal it stays in the foreground, so that breakpoint() can read.
                process_group=None if self._terminal else 0,
            )
        finally:
            os.close(theirs)
        return Spare(process, ours)

    def _copy(self, child: subprocess.Popen[str]) -> None:
        """What the application writes to stderr goes to ours, and its end is kept."""
        assert child.stderr is not None
        for line in child.stderr:
            sys.stderr.write(line)
            sys.stderr.flush()
            self._tail = (self._tail + line)[-KEPT:]

    def _fell(self) -> None:
        """The application has ended by itself: say why until something changes."""
        child, self._child = self._child, None
        assert child is not None
        if self._reader is not None:
            self._reader.join(GRACE)
        reason = self._tail.strip()
        if not reason.startswith("ember: "):
            ended = f"the application ended with status {child.returncode}"
            if child.returncode < 0:
                ended = f"the application was ended by {signal.Signals(-child.returncode).name}"
            reason = f"ember: {ended}\n{reason}"
            self._say(ended)
        self._say("waiting for a change")
        self._overlay = Overlay(self._sock, reason, self._hosts)
        self._overlay.start()

    def _restart(self, changed: list[str]) -> None:
        more = f" and {len(changed) - 1} more" if len(changed) > 1 else ""
        self._say(f"{changed[0]}{more} changed")
        self._end_child()
        self._end_overlay()
        self._start()

    def _end_child(self) -> None:
        """Let the application finish what it does; not for long."""
        child, self._child = self._child, None
        if child is None:
            return
        asked = self._signals
        # Ctrl+C at a terminal has reached it already, and a second signal would mean: at once.
        if not (self._interrupted and self._terminal):
            child.terminate()
        deadline = time.monotonic() + GRACE
        while child.poll() is None:
            if time.monotonic() > deadline or self._signals > max(asked, 1):
                child.kill()
                child.wait()
                break
            time.sleep(0.005)
        if self._reader is not None:
            self._reader.join(GRACE)

    def _end_overlay(self) -> None:
        overlay, self._overlay = self._overlay, None
        if overlay is not None:
            overlay.stop()

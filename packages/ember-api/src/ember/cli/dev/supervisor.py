"""The supervisor of `ember dev`: it holds the socket, watches files, and restarts its child."""

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

#: Seconds between two checks of the files; longer if a check takes long.
INTERVAL = 0.05
#: The largest share of time for checks.
SHARE = 0.1
#: Seconds between two checks of the files if the kernel reports changes.
SAFETY = 2.0
#: Seconds after a start until the next spare process is made.
AHEAD = 0.5
#: Seconds in which the application has to end before it is killed.
GRACE = 3.0
#: The most characters of its stderr that the error page shows.
KEPT = 16_384


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


class Spare:
    """A process that waits. `word` is the end of a pipe: a byte starts it, closing ends it."""

    def __init__(self, process: subprocess.Popen[str], word: int) -> None:
        self.process = process
        self._word = word

    def serve(self) -> subprocess.Popen[str]:
        """Let the process serve."""
        with contextlib.suppress(BrokenPipeError):  # it has ended: the caller will see that
            os.write(self._word, b"!")
        os.close(self._word)
        return self.process

    def forget(self) -> None:
        """End the process."""
        os.close(self._word)
        self.process.kill()
        self.process.wait()
        if self.process.stderr is not None:
            self.process.stderr.close()


class Supervisor:
    """Runs the application in a child process, and restarts it after every change."""

    def __init__(self, sock: socket.socket, target: str | None, loop: str, host: str) -> None:
        self._sock = sock
        #: The host name of the listening socket.
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
        # The child ends when the other end is closed, also if this process is killed.
        self._lifeline, self._held = os.pipe()

    def run(self) -> int:
        """Run until SIGINT or SIGTERM. Returns the exit status."""
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
        """Check the child and the files until a signal comes."""
        pause, looked = INTERVAL, time.monotonic()
        while not self._signals:
            rung = self._wake.wait(pause)
            self._wake.clear()
            if self._child is not None and self._child.poll() is not None:
                self._fell()
            # Make the next spare process, after this one had time to start.
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
        """Let the spare process serve, or a new one."""
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
        """Make a process that has imported the common modules and waits."""
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
                # At a terminal it stays in the foreground, so that breakpoint() works.
                process_group=None if self._terminal else 0,
            )
        finally:
            os.close(theirs)
        return Spare(process, ours)

    def _copy(self, child: subprocess.Popen[str]) -> None:
        """Copy the stderr of the application to this process's, and keep the last part."""
        assert child.stderr is not None
        for line in child.stderr:
            sys.stderr.write(line)
            sys.stderr.flush()
            self._tail = (self._tail + line)[-KEPT:]

    def _fell(self) -> None:
        """The application has ended by itself: show why until a file changes."""
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
        """Stop the application, and kill it if it does not end in time."""
        child, self._child = self._child, None
        if child is None:
            return
        asked = self._signals
        # Ctrl+C at a terminal has reached it already; a second signal would mean to end at once.
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

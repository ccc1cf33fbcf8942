"""`AccessLog`: one JSON line for each exchange, written many at once."""

from __future__ import annotations

import contextvars
import json
import time

from ember.protocol.telemetry.series import LOG_DROPPED

TYPE_CHECKING = False
if TYPE_CHECKING:
    import asyncio

    from ember.protocol.message.pure.request import Request
    from ember.protocol.telemetry.logfile import LogFile
    from ember.protocol.telemetry.series import Series

#: Bytes of lines that are written at once.
SIZE = 262144
#: Bytes of a path, and of what else comes from outside; the rest is cut.
LONGEST = 8192
#: Seconds between two writes: a busy process writes many lines at once, an idle one each at once.
PAUSE = 0.02
#: Seconds until what the file did not take is tried again.
RETRY = 0.25


class AccessLog:
    """Writes to `file`, a `LogFile`. `worker` is the number in each line."""

    def __init__(self, file: LogFile, worker: int = 0) -> None:
        self.file = file
        self.worker = worker
        #: Where dropped lines are counted.
        self.series: Series | None = None
        #: The client is what trusted proxies say.
        self.forwarded = False
        self._loop: asyncio.AbstractEventLoop | None = None
        self._context = contextvars.Context()
        self._timer: asyncio.TimerHandle | None = None
        self._lines: list[bytes] = []
        self._size = 0
        self._posted = False
        self._dropped = 0
        self._written_at = 0.0
        self._offset = time.time() - time.monotonic()

    def set_worker(self, worker: int) -> None:
        """Which worker this is."""
        self.worker = worker

    def attach(self, loop: asyncio.AbstractEventLoop) -> None:
        """The loop whose turns end with a write."""
        if loop is not self._loop:
            self._loop = loop
            self._posted = False
            self._timer = None

    def line(
        self,
        request: Request | None,
        client: tuple[str, int] | None,
        route: bytes,
        status: int,
        sent: int,
        began: float,
        ended: float,
        aborted: bool,
        identity: str = "",
    ) -> None:
        """Add one line; `route` is JSON. `identity` is that of a refused request, which is None."""
        path = method = ""
        if request is not None:
            identity, method = request.id, request.method[:64]
            path = request.raw_path[:LONGEST].decode("latin-1")
        peer = "" if client is None else _address(*client)
        if request is not None and self.forwarded:
            peer = request.client_ip or ""
        micros = int((began + self._offset) * 1e6)
        second = time.strftime("%Y-%m-%dT%H:%M:%S", time.gmtime(micros // 1_000_000))
        took = int(max(ended - began, 0.0) * 1e6)
        broken = ',"aborted":true' if aborted else ""
        self._add(
            (
                f'{{"time":"{second}.{micros % 1_000_000:06}Z","id":{_text(identity[:LONGEST])},'
                f'"method":"{method}","route":{route.decode()},"path":{_text(path)},'
                f'"status":{status},"bytes":{sent},"duration":{took // 1_000_000}.'
                f'{took % 1_000_000:06}{broken},"client":{_text(peer[:LONGEST])},'
                f'"worker":{self.worker}}}\n'
            ).encode()
        )

    def _add(self, line: bytes) -> None:
        if self._size + len(line) > SIZE:
            self.flush()
        self._lines.append(line)
        self._size += len(line)
        if self._posted:
            return
        if self._loop is None or self._loop.is_closed():
            self.flush()
            return
        self._posted = True
        pause = self._written_at + PAUSE - time.monotonic()
        if pause > 0:
            self._loop.call_later(pause, self.flush, context=self._context)
        else:
            self._loop.call_soon(self.flush, context=self._context)

    def flush(self) -> None:
        """Write what was collected."""
        self._posted = False
        self._offset = time.time() - time.monotonic()
        if self._lines:
            lines = b"".join(self._lines)
            self._lines.clear()
            self._size = 0
            self._written_at = time.monotonic()
            self.file.write(lines)
            self._look()

    def _look(self) -> None:
        """At what was not taken."""
        dropped = self.file.dropped
        if dropped != self._dropped:
            if self.series is not None:
                self.series.words[LOG_DROPPED] += dropped - self._dropped
            self._dropped = dropped
        if self.file.waiting and self._timer is None and self._loop is not None:
            self._timer = self._loop.call_later(RETRY, self._retry, context=self._context)

    def _retry(self) -> None:
        self._timer = None
        self.file.retry()
        self._look()

    def reopen(self) -> None:
        """Open the path again, after something has moved the file away."""
        self.flush()
        self.file.reopen()
        self._look()

    def close(self) -> None:
        """Write what is left and end."""
        self.flush()
        if self._timer is not None:
            self._timer.cancel()
            self._timer = None
        self.file.close()
        self._look()


def _text(text: str) -> str:
    # json.dumps leaves DEL as it is, which no terminal should get.
    return json.dumps(text).replace("\x7f", "\\u007f")


def _address(host: str, port: int) -> str:
    return f"[{host}]:{port}" if ":" in host else f"{host}:{port}"

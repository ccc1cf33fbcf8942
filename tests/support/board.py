"""The task board as a process of its own, as `make serve` starts it, and a client for it."""

from __future__ import annotations

import json
import os
import re
import signal
import socket
import subprocess
import sys
import threading
import time
from http.client import HTTPConnection, HTTPResponse
from pathlib import Path
from typing import Any, NamedTuple

from tests.support.waiting import DEADLINE

ROOT = Path(__file__).parents[2]


class Reply(NamedTuple):
    status: int
    headers: dict[str, str]
    data: Any


class Event(NamedTuple):
    name: str
    id: str
    data: Any


class Board:
    """`python -m examples.tasks` on `port` (0: a free one); `environment` is added to ours."""

    def __init__(
        self, folder: Path, environment: dict[str, str], *, port: int = 0, wait: bool = True
    ) -> None:
        env = {k: v for k, v in os.environ.items() if k not in ("DATABASE_URL", "EMBER_TASKS_DB")}
        path = os.pathsep.join(filter(None, [str(ROOT), os.environ.get("PYTHONPATH")]))
        env |= {"PYTHONPATH": path, "PYTHONUNBUFFERED": "1", **environment}
        self.process = subprocess.Popen(
            [sys.executable, "-m", "examples.tasks", "--port", str(port)],
            cwd=folder,
            env=env,
            stdin=subprocess.DEVNULL,
            stdout=subprocess.PIPE,
            stderr=subprocess.STDOUT,
            text=True,
        )
        self.lines: list[str] = []
        self._said = threading.Condition()
        self._reader = threading.Thread(target=self._read, daemon=True)
        self._reader.start()
        self.port = 0
        self._connection: HTTPConnection | None = None
        if wait:
            self.port = self._wait_for_address()

    def _read(self) -> None:
        assert self.process.stdout is not None
        with self.process.stdout as output:
            for line in output:
                with self._said:
                    self.lines.append(line)
                    self._said.notify_all()
        with self._said:
            self._said.notify_all()

    @property
    def output(self) -> str:
        """What it printed so far."""
        with self._said:
            return "".join(self.lines)

    def _wait_for_address(self) -> int:
        def known() -> re.Match[str] | None:
            return re.search(r"http://127\.0\.0\.1:(\d+)", "".join(self.lines))

        with self._said:
            self._said.wait_for(lambda: known() or not self._reader.is_alive(), DEADLINE)
            if (match := known()) is not None:
                return int(match[1])
        self.process.kill()
        raise AssertionError(f"the board printed no address:\n{self.output}")

    @property
    def url(self) -> str:
        return f"http://127.0.0.1:{self.port}"

    def request(
        self,
        method: str,
        path: str,
        body: object = None,
        *,
        raw: bytes | None = None,
        headers: dict[str, str] | None = None,
    ) -> Reply:
        """One request over a connection that is kept; `body` goes out as JSON, `raw` as it is."""
        if self._connection is None:
            self._connection = HTTPConnection("127.0.0.1", self.port, timeout=DEADLINE)
        sent = dict(headers or {})
        if body is not None:
            raw = json.dumps(body).encode()
        if raw is not None:
            sent.setdefault("Content-Type", "application/json")
        try:
            self._connection.request(method, path, body=raw, headers=sent)
            response = self._connection.getresponse()
            content = response.read()
        except Exception:
            self._connection.close()
            self._connection = None
            raise
        fields = {name.lower(): value for name, value in response.getheaders()}
        is_json = "json" in fields.get("content-type", "")
        return Reply(response.status, fields, json.loads(content) if is_json else content)

    def create(self, title: str, **fields: object) -> dict[str, Any]:
        reply = self.request("POST", "/tasks", {"title": title, **fields})
        assert reply.status == 201, reply
        task: dict[str, Any] = reply.data
        return task

    def listen(
        self, *, last_event_id: str | None = None, receive_buffer: int | None = None
    ) -> Stream:
        """Subscribe to the changes."""
        return Stream(self.port, last_event_id, receive_buffer)

    def stop(self, with_signal: int = signal.SIGINT) -> int:
        """Ask it to end, and wait until it did. Its exit status."""
        if self._connection is not None:
            self._connection.close()
        self.process.send_signal(with_signal)
        return self.wait()

    def wait(self) -> int:
        """Its exit status, when it ended."""
        try:
            status = self.process.wait(DEADLINE)
        finally:
            self.process.kill()
            self._reader.join(DEADLINE)
        return status

    def __enter__(self) -> Board:
        return self

    def __exit__(self, *exception: object) -> None:
        if self._connection is not None:
            self._connection.close()
        if self.process.poll() is None:
            self.process.kill()
        self.wait()


class Stream:
    """The event stream of `GET /events`, read event by event. Every wait has a deadline."""

    def __init__(self, port: int, last_event_id: str | None, receive_buffer: int | None) -> None:
        self.connection = HTTPConnection("127.0.0.1", port, timeout=DEADLINE)
        sock = socket.socket()
        sock.settimeout(DEADLINE)
        if receive_buffer is not None:
            sock.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, receive_buffer)
        sock.connect(("127.0.0.1", port))
        self.connection.sock = sock
        headers = {} if last_event_id is None else {"Last-Event-ID": last_event_id}
        self.connection.request("GET", "/events", headers=headers)
        self.response: HTTPResponse = self.connection.getresponse()
        assert self.response.status == 200
        assert (self.response.getheader("Content-Type") or "").startswith("text/event-stream")

    def next(self) -> Event | None:
        """The next event; None at the end of the stream."""
        fields: dict[str, str] = {}
        end = time.monotonic() + DEADLINE
        while line := self.response.readline():
            text = line.decode().rstrip("\r\n")
            assert time.monotonic() < end, "nothing but heartbeats"
            if text.startswith(":"):
                continue  # a heartbeat
            if text:
                name, _, value = text.partition(": ")
                fields[name] = value
            elif "data" in fields:
                data = json.loads(fields["data"] or "null")
                return Event(fields.get("event", "message"), fields.get("id", ""), data)
        return None

    def rest(self) -> list[Event]:
        """The events up to the end of the stream."""
        events = []
        while (event := self.next()) is not None:
            events.append(event)
        return events

    def expect(self, name: str) -> Event:
        """The next event, which must be called `name`."""
        event = self.next()
        assert event is not None, f"the stream ended before {name!r}"
        assert event.name == name, event
        return event

    def close(self) -> None:
        self.response.close()
        self.connection.close()

    def __enter__(self) -> Stream:
        return self

    def __exit__(self, *exception: object) -> None:
        self.close()

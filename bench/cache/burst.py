"""Many clients that ask the same at once: how long each waits, beside the handler's own time."""

from __future__ import annotations

import os
import select
import socket
import statistics
import time
from typing import Any

from bench import machine
from bench.cache.cases import CALLS, SLOW, SLOW_SECONDS
from bench.http import verify
from bench.process import Server, ServerFailed


def _connect(port: int, count: int) -> list[socket.socket]:
    found = []
    for _ in range(count):
        s = socket.create_connection(("127.0.0.1", port), timeout=30)
        found.append(s)
    return found


def burst(server: Server, count: int) -> dict[str, Any]:
    """`count` connections, one request each, sent in one go; every answer is looked at.

    Raises ServerFailed when one is wrong or the handler was called more than once.
    """
    machine.open_files()
    held = _connect(server.port, count)
    before = os.sched_getaffinity(0)
    os.sched_setaffinity(0, {machine.LOAD_CPU})
    sent: dict[int, float] = {}
    answered: dict[int, float] = {}
    data: dict[int, bytes] = {}
    poll = select.epoll()
    try:
        for s in held:
            poll.register(s, select.EPOLLIN)
        by_fd = {s.fileno(): s for s in held}
        began, cpu = time.perf_counter(), server.cpu()
        for s in held:
            sent[s.fileno()] = time.perf_counter()
            s.sendall(SLOW.request)
        asked = time.perf_counter() - began
        while len(answered) < count:
            ready = poll.poll(30)
            if not ready:
                raise ServerFailed(f"{len(answered)} of {count} waiters were answered in 30 s")
            now = time.perf_counter()
            for fd, _ in ready:
                got = by_fd[fd].recv(65536)
                data[fd] = data.get(fd, b"") + got
                if not got:
                    raise ServerFailed(f"a waiter's connection was closed: {data[fd][:100]!r}")
                if data[fd].endswith(SLOW.body):
                    answered[fd] = now
        last, cpu = time.perf_counter() - began, server.cpu() - cpu
    finally:
        os.sched_setaffinity(0, before)
        poll.close()
        for s in held:
            s.close()
    for raw in data.values():
        found = verify.read_answer(raw)
        if found is None or found[1]:
            raise ServerFailed(f"not one whole answer: {raw[:200]!r}")
        verify.check(SLOW, found[0])
    waits = sorted(answered[fd] - sent[fd] for fd in sent)
    return {
        "waiters": count,
        "asked_ms": round(asked * 1e3, 1),
        "last_ms": round(last * 1e3, 1),
        "p50_ms": round(statistics.median(waits) * 1e3, 1),
        "p99_ms": round(waits[int(count * 0.99)] * 1e3, 1),
        "max_ms": round(waits[-1] * 1e3, 1),
        "cpu_us": round(cpu / count * 1e6, 2),
        "sleep_ms": SLOW_SECONDS * 1e3,
        **_handler(server),
    }


def _handler(server: Server) -> dict[str, Any]:
    import json

    said = json.loads(verify.exchange(server.port, CALLS, 1)[0].body)
    calls = said["calls"].get("slow", 0)
    if calls != 1:
        raise ServerFailed(f"the handler was called {calls} times")
    return {"calls": calls, "handler_ms": round(said["took"][0] * 1e3, 1)}

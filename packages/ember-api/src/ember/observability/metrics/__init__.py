"""`/metrics`: the counts of all workers, in the format of Prometheus.

Each worker counts in its metrics region of the scoreboard (`ember.protocol.telemetry.series`). The
worker that gets the request adds up all regions, also those of workers that have ended. So sums
never decrease while the server runs.
"""

from __future__ import annotations

import os
import sys
import time
from collections.abc import Iterable
from typing import TYPE_CHECKING, Any

from ember.observability.metrics.processes import Process, look
from ember.observability.metrics.text import CONTENT_TYPE, Page
from ember.protocol.telemetry.series import BOUNDS, CACHE, DURATIONS, REQUESTS, read, read_header
from ember.response import Response

if TYPE_CHECKING:
    from ember.server.workers import Scoreboard, Slot

__all__ = ["page", "render"]

_LABELS = {
    REQUESTS: ("route", "method", "status"),
    DURATIONS: ("route", "method"),
    CACHE: ("route", "outcome"),
}
_COUNTED = dict[tuple[str, ...], list[int]]


def page(areas: Iterable[memoryview], board: Scoreboard | None) -> Response:
    """The response to a scrape."""
    return Response(
        render(areas, board), headers={"Cache-Control": "no-store"}, content_type=CONTENT_TYPE
    )


def render(areas: Iterable[memoryview], board: Scoreboard | None) -> bytes:
    """The text of the page: the sums of `areas`, the workers of `board` if there is one, and the
    application's own metrics if it uses prometheus_client."""
    out = Page()
    _requests(out, list(areas), board)
    if board is None:
        _alone(out)
    else:
        _workers(out, board)
    return out.encode() + _own(out.names)


def _requests(out: Page, areas: list[memoryview], board: Scoreboard | None) -> None:
    headers = [read_header(area) for area in areas] or [(0, 0, 0, 0)]
    accepted, dropped = (sum(header[i] for header in headers) for i in (2, 3))
    if board is not None:
        # A worker that was killed has no open requests and connections any more.
        headers = [headers[slot.index] for slot in board.live()]
    flying, open_now = (sum(header[i] for header in headers) for i in (0, 1))
    counted: dict[int, _COUNTED] = {kind: {} for kind in _LABELS}
    for area in areas:
        for record in read(area):
            if record.kind in counted:  # a newer version may count other kinds
                sums = counted[record.kind].setdefault(record.label, [0] * len(record.values))
                for i, value in enumerate(record.values):
                    sums[i] += value
    requests = _labelled(counted, REQUESTS)
    durations = _labelled(counted, DURATIONS)
    out.add(
        "ember_http_requests_total",
        "counter",
        "Finished requests, by route template, method and status.",
        [(labels, values[0]) for labels, values in requests],
    )
    out.add(
        "ember_http_response_bytes_total",
        "counter",
        "Bytes of their responses, with heads.",
        [(labels, values[1]) for labels, values in requests],
    )
    out.add_histogram(
        "ember_http_request_duration_seconds",
        "Seconds from the head of a request to the last byte of its response.",
        BOUNDS,
        [(labels, tuple(values[2:]), values[0] / 1e9) for labels, values in durations],
    )
    out.add(
        "ember_http_requests_aborted_total",
        "counter",
        "Requests with an incomplete response: the client left, or the handler failed.",
        [(labels, values[1]) for labels, values in durations],
    )
    out.add("ember_http_requests_in_flight", "gauge", "Unfinished requests.", [({}, flying)])
    out.add("ember_http_connections", "gauge", "Open connections.", [({}, open_now)])
    out.add(
        "ember_http_connections_accepted_total",
        "counter",
        "Connections since the start.",
        [({}, accepted)],
    )
    out.add(
        "ember_cache_requests_total",
        "counter",
        "Requests to routes with a cache, by outcome.",
        [(labels, values[0]) for labels, values in _labelled(counted, CACHE)],
    )
    out.add(
        "ember_access_log_dropped_total",
        "counter",
        "Lines of the access log that could not be written.",
        [({}, dropped)],
    )


def _labelled(counted: dict[int, _COUNTED], kind: int) -> list[tuple[dict[str, str], list[int]]]:
    names = _LABELS[kind]
    return [
        (dict(zip(names, label, strict=True)), values)
        for label, values in sorted(counted[kind].items())
        if len(label) == len(names)
    ]


def _workers(out: Page, board: Scoreboard) -> None:
    live = list(board.live())
    processes = [look(slot.pid) for slot in live]
    add = out.add
    add("ember_workers", "gauge", "Running workers.", [({}, len(live))])
    started = sum(slot.generation for slot in board.slots)
    add(
        "ember_worker_restarts_total",
        "counter",
        "Workers that were started to replace others.",
        [({}, max(started - board.workers, 0))],
    )
    add(
        "ember_worker_info",
        "gauge",
        "1; the labels describe the worker.",
        [({**_name(s), "pid": str(s.pid), "state": s.state.name.lower()}, 1) for s in live],
    )
    now = time.monotonic_ns()
    per_slot: list[tuple[str, str, str, list[float]]] = [
        (
            "ember_worker_connections",
            "gauge",
            "Its open connections.",
            [s.connections for s in live],
        ),
        (
            "ember_worker_requests_total",
            "counter",
            "Its requests, with those of the workers before it.",
            [_finished(board.metrics_region(s.index)) for s in live],
        ),
        (
            "ember_worker_uptime_seconds",
            "gauge",
            "Seconds since its start.",
            [max(now - s.started, 0) / 1e9 for s in live],
        ),
        (
            "ember_worker_heartbeat_age_seconds",
            "gauge",
            "Seconds since its last heartbeat; its event loop sends one every second.",
            [max(now - s.heartbeat, 0) / 1e9 for s in live],
        ),
    ]
    for name, kind, text, values in per_slot:
        add(name, kind, text, [(_name(s), v) for s, v in zip(live, values, strict=True)])
    found = list(zip(live, processes, strict=True))
    add(
        "ember_worker_resident_memory_bytes",
        "gauge",
        "Its resident memory.",
        [(_name(s), p.resident) for s, p in found if p.resident is not None],
    )
    add(
        "ember_worker_cpu_seconds_total",
        "counter",
        "Its CPU time.",
        [(_name(s), p.cpu_seconds) for s, p in found if p.cpu_seconds is not None],
    )
    oldest = max((now - slot.started for slot in live), default=0) / 1e9
    _process(out, processes, oldest)


def _finished(area: memoryview) -> int:
    """Finished requests. They are newer than `requests` of the slot."""
    return sum(record.values[0] for record in read(area) if record.kind == REQUESTS)


def _name(slot: Slot) -> dict[str, str]:
    return {"worker": str(slot.index)}


def _alone(out: Page) -> None:
    _process(out, [look(os.getpid())], None)


def _process(out: Page, processes: list[Process], age: float | None) -> None:
    """The metrics of every Prometheus client, here for all workers together."""
    resident = [p.resident for p in processes if p.resident is not None]
    fds = [p.open_fds for p in processes if p.open_fds is not None]
    if resident:
        text = "Resident memory of all workers."
        out.add("process_resident_memory_bytes", "gauge", text, [({}, sum(resident))])
    if fds:
        text = "Open file descriptors of all workers."
        out.add("process_open_fds", "gauge", text, [({}, sum(fds))])
    if age is not None:
        text = "When the oldest worker was started, seconds since 1970."
        out.add("process_start_time_seconds", "gauge", text, [({}, round(time.time() - age, 2))])


def _own(taken: set[str]) -> bytes:
    """The metrics that the application counts with prometheus_client, if it has imported it.

    They are those of this worker only, unless PROMETHEUS_MULTIPROC_DIR is set.
    """
    client = sys.modules.get("prometheus_client")
    if client is None:
        return b""
    registry = client.REGISTRY
    if os.environ.get("PROMETHEUS_MULTIPROC_DIR"):
        from prometheus_client import multiprocess

        registry = client.CollectorRegistry()
        collector: Any = multiprocess.MultiProcessCollector
        collector(registry)

    class Others:
        """All metric families that are not on the page yet."""

        def collect(self) -> list[object]:
            return [
                metric
                for metric in registry.collect()
                if not {metric.name, f"{metric.name}_total"} & taken
            ]

    text: bytes = client.generate_latest(Others())
    return text

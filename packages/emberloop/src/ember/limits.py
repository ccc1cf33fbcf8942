"""What a server grants its clients, in bytes, seconds and counts. Every limit is enforced."""

from __future__ import annotations

__all__ = ["RouteLimits", "ServerLimits"]

MIB = 1024 * 1024
#: What `RouteLimits(max_frames=)` is when it is not given.
MAX_FRAMES = 1000
#: The least `RouteLimits(max_values=)`: fewer are in no body that takes time.
LEAST_VALUES = 4096


def _seconds(owner: str, name: str, value: float | None, *, optional: bool) -> float | None:
    if value is None and optional:
        return None
    if isinstance(value, bool) or not isinstance(value, int | float) or not value > 0:
        allowed = "a number of seconds above 0" + (" or None" if optional else "")
        raise ValueError(f"{owner}({name}={value!r}): expected {allowed}")
    return float(value)


def _count(owner: str, name: str, value: int | None, *, least: int, optional: bool) -> int | None:
    if value is None and optional:
        return None
    if isinstance(value, bool) or not isinstance(value, int) or value < least:
        allowed = f"a whole number of at least {least}" + (" or None" if optional else "")
        raise ValueError(f"{owner}({name}={value!r}): expected {allowed}")
    return value


class _Limits:
    __slots__: tuple[str, ...] = ()

    def __repr__(self) -> str:
        fields = ", ".join(f"{name}={getattr(self, name)!r}" for name in self.__slots__)
        return f"{type(self).__name__}({fields})"

    def __eq__(self, other: object) -> bool:
        if type(other) is not type(self):
            return NotImplemented
        return all(getattr(self, name) == getattr(other, name) for name in self.__slots__)

    __hash__ = None  # type: ignore[assignment]


class ServerLimits(_Limits):
    """Limits of a server and each of its connections.

    Times are in seconds, sizes in bytes. A value out of range raises a `ValueError` that names the
    argument.

    - `keep_alive_timeout`: how long an idle connection stays open between two requests.
    - `header_timeout`: from the first byte of a request (or from accept) to the end of its head;
      then 408.
    - `body_timeout`: how long the server waits for the next piece of a request body; then 408.
    - `min_body_rate`: bytes per second with which a request body must arrive on average (default
      240), after `body_rate_grace`; below is 408. Time in which the server does not read, because
      the handler does not, does not count. None: no limit.
    - `body_rate_grace`: seconds that a body has in addition to those of the rate (default 5).
    - `write_timeout`: how long a client may read nothing of a response; then the connection is
      reset.
    - `request_timeout`: how long a handler may take until its response starts; then 503 and the
      handler is cancelled. None: no limit. `RouteLimits.timeout` overrides it.
    - `shutdown_timeout`: how long a stop may take: for requests in flight, for work after their
      responses, and for stop hooks, which have at least 2 s. Then the process ends, and the log
      has the stack of what still ran.
    - `start_timeout`: how long a worker may take from its start until it serves; then its stack is
      logged, it is killed, and the reload is given up. With one process: how long its start hooks
      may wait. None: no limit.
    - `drain_delay`: how long a server that stops still serves as before, except that it is not
      ready and keeps no connection open (default 0).
    - `worker_timeout`: how long the loop of a worker may be stuck; then its stack is logged and it
      is killed and replaced. None: no limit. Needs a supervisor: two workers or more.
    - `worker_max_age`: how long a worker serves (varied by a tenth) until it is replaced; its
      requests in flight are finished. None: no limit. Needs a supervisor.
    - `worker_max_memory`: bytes of resident memory above which a worker is replaced the same way.
      None: no limit. Needs a supervisor.
    - `max_target_size`: bytes of the request target; above is 414.
    - `max_header_size`: bytes of a whole head, request line included; above is 431.
    - `max_headers`: fields in one head; above is 431.
    - `max_chunk_overhead`: bytes of a chunked body that are framing and not data (default 16 KiB):
      chunk lines and their extensions, less 16 bytes for each chunk and two for each byte of data;
      above is 400.
    - `handshake_timeout`: how long a client may take for the TLS handshake; then the connection is
      closed.
    - `max_connections`: open at once. A connection above it may send one request: a route that is
      never shed (`RouteLimits.shed`) responds, anything else is 503 with Retry-After, and the
      connection closes. More than 32 above it, the 503 is sent before the request is read. None:
      no limit.
    - `max_concurrent_requests`: handlers that wait or work at once; None: no limit. A stream counts
      until it begins. Responses that need no waiting, and routes that are never shed, do not count.
    - `max_queued_requests`: requests that may wait for their turn then (default 0); one above it is
      503 with Retry-After, at once.
    - `max_pipelined`: bytes of pipelined requests that wait in the process; more wait in the
      kernel.
    - `max_thread_queue`: calls of `def` handlers that may wait for a thread when all
      (`thread_pool_workers`) are busy; one above it is 503 with Retry-After, at once.
    """

    __slots__ = (
        "body_rate_grace",
        "body_timeout",
        "drain_delay",
        "handshake_timeout",
        "header_timeout",
        "keep_alive_timeout",
        "max_chunk_overhead",
        "max_concurrent_requests",
        "max_connections",
        "max_header_size",
        "max_headers",
        "max_pipelined",
        "max_queued_requests",
        "max_target_size",
        "max_thread_queue",
        "min_body_rate",
        "request_timeout",
        "shutdown_timeout",
        "start_timeout",
        "worker_max_age",
        "worker_max_memory",
        "worker_timeout",
        "write_timeout",
    )

    body_rate_grace: float
    body_timeout: float
    handshake_timeout: float
    drain_delay: float
    header_timeout: float
    keep_alive_timeout: float
    max_chunk_overhead: int
    max_concurrent_requests: int | None
    max_connections: int | None
    max_header_size: int
    max_headers: int
    max_pipelined: int
    max_queued_requests: int
    max_target_size: int
    max_thread_queue: int
    min_body_rate: int | None
    request_timeout: float | None
    shutdown_timeout: float
    start_timeout: float | None
    worker_max_age: float | None
    worker_max_memory: int | None
    worker_timeout: float | None
    write_timeout: float

    def __init__(
        self,
        *,
        keep_alive_timeout: float = 30.0,
        header_timeout: float = 10.0,
        body_timeout: float = 30.0,
        write_timeout: float = 30.0,
        request_timeout: float | None = None,
        shutdown_timeout: float = 10.0,
        max_target_size: int = 8192,
        max_header_size: int = 65536,
        max_headers: int = 128,
        max_connections: int | None = None,
        max_pipelined: int = 65536,
        handshake_timeout: float = 10.0,
        max_concurrent_requests: int | None = None,
        max_queued_requests: int = 0,
        drain_delay: float = 0.0,
        worker_timeout: float | None = 30.0,
        worker_max_age: float | None = None,
        worker_max_memory: int | None = None,
        start_timeout: float | None = 120.0,
        max_thread_queue: int = 1000,
        max_chunk_overhead: int = 16384,
        min_body_rate: int | None = 240,
        body_rate_grace: float = 5.0,
    ) -> None:
        for name, seconds in (
            ("keep_alive_timeout", keep_alive_timeout),
            ("header_timeout", header_timeout),
            ("body_timeout", body_timeout),
            ("write_timeout", write_timeout),
            ("shutdown_timeout", shutdown_timeout),
            ("handshake_timeout", handshake_timeout),
            ("body_rate_grace", body_rate_grace),
        ):
            setattr(self, name, _seconds("ServerLimits", name, seconds, optional=False))
        if isinstance(drain_delay, bool) or drain_delay != 0:
            _seconds("ServerLimits", "drain_delay", drain_delay, optional=False)
        self.drain_delay = float(drain_delay)
        for name, maybe in (
            ("request_timeout", request_timeout),
            ("start_timeout", start_timeout),
            ("worker_timeout", worker_timeout),
            ("worker_max_age", worker_max_age),
        ):
            setattr(self, name, _seconds("ServerLimits", name, maybe, optional=True))
        self.worker_max_memory = _count(
            "ServerLimits", "worker_max_memory", worker_max_memory, least=1, optional=True
        )
        self.min_body_rate = _count(
            "ServerLimits", "min_body_rate", min_body_rate, least=1, optional=True
        )
        for name, count, least in (
            ("max_target_size", max_target_size, 1),
            ("max_header_size", max_header_size, 64),
            ("max_headers", max_headers, 1),
            ("max_pipelined", max_pipelined, 1),
            ("max_queued_requests", max_queued_requests, 0),
            ("max_thread_queue", max_thread_queue, 0),
            ("max_chunk_overhead", max_chunk_overhead, 0),
        ):
            setattr(self, name, _count("ServerLimits", name, count, least=least, optional=False))
        self.max_connections = _count(
            "ServerLimits", "max_connections", max_connections, least=1, optional=True
        )
        self.max_concurrent_requests = _count(
            "ServerLimits",
            "max_concurrent_requests",
            max_concurrent_requests,
            least=1,
            optional=True,
        )


class RouteLimits(_Limits):
    """Limits of the requests of one route.

    - `max_body_size`: bytes of a request body (default 4 MiB); above is 413.
    - `timeout`: seconds until the response starts; then 503 and the handler is cancelled. None (the
      default): `ServerLimits.request_timeout`.
    - `in_memory_threshold`: bytes of an uploaded file kept in memory (default 1 MiB); more goes
      to disk.
    - `cancel_on_disconnect`: whether the handler is cancelled when its client leaves (default
      True).
    - `max_parts`: fields and files of a multipart form (default 1,000); above is 413.
    - `max_part_size`: bytes of one file of a multipart form; above is 413. None (the default): as
      much as the body may have. A field that is not a file stays in memory; its
      limit is `in_memory_threshold`.
    - `max_fields`: fields of an urlencoded form, counted by the `&` between them (default 1,000);
      above is 413.
    - `max_frames`: gzip members or zstd frames of one compressed body (default 1,000); above is
      413.
    - `max_values`: values of a JSON or MessagePack body that `json()` or a parameter reads (default
      200,000, and never less than 4,096); above is 413. In JSON the `[`, `{` and `,` outside
      strings are counted, in MessagePack the keys of maps, too. Validating a million of them
      against a model blocks the loop for seconds.
    - `decompress`: whether a body with a Content-Encoding is decoded (default True), under the same
      `max_body_size`; False: the handler gets it as it was sent.
    - `shed`: whether a request may get a 503 because the server is overloaded (default True);
      False for health checks.
    """

    __slots__ = (
        "cancel_on_disconnect",
        "decompress",
        "in_memory_threshold",
        "max_body_size",
        "max_fields",
        "max_frames",
        "max_part_size",
        "max_parts",
        "max_values",
        "shed",
        "timeout",
    )

    cancel_on_disconnect: bool
    decompress: bool
    in_memory_threshold: int
    max_body_size: int
    max_fields: int
    max_frames: int
    max_part_size: int | None
    max_parts: int
    max_values: int
    shed: bool
    timeout: float | None

    def __init__(
        self,
        max_body_size: int = 4 * MIB,
        *,
        timeout: float | None = None,
        in_memory_threshold: int = MIB,
        cancel_on_disconnect: bool = True,
        max_parts: int = 1000,
        max_part_size: int | None = None,
        max_fields: int = 1000,
        max_frames: int = MAX_FRAMES,
        max_values: int = 200_000,
        decompress: bool = True,
        shed: bool = True,
    ) -> None:
        for name, count, least in (
            ("max_body_size", max_body_size, 0),
            ("in_memory_threshold", in_memory_threshold, 0),
            ("max_parts", max_parts, 0),
            ("max_fields", max_fields, 0),
            ("max_frames", max_frames, 1),
            ("max_values", max_values, LEAST_VALUES),
        ):
            setattr(self, name, _count("RouteLimits", name, count, least=least, optional=False))
        self.max_part_size = _count(
            "RouteLimits", "max_part_size", max_part_size, least=0, optional=True
        )
        self.timeout = _seconds("RouteLimits", "timeout", timeout, optional=True)
        self.cancel_on_disconnect = bool(cancel_on_disconnect)
        self.decompress = bool(decompress)
        self.shed = bool(shed)

"""What is asked of the cached routes; each answer is the handler's, whether kept or not."""

from __future__ import annotations

from bench.cases import BY_NAME, HELLO, Case


def _get(path: str) -> bytes:
    return f"GET {path} HTTP/1.1\r\nHost: localhost:8000\r\n\r\n".encode()


def _browser() -> bytes:
    """The browser's request, not a reload (`max-age=0` asks for a new answer) and without its
    cookies, which make it personal: such requests are not answered from what others were given."""
    lines = BY_NAME["browser"].request.replace(b"GET / ", b"GET /ttl ", 1).split(b"\r\n")
    left_out = (b"Cookie:", b"Cache-Control:")
    return b"\r\n".join(line for line in lines if not line.startswith(left_out))


JSON = b'{"items":["bread","butter","tomatoes"],"total":3}'

UNCACHED = Case("hello", "hello, no cache", _get("/"), HELLO, "text/plain")
HITS = (
    Case("static", "StaticCache hit", _get("/static"), HELLO, "text/plain"),
    Case("ttl", "TTLCache hit", _get("/ttl"), HELLO, "text/plain"),
    Case("ttl-json", "TTLCache hit, JSON, a query", _get("/json?page=2"), JSON, "application/json"),
)
BROWSER = Case("ttl-browser", "TTLCache hit, browser's headers", _browser(), HELLO, "text/plain")
MICRO = (UNCACHED, *HITS)

REDIS_BODY = b"x" * 512
REDIS = (
    Case("redis-cache", "RedisCache hit", _get("/cached"), REDIS_BODY, "text/plain"),
    Case("redis-py", "redis-py GET in the handler", _get("/by-hand"), REDIS_BODY, "text/plain"),
)
#: How long the handler of /slow sleeps, and how many ask at once.
SLOW_SECONDS = 0.25
WAITERS = 5_000
SLOW = Case("slow", "misses at once", _get("/slow"), HELLO, "text/plain")
CALLS = _get("/calls")

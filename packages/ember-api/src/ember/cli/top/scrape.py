"""Reads `/metrics` over HTTP, in the text format of Prometheus (0.0.4)."""

from __future__ import annotations

import math
import os
import re
import socket
import time
from collections.abc import Iterator
from urllib.parse import urlsplit

from ember.exceptions import InvalidResponse
from ember.protocol.http1.responses import END, ResponseHead, ResponseParser

#: Seconds in which the server has to respond.
TIMEOUT = 10.0
#: The largest page, in bytes.
LARGEST = 64 << 20

_SAMPLE = re.compile(r"([a-zA-Z_:][a-zA-Z0-9_:]*)(?:\{(.*)\})?[ \t]+(\S+)")
_LABEL = re.compile(r'([a-zA-Z_][a-zA-Z0-9_]*)="((?:[^"\\]|\\.)*)"')
_ESCAPE = re.compile(r"\\(.)")

#: Larger numbers are errors: no count, size or time is so large.
_BEYOND = 1e30

Labels = dict[str, str]


class CannotScrape(Exception):
    """Why there are no metrics, in one sentence, with what to do."""


class Scrape:
    """The samples of one page, and when it was read (seconds of the monotonic clock)."""

    def __init__(self, text: str, at: float) -> None:
        self.at = at
        self._samples: dict[str, list[tuple[Labels, float]]] = {}
        for line in text.split("\n"):  # not splitlines(): labels may contain other line ends
            if not line.startswith("ember_"):
                continue
            sample = _sample(line)
            if sample is None:
                raise CannotScrape(f"no line of metrics: {line[:80]!r}")
            name, labels, value = sample
            self._samples.setdefault(name, []).append((labels, value))

    def all(self, name: str) -> Iterator[tuple[Labels, float]]:
        """The samples of a name; none if the page does not have it."""
        yield from self._samples.get(name, ())

    def one(self, name: str) -> float | None:
        """The sample of a name without labels."""
        return next((value for labels, value in self.all(name) if not labels), None)


class Source:
    """The URL of a metrics page. Raises CannotScrape for an invalid URL."""

    def __init__(self, url: str) -> None:
        example = "expected something like http://127.0.0.1:8000/metrics"
        if "://" not in url:
            url = f"http://{url}"
        try:
            parts = urlsplit(url)
            host, port = parts.hostname, parts.port
        except ValueError as error:
            raise CannotScrape(f'"{url}": {error}; {example}') from None
        if parts.scheme not in ("http", "https") or not host:
            raise CannotScrape(f'"{url}": {example}')
        self._path = (parts.path if parts.path.strip("/") else "/metrics") + (
            f"?{parts.query}" if parts.query else ""
        )
        if not (self._path.isascii() and self._path.isprintable() and " " not in self._path):
            raise CannotScrape(f'"{url}": write what is not ASCII as %XX; {example}')
        self._secure = parts.scheme == "https"
        self._host, self._port = host, port
        authority = parts.netloc.rpartition("@")[2]
        if not authority.isascii():
            try:
                name = host.encode("idna").decode()
            except UnicodeError:
                raise CannotScrape(f'"{url}": the host has no name in ASCII; {example}') from None
            authority = name if port is None else f"{name}:{port}"
        fields = f"Host: {authority}\r\nConnection: close\r\n"
        self._request = f"GET {self._path} HTTP/1.1\r\n{fields}\r\n".encode()
        #: The whole URL.
        self.url = f"{parts.scheme}://{parts.netloc.rpartition('@')[2]}{self._path}"

    def scrape(self) -> Scrape:
        """Read the page, over a new connection. Raises CannotScrape."""
        try:
            status, body = self._get()
        except (OSError, InvalidResponse) as error:
            raise CannotScrape(
                f"{self.url} cannot be reached: {_why(error)}; is the server running there?"
            ) from None
        at = time.monotonic()
        if status == 404:
            raise CannotScrape(
                f"{self.url}: no metrics there (404); switch them on with Ember(metrics=True) "
                f"or ember start --metrics, or give the URL of the page"
            )
        if status != 200:
            raise CannotScrape(f"{self.url}: answered {status}, expected 200 with metrics")
        if len(body) > LARGEST:
            raise CannotScrape(f"{self.url}: a page of more than {LARGEST >> 20} MiB")
        scrape = Scrape(body.decode("utf-8", "replace"), at)
        if scrape.one("ember_http_requests_in_flight") is None:
            raise CannotScrape(
                f"{self.url}: answered, but without metrics of Ember; "
                "give the URL of the page, such as http://127.0.0.1:8000/metrics"
            )
        return scrape

    def _get(self) -> tuple[int, bytes]:
        """Returns (status, body). It stops reading above `LARGEST` bytes. Raises OSError."""
        port = self._port or (443 if self._secure else 80)
        parser = ResponseParser()
        status, size = 0, 0
        pieces: list[bytes] = []
        with socket.create_connection((self._host, port), TIMEOUT) as plain, self._over(plain) as s:
            s.sendall(self._request)
            parser.request_sent("GET")
            while size <= LARGEST:
                data = s.recv(65536)
                for event in parser.feed(data) if data else parser.eof():
                    if isinstance(event, bytes):
                        pieces.append(event)
                        size += len(event)
                    elif isinstance(event, ResponseHead):
                        status = event.status
                    elif event is END:
                        return status, b"".join(pieces)
        return status, b"".join(pieces)

    def _over(self, plain: socket.socket) -> socket.socket:
        """The connection, with TLS for https."""
        if not self._secure:
            return plain
        import ssl

        context = ssl.create_default_context()
        return context.wrap_socket(plain, server_hostname=self._host)


def _sample(line: str) -> tuple[str, Labels, float] | None:
    """Name, labels and value of a line; None if it is not valid."""
    found = _SAMPLE.match(line)
    if found is None:
        return None
    labels = {name: _unescape(text) for name, text in _LABEL.findall(found[2] or "")}
    try:
        value, bound = float(found[3]), float(labels.get("le", "0"))
    except ValueError:
        return None
    if not abs(value) < _BEYOND or math.isnan(bound):
        return None
    return found[1], labels, value


def _unescape(text: str) -> str:
    return _ESCAPE.sub(lambda found: "\n" if found[1] == "n" else found[1], text)


def _why(error: Exception) -> str:
    if isinstance(error, TimeoutError):
        return f"no response within {TIMEOUT:g} s"
    number = error.errno if isinstance(error, OSError) else None
    if number is not None and number > 0 and not hasattr(error, "reason"):
        return os.strerror(number)
    return str(error) or type(error).__name__

"""The error page that browsers get while the application is down."""

from __future__ import annotations

import html
import socket
import threading

from ember.cli.dev.hosts import Hosts, refusal
from ember.responses.debug_page import POLICY

#: Seconds in which a client has to send its request.
REQUEST_TIMEOUT = 2.0
_STYLE = (
    "body{font:15px/1.5 system-ui,sans-serif;margin:0;background:#191512;color:#eee4dc}"
    "header{background:#c2410c;color:#fff;padding:24px 32px}h1{font-size:22px;margin:0}"
    "p{margin:4px 0;opacity:.85}pre{padding:16px 32px;margin:0;overflow:auto;"
    "font:14px/1.6 ui-monospace,monospace;white-space:pre-wrap}"
)


_HEAD = (
    b"HTTP/1.1 %b\r\nContent-Type: text/%b; charset=utf-8\r\nContent-Security-Policy: %b\r\n"
    b"X-Content-Type-Options: nosniff\r\nReferrer-Policy: no-referrer\r\n"
    b"Cache-Control: no-store\r\nConnection: close\r\nContent-Length: %d\r\n\r\n"
)


def page(text: str) -> bytes:
    """The error as HTML. The page reloads every second."""
    head, _, rest = text.strip().partition("\n")
    return (
        "<!doctype html><html lang=en><meta charset=utf-8><meta http-equiv=refresh content=1>"
        f"<title>Ember: the application is down</title><style>{_STYLE}</style>"
        f"<header><h1>{html.escape(head.removeprefix('ember: '))}</h1>"
        "<p>ember dev starts it again when a file changes; this page follows.</p></header>"
        f"<pre>{html.escape(rest.strip())}</pre></html>"
    ).encode()


class Overlay:
    """Serves the error page on a listening socket, between `start` and `stop`."""

    def __init__(self, sock: socket.socket, text: str, hosts: Hosts) -> None:
        self._sock = sock
        self._hosts = hosts
        self._page = page(text)
        self._over = threading.Event()
        self._thread = threading.Thread(target=self._serve, daemon=True)

    def start(self) -> None:
        """Start to serve."""
        self._thread.start()

    def stop(self) -> None:
        """Stop to serve."""
        self._over.set()
        self._thread.join()

    def _serve(self) -> None:
        import select

        while not self._over.is_set():
            ready, _, _ = select.select([self._sock], [], [], 0.02)
            if not ready:
                continue
            try:
                client, _ = self._sock.accept()
            except OSError:  # the client has left
                continue
            threading.Thread(target=self._answer, args=(client,), daemon=True).start()

    def _answer(self, client: socket.socket) -> None:
        with client:
            client.settimeout(REQUEST_TIMEOUT)
            request = b""
            try:
                while b"\r\n\r\n" not in request and len(request) < 65536:
                    data = client.recv(65536)
                    if not data:
                        return
                    request += data
                client.sendall(self._response(request))
                client.shutdown(socket.SHUT_WR)
                while client.recv(65536):
                    pass  # unread bytes would reset the connection before the response arrives
            except OSError:
                return  # the client has left

    def _response(self, request: bytes) -> bytes:
        status, kind, body = b"500 Internal Server Error", b"html", self._page
        for host in _hosts(request):
            if not self._hosts.allow(host):
                status, kind, body = b"403 Forbidden", b"plain", refusal(host).encode()
        head = _HEAD % (status, kind, POLICY.encode(), len(body))
        return head if request.startswith(b"HEAD ") else head + body


def _hosts(request: bytes) -> list[str]:
    """The `Host` fields of a request head."""
    fields = (line.partition(b":") for line in request.partition(b"\r\n\r\n")[0].split(b"\r\n")[1:])
    return [v.strip().decode("latin-1") for n, _, v in fields if n.strip().lower() == b"host"]

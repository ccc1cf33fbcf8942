"""Bytes that look like requests, mostly: grammar, mutation, and pieces of the corpus."""

from __future__ import annotations

import random
from collections.abc import Callable, Sequence

METHODS = [
    "GET",
    "POST",
    "HEAD",
    "OPTIONS",
    "PUT",
    "DELETE",
    "PATCH",
    "CONNECT",
    "FOO",
    "get",
    "M-X",
    "",
]
TARGETS = [
    "/",
    "/a",
    "/a?b=c",
    "/%41",
    "/a%20b",
    "*",
    "http://h/",
    "http://h",
    "http://u@h/",
    "h:80",
    "//",
    "/a#b",
    "/%00",
    "/%ff",
    "/%C0%AF",
    "/a b",
    "/?a[]=|",
    "/a|b",
    "/\xe9",
    "",
    "?",
    "/%",
    "/%4",
    "/?%zz",
    "/a;b",
    "https://h:1/x?y",
    "ftp://h/",
    "/" + "a" * 300,
    "*a",
    "/\\",
    "/a\x7f",
    "http://[::1]/",
    "/unread",
    "/ten",
]
VERSIONS = ["HTTP/1.1"] * 12 + [
    "HTTP/1.0",
    "HTTP/1.0",
    "HTTP/1.2",
    "HTTP/2.0",
    "HTTP/0.9",
    "http/1.1",
    "HTTP/1.10",
    "HTTP/1",
    "HTTP/1.1 ",
    "",
]
HOSTS = ["x"] * 10 + ["", "a:80", "a:99999", "[::1]:1", "a b", "a@b", "a/b", "[x]", "\xe9", "a,b"]
FIELDS = [
    "A: b",
    "A:b",
    "A:",
    "A: \t b \t",
    "A : b",
    "A b: c",
    ": b",
    "A",
    "A: b\x01",
    "A: \x80\xff",
    "A: b\x7f",
    "A\x80: b",
    "Connection: close",
    "Connection: keep-alive",
    "Connection: foo, close",
    "Expect: 100-continue",
    "Expect: foo",
    "Transfer-Encoding: chunked",
    "Transfer-Encoding: gzip, chunked",
    "Transfer-Encoding: xchunked",
    "Transfer-Encoding: identity",
    "Transfer-Encoding:\x0bchunked",
    "Content-Length: 3",
    "Content-Length: 5",
    "Content-Length: +3",
    "Content-Length: 3, 3",
    "Content-Length: 0",
    "Content-Length: 99999999999999999999",
    "content-length: 3",
    "Content-Length:",
    "X" * 200 + ": y",
    "Y: " + "z" * 500,
    "Transfer_Encoding: chunked",
    "Host: y",
    "Upgrade: websocket",
    "Cookie: a=b; c=d",
    "!#$%&'*+-.^_`|~: x",
    "A: b\rc",
    "A: b\x00c",
    "A: b\n c",
    "A: b\r\n c",
]
ENDS = ["\r\n"] * 120 + ["\n", "\r", "\r\r\n", "\n\r", ""]
CHUNK_LINES = [
    "3",
    "3",
    "3",
    "3",
    "03",
    "A",
    "a",
    "0",
    "3;a",
    "3;a=b",
    '3;a="b c"',
    "3 ;a",
    "3 ",
    " 3",
    "+3",
    "0x3",
    "g",
    "",
    "-1",
    "ffffffffffffffff",
    "3;\x01",
    "3\t",
    "5",
    "2",
]
TRAILERS = ["", "", "", "A: b", "A : b", "Content-Length: 3", "A", "\x01: b", " folded"]
SPECIAL = b'\r\n\t \0:;,="%/?#*@[]0123456789abcdefxHTP.-\x7f\x80\xff\x0b\x0c\x85\xa0'


class Generator:
    """Makes one input after the other, from one seed."""

    def __init__(self, seed: int, corpus: Sequence[bytes]) -> None:
        self.random = random.Random(seed)
        self.corpus = [data for data in corpus if len(data) < 4000]

    def next(self) -> bytes:
        """The next input."""
        r = self.random
        if self.corpus and r.random() < 0.3:
            data = r.choice(self.corpus)
        else:
            data = b"".join(self._request() for _ in range(r.choice((1, 1, 1, 2, 3))))
        if r.random() < 0.6:
            for _ in range(r.choice((1, 1, 1, 2, 4, 8))):
                data = r.choice(self._mutations)(self, data)
        return data[:20_000]

    def cuts(self, data: bytes) -> list[bytes]:
        """`data` in random pieces."""
        r = self.random
        if len(data) < 2 or r.random() < 0.1:
            return [data]
        if len(data) < 400 and r.random() < 0.15:
            return [data[i : i + 1] for i in range(len(data))]
        places = sorted(r.randrange(1, len(data)) for _ in range(r.randint(1, 5)))
        return [data[a:b] for a, b in zip([0, *places], [*places, len(data)], strict=True)]

    def _pick(self, usual: str, others: Sequence[str], rate: float = 0.2) -> str:
        return self.random.choice(others) if self.random.random() < rate else usual

    def _request(self) -> bytes:
        r = self.random
        method = self._pick("GET", METHODS, 0.4)
        target = self._pick("/", TARGETS, 0.4)
        version = self._pick("HTTP/1.1", VERSIONS)
        lines = [f"{method} {target} {version}"]
        if r.random() < 0.95:
            lines.append(f"Host: {self._pick('x', HOSTS)}")
        lines += [r.choice(FIELDS) for _ in range(r.choice((0, 0, 1, 2, 3)))]
        body = ""
        kind = r.random()
        if kind < 0.2:
            body = "x" * r.randint(0, 20)
            lines.append(f"Content-Length: {len(body) + r.choice((0, 0, 0, 0, 1, -1))}")
        elif kind < 0.5:
            lines.append("Transfer-Encoding: chunked")
            body = self._chunks()
        r.shuffle(lines[1:])
        head = "".join(line + r.choice(ENDS) for line in lines)
        return (head + r.choice(ENDS) + body).encode("latin-1")

    def _chunks(self) -> str:
        r = self.random
        out = ""
        for _ in range(r.randint(0, 3)):
            line = self._pick("3", CHUNK_LINES)
            out += f"{line}{r.choice(ENDS)}abc{r.choice(ENDS)}"
        out += "0" + r.choice(ENDS)
        trailer = self._pick("", TRAILERS)
        if trailer:
            out += trailer + r.choice(ENDS)
        return out + r.choice(ENDS)

    def _insert(self, data: bytes) -> bytes:
        at = self.random.randrange(len(data) + 1)
        return data[:at] + bytes([self.random.choice(SPECIAL)]) + data[at:]

    def _replace(self, data: bytes) -> bytes:
        if not data:
            return data
        at = self.random.randrange(len(data))
        return data[:at] + bytes([self.random.choice(SPECIAL)]) + data[at + 1 :]

    def _delete(self, data: bytes) -> bytes:
        at = self.random.randrange(len(data) + 1)
        return data[:at] + data[at + self.random.choice((1, 1, 2, 5)) :]

    def _flip(self, data: bytes) -> bytes:
        if not data:
            return data
        at = self.random.randrange(len(data))
        return data[:at] + bytes([data[at] ^ (1 << self.random.randrange(8))]) + data[at + 1 :]

    def _double(self, data: bytes) -> bytes:
        a, b = sorted(self.random.randrange(len(data) + 1) for _ in range(2))
        return data[:b] + data[a:b] + data[b:]

    def _splice(self, data: bytes) -> bytes:
        other = self.random.choice(self.corpus) if self.corpus else data
        a = self.random.randrange(len(data) + 1)
        return data[:a] + other[self.random.randrange(len(other) + 1) :]

    def _cut(self, data: bytes) -> bytes:
        return data[: self.random.randrange(len(data) + 1)]

    _mutations: tuple[Callable[[Generator, bytes], bytes], ...] = (
        _insert,
        _replace,
        _delete,
        _flip,
        _double,
        _splice,
        _cut,
    )

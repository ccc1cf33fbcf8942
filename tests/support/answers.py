"""Answers as a client reads them (RFC 9112 section 6.3)."""

from __future__ import annotations

from collections.abc import Callable, Iterable


class Answer:
    """One answer: `status`, `reason`, `fields` in order, `headers` by lower-case name, `body`."""

    def __init__(
        self, status: int, reason: str, fields: list[tuple[str, str]], body: bytes = b""
    ) -> None:
        self.status = status
        self.reason = reason
        self.fields = fields
        self.headers: dict[str, list[str]] = {}
        for name, value in fields:
            self.headers.setdefault(name.lower(), []).append(value)
        self.body = body

    def header(self, name: str) -> str | None:
        """The only value of `name`; None when there is none."""
        values = self.headers.get(name.lower(), [])
        assert len(values) < 2, f"{name} was sent {len(values)} times"
        return values[0] if values else None

    def __repr__(self) -> str:
        return f"<Answer {self.status} {self.body[:60]!r}>"


class Incomplete(Exception):
    """The connection ended in the middle of an answer."""


class Reader:
    """Takes answers from a source of bytes: `more()` gives some, or none at the end."""

    def __init__(self, more: Callable[[], bytes]) -> None:
        self._more = more
        self.buffer = bytearray()

    def fill(self) -> bool:
        """Read more; False at the end."""
        data = self._more()
        self.buffer += data
        return bool(data)

    def until(self, mark: bytes) -> bytes:
        """Everything up to and with `mark`."""
        start = 0
        while (at := self.buffer.find(mark, start)) < 0:
            start = max(0, len(self.buffer) - len(mark))
            if not self.fill():
                raise Incomplete(f"closed before {mark!r}; got {bytes(self.buffer)!r}")
        return self.take(at + len(mark))

    def take(self, size: int) -> bytes:
        """The next `size` bytes."""
        while len(self.buffer) < size:
            if not self.fill():
                raise Incomplete(f"closed {size - len(self.buffer)} bytes too early")
        data = bytes(self.buffer[:size])
        del self.buffer[:size]
        return data

    def rest(self) -> bytes:
        """Everything until the end."""
        while self.fill():
            pass
        return self.take(len(self.buffer))

    def chunk(self) -> bytes:
        """The next chunk of a chunked body; empty for the last one."""
        data = self.take(int(self.until(b"\r\n").split(b";")[0], 16))
        assert self.take(2) == b"\r\n"
        return data

    def head(self) -> Answer:
        """The head of the next answer; its body is left."""
        head = self.until(b"\r\n\r\n").decode("latin-1")
        status_line, *lines = head[:-4].split("\r\n")
        version, status, *reason = status_line.split(" ", 2)
        assert version == "HTTP/1.1", status_line
        fields = []
        for line in lines:
            name, colon, value = line.partition(":")
            assert colon, f"no field: {line!r}"
            fields.append((name, value.strip()))
        return Answer(int(status), reason[0] if reason else "", fields)

    def answer(self, method: str = "GET") -> Answer:
        """The next answer to a request of `method`."""
        answer = self.head()
        if method == "HEAD" or answer.status in (204, 304) or answer.status < 200:
            return answer
        if "transfer-encoding" in answer.headers:
            assert "content-length" not in answer.headers, "two kinds of framing"
            chunks = []
            while chunk := self.chunk():
                chunks.append(chunk)
            answer.body = b"".join(chunks)
        elif (length := answer.header("content-length")) is not None:
            answer.body = self.take(int(length))
        else:
            answer.body = self.rest()
        return answer


def read_answers(data: bytes, methods: Iterable[str] = ()) -> list[Answer]:
    """Every answer in `data`; the requests had `methods`, GET when there are more answers."""
    left = [data]
    reader = Reader(lambda: left.pop() if left else b"")
    names = iter(methods)
    answers = []
    while reader.buffer or reader.fill():
        answers.append(reader.answer(next(names, "GET")))
    return answers

"""What a client writes into fields, queries and forms, through everything that reads it: nothing
but the answers that are meant for it may come out, and what is well-formed is read as it was meant.
"""

from __future__ import annotations

import asyncio
import contextlib
import random
import re
from collections.abc import AsyncIterator, Awaitable, Callable
from ipaddress import ip_address
from types import SimpleNamespace
from typing import Any
from urllib.parse import parse_qsl

from ember.exceptions import BadRequest, PayloadTooLarge, UnsupportedMediaType
from ember.forms.multipart import FormData, read_multipart
from ember.forms.upload import UploadFile
from ember.headers import Headers
from ember.limits import RouteLimits
from ember.protocol.message.cookies import parse_cookies
from ember.protocol.message.forwarded import client_ip
from ember.protocol.message.query import QueryParams, parse_query
from ember.responses.conditional import MAX_RANGES, Unsatisfiable, precondition, ranges
from ember.responses.negotiation import negotiate

from fuzz.engine import Finding

_DATES = (
    "Sun, 06 Nov 1994 08:49:37 GMT",
    "Sunday, 06-Nov-94 08:49:37 GMT",
    "Sun Nov  6 08:49:37 1994",
    "Sun, 06 Nov 99999 08:49:37 GMT",
    "Sun, 32 Nov 1994 08:49:37 GMT",
    "Sun, 06 Nov 1994 25:61:61 +9999",
    "6 Nov",
)
_PIECES: dict[str, tuple[str, ...]] = {
    "query": ("a", "b=c", "&", "&&", "=", "+", "%41", "%", "%4", "%zz", "%C3%A4", "%ff", "ä", ";"),
    "cookie": ("a=b", ";", "; ", "=", '"', '"a b"', "\t", "a", ",", "\xe9", "__Host-x=1", "$V=1"),
    "range": ("bytes", "=", "-", ",", "0", "5", "9", "10", "99", "0-0", "-1", "5-", "9" * 45, " "),
    "tags": ('"a"', 'W/"a"', '"', "W/", ",", ", ", "*", "a", '"b"', '""', "\\", "\xe9", '"a'),
    "date": (*_DATES, "", " ", ",", "GMT", ":", "-", "+0000", "Nov", "1994", "08:49:37", "("),
    "forwarded": (
        *("for=192.0.2.1", ";", ",", "=", '"', "[", "]", ":", '"[2001:db8::1]:80"', "unknown"),
        *("10.0.0.1", "by=_x", "FOR =", "proto=https", "::1", "[", "192.0.2.7:80", " "),
    ),
    "accept": ("gzip", "br", "*", "identity", ";q=", "0.5", "nan", "1e9", "-1", ",", ";", "=", " "),
}
#: What else the parser lets into a field (RFC 9110 section 5.5).
_OTHERS = (*range(0x20, 0x7F), *range(0x80, 0x100))
_PEERS = ("10.0.0.1", "10.0.0.2")
_BOUNDARY = "b0undary"
_PARTS = (
    "--b0undary",
    "--b0undary--",
    "\r\n",
    "\r\n\r\n",
    "--",
    "\n",
    'Content-Disposition: form-data; name="a"',
    'Content-Disposition: form-data; name="f"; filename="x\\"/../y"',
    "Content-Disposition: form-data",
    "Content-Disposition: form-data; name*=utf-8''%ff; filename*=x",
    "Content-Type: text/plain",
    "Content-Transfer-Encoding: base64",
    ": x",
    "x",
    "\x00",
    "\xff",
    "z" * 50,
)
_TYPES = (
    f"multipart/form-data; boundary={_BOUNDARY}",
    f'multipart/form-data; boundary="{_BOUNDARY}"',
    "multipart/form-data",
    "multipart/form-data; boundary=",
    "multipart/form-data; boundary*=utf-8''x",
    "text/plain; boundary=x",
    ";;=",
    '"',
    "",
)


#: Of each part its name, its content, its file's name.
Parts = list[tuple[str, str, str | None]]


def _addresses(text: str) -> set[str]:
    """The addresses in a text, as Ember writes them: `::110.0.0.1` is `::6e00:1`."""
    found = set()
    for part in re.findall(r"[0-9A-Fa-f:.]+", text):
        with contextlib.suppress(ValueError):
            found.add(str(ip_address(part)))
    return found


class FieldsFuzzer:
    """`check()` one round of every reader; raises `Finding`. `counts`: what came out, by kind."""

    def __init__(self, seed: int) -> None:
        self._random = random.Random(seed)
        self.counts: dict[str, int] = {}

    async def check(self) -> None:
        """Raises `Finding`, which names the reader and what it was given."""
        readers: tuple[Callable[[], object], ...] = (
            self._query,
            self._cookies,
            self._ranges,
            self._preconditions,
            self._forwarded,
            self._accept,
            self._form,
            self._right_form,
        )
        for reader in readers:
            name = reader.__name__.strip("_")
            self._given: object = None
            try:
                came = reader()
                if isinstance(came, Awaitable):
                    came = await came
            except Finding:
                raise
            except Exception as error:
                raise Finding(f"{name}: {error!r} of {self._given!r}") from error
            key = f"{name}: {came}"
            self.counts[key] = self.counts.get(key, 0) + 1

    # -- what is made up ----------------------------------------------------------------------

    def _text(self, kind: str, most: int = 12) -> str:
        r = self._random
        text = "".join(r.choice(_PIECES[kind]) for _ in range(r.randrange(most)))
        if text and r.random() < 0.2:
            at = r.randrange(len(text))
            text = text[:at] + chr(r.choice(_OTHERS)) + text[at + r.randrange(3) :]
        return text

    def _must(self, right: object, what: str) -> None:
        if not right:
            raise Finding(f"{what}: {self._given!r}")

    # -- the readers --------------------------------------------------------------------------

    def _query(self) -> str:
        given = self._text("query", 40).encode()
        if self._random.random() < 0.1:
            given += self._random.randbytes(4)
        self._given = given
        pairs = parse_query(given)
        # The peer drops what has no name and no value; here "=" is a pair of two empty strings.
        peer = parse_qsl(given.decode("utf-8", "replace"), keep_blank_values=True, errors="replace")
        self._must(pairs == peer, f"query: {pairs!r}, and urllib's parse_qsl {peer!r}")
        params = QueryParams(pairs)
        for name, _ in pairs:
            values = [value for key, value in pairs if key == name]
            self._must(params.get_all(name) == values, "query: get_all")
            self._must(params[name] == values[0], "query: the first value")
        return "read"

    def _cookies(self) -> str:
        given = self._given = self._text("cookie")
        found = parse_cookies(given)
        for name, value in found.items():
            self._must(name and not set(name) & set(";="), f"a cookie's name {name!r}")
            self._must(";" not in value and value in given, f"a cookie's value {value!r}")
        return "some" if found else "none"

    def _ranges(self) -> str:
        given, size = self._text("range"), self._random.choice((0, 1, 10, 100))
        if self._random.random() < 0.7:
            given = "bytes=" + given
        self._given = given, size
        headers = Headers([("Range", given)])
        try:
            found = ranges(headers, size, '"a"', 0)
        except Unsatisfiable:
            return "none of the file"
        if found is None:
            return "the whole file"
        asked: set[int] = set()
        for part in given.partition("=")[2].split(","):
            first, _, last = part.strip(" \t").partition("-")
            if first:
                asked.update(range(int(first), min(int(last or size), size - 1) + 1))
            elif last:
                asked.update(range(max(0, size - int(last)), size))
        sent = [at for first, end in found for at in range(first, end)]
        self._must(len(sent) == len(set(sent)), f"bytes that are sent twice: {found!r}")
        self._must(set(sent) == asked, f"other bytes than were asked for: {found!r}")
        self._must(0 < len(found) <= MAX_RANGES, "too many parts")
        return "parts"

    def _preconditions(self) -> str:
        r = self._random
        fields = [
            (name, self._text("tags" if name in ("If-Match", "If-None-Match") else "date", 4))
            for name in ("If-Match", "If-None-Match", "If-Modified-Since", "If-Unmodified-Since")
            if r.random() < 0.5
        ]
        fields += [("Range", "bytes=0-1"), ("If-Range", self._text(r.choice(("tags", "date")), 3))]
        etag = r.choice(('"a"', 'W/"a"'))
        self._given = fields, etag
        headers = Headers(fields)
        status = precondition(headers, etag, 784111777)
        self._must(status in (200, 304, 412), f"the status {status}")
        found = ranges(headers, 10, etag, 784111777)
        self._must(found in (None, [(0, 2)]), f"the ranges {found!r}")
        return str(status)

    def _forwarded(self) -> str:
        r = self._random
        fields = [
            (name, self._text("forwarded"))
            for name in ("Forwarded", "X-Forwarded-For", "X-Forwarded-For", "Forwarded")
            if r.random() < 0.5
        ]
        peer = r.choice(_PEERS)
        trusted = r.choice(((), ("10.0.0.1",), _PEERS, ("*",)))
        self._given = fields, peer, trusted
        found = client_ip((peer, 1), Headers(fields), trusted)
        if found is None:
            raise Finding(f"no client: {self._given!r}")
        if peer not in trusted and "*" not in trusted:
            self._must(found == peer, f"a peer that nobody trusts said that it is {found!r}")
        said = ",".join(value for _, value in fields)
        self._must(
            found == peer or found in said or found in _addresses(said),
            f"a client that nobody named: {found!r}",
        )
        return "the peer" if found == peer else "another"

    def _accept(self) -> str:
        given = self._given = self._text("accept")
        offered = ("zstd", "br", "gzip")
        found = negotiate(given, offered)
        self._must(found is None or found in offered, f"{found!r} was not offered")
        self._must(found is None or "*" in given or found in given.lower(), f"{found!r}")
        return str(found)

    # -- forms --------------------------------------------------------------------------------

    async def _form(self) -> str:
        r = self._random
        text = f"--{_BOUNDARY}\r\n" if r.random() < 0.8 else ""
        text += "".join(r.choice(_PARTS) for _ in range(r.randrange(30)))
        body, kind = text.encode("latin-1"), r.choice((_TYPES[0], *_TYPES))
        self._given = kind, body
        whole = await self._read(kind, [body])
        split = await self._read(kind, self._cuts(body))
        self._must(whole == split, f"whole {whole!r} and split {split!r} differ")
        return whole if isinstance(whole, str) else "read"

    async def _right_form(self) -> str:
        """What is well-formed comes out as it was put in."""
        r = self._random
        sent: Parts = []
        body = bytearray()
        for _ in range(r.randrange(5)):
            name, filename = f"n{r.randrange(9)}", r.choice((None, "x.txt", "ä b.bin"))
            content = "".join(
                r.choice(("a", "\r\n", "--", "\r", f"-{_BOUNDARY}", "--b0u", "ä"))
                for _ in range(r.randrange(12))
            )
            if f"\r\n--{_BOUNDARY}" in f"\r\n{content}":
                continue
            sent.append((name, content, filename))
            rest = "" if filename is None else f'; filename="{filename}"'
            body += f"--{_BOUNDARY}\r\n".encode()
            body += f'Content-Disposition: form-data; name="{name}"{rest}\r\n\r\n'.encode()
            body += content.encode() + b"\r\n"
        body += f"--{_BOUNDARY}--\r\n".encode()
        self._given = bytes(body)
        found = await self._read(_TYPES[0], self._cuts(bytes(body)))
        self._must(found == sent, f"sent {sent!r}, read {found!r}")
        return "read"

    def _cuts(self, data: bytes) -> list[bytes]:
        r = self._random
        if r.random() < 0.3:
            return [data[at : at + 1] for at in range(len(data))]
        marks = sorted(r.randrange(len(data) + 1) for _ in range(r.randrange(6)))
        return [data[a:b] for a, b in zip([0, *marks], [*marks, len(data)], strict=True)]

    async def _read(self, kind: str, pieces: list[bytes]) -> str | Parts:
        """The form, or how it was refused."""
        later: list[Callable[[], Awaitable[object]]] = []

        async def stream() -> AsyncIterator[bytes]:
            for piece in pieces:
                yield piece

        request: Any = SimpleNamespace(
            context={},
            limits=RouteLimits(max_parts=4, max_part_size=500, in_memory_threshold=100),
            headers=Headers([("Content-Type", kind)]),
            stream=stream(),
            after_response=later.append,
        )
        try:
            form: FormData = await read_multipart(request)
        except (BadRequest, PayloadTooLarge, UnsupportedMediaType) as error:
            return type(error).__name__
        parts: Parts = []
        for name, value in form.items():
            if isinstance(value, UploadFile):
                parts.append(
                    (name, (await value.read()).decode("utf-8", "replace"), value.filename)
                )
            else:
                parts.append((name, value, None))
        while later:
            await later.pop()()
        return parts


async def run(seconds: float, seed: int) -> dict[str, int]:
    """Fuzz so long. What came out, by reader; raises `Finding`."""
    loop = asyncio.get_running_loop()
    fuzzer, end = FieldsFuzzer(seed), loop.time() + seconds
    while loop.time() < end:
        await fuzzer.check()
    return fuzzer.counts

"""Reads the corpus: Markdown documents with an `http` block and an `answer` block per case."""

from __future__ import annotations

import json
import re
from collections.abc import Iterator
from pathlib import Path
from typing import Any

CASES = Path(__file__).parent / "cases"

_section = re.compile(
    r"^## (?P<title>[^\n]+)\n\n(?P<rule>[^\n]+)\n\n```http\n(?P<request>.*?)\n```\n\n"
    r"```answer\n(?P<answer>.*?)\n```$",
    re.MULTILINE | re.DOTALL,
)
_escape = re.compile(r"\\(?:x([0-9a-f]{2})|\((.+?)\*([0-9]+)\)|([nrt\\]))")
_SIMPLE = {"n": "\n", "r": "\r", "t": "\t", "\\": "\\"}


class Case:
    """One case: `data` is sent, `answers` come back: (status, what the application saw)."""

    def __init__(self, document: str, match: re.Match[str]) -> None:
        self.id = f"{document}: {match['title']}"
        self.rule = match["rule"]
        self.data = read_request(match["request"])
        *lines, end = match["answer"].split("\n")
        if end not in ("open", "closed"):
            raise ValueError(
                f"{self.id}: the last line of an answer is open or closed, not {end!r}"
            )
        self.closed = end == "closed"
        self.answers: list[tuple[int, dict[str, Any]]] = []
        for line in lines:
            status, _, seen = line.partition(" ")
            self.answers.append((int(status), json.loads(seen) if seen else {}))


def read_request(text: str) -> bytes:
    """The bytes of an `http` block."""
    out = []
    for line in text.split("\n"):
        # A backslash at the end that is not itself escaped: no CRLF follows.
        slashes = len(line) - len(line.rstrip("\\"))
        if slashes % 2:
            out.append(_unescape(line[:-1]))
        else:
            out.append(_unescape(line) + "\r\n")
    return "".join(out).encode("latin-1")


def _unescape(line: str) -> str:
    def replace(match: re.Match[str]) -> str:
        if match[1]:
            return chr(int(match[1], 16))
        if match[2]:
            return _unescape(match[2]) * int(match[3])
        return _SIMPLE[match[4]]

    return _escape.sub(replace, line)


def write_request(data: bytes) -> str:
    """`data` as an `http` block, the way back of `read_request`."""
    names = {"\n": "\\n", "\r": "\\r", "\t": "\\t", "\\": "\\\\"}
    lines = [
        "".join(names.get(c) or (c if " " <= c <= "~" else f"\\x{ord(c):02x}") for c in line)
        for line in data.decode("latin-1").split("\r\n")
    ]
    last = lines.pop()
    return "\n".join([*lines, last + "\\"] if last else lines)


def read_cases() -> Iterator[Case]:
    """Every case of every document."""
    for path in sorted(CASES.glob("*.md")):
        text = path.read_text()
        found = 0
        for match in _section.finditer(text):
            found += 1
            yield Case(path.stem, match)
        written = text.count("\n## ")
        if found != written:
            raise ValueError(f"{path.name}: {written} headings and {found} readable cases")

"""Where Ember differs from httptools and h11, and why: each rule has a name and is checked on the
bytes themselves, so that a refusal without its reason is a finding."""

from __future__ import annotations

import re
from collections.abc import Callable

Check = Callable[[bytes], object]


def has(pattern: bytes) -> Check:
    """Whether the pattern is somewhere in the input."""
    return re.compile(pattern, re.DOTALL | re.IGNORECASE).search


def any_of(*checks: Check) -> Check:
    """Whether one of the checks is true."""
    return lambda data: any(check(data) for check in checks)


_LINE_ENDS = any_of(has(rb"(?<!\r)\n"), has(rb"\r(?!\n|$)"))
_CONTROL = rb"[\x00-\x08\x0b-\x1f\x7f]"

#: The detail of a refusal to what must be true of the bytes for it to be right. Beside each the
#: reason for being stricter than a peer that accepts.
STRICTER: dict[str, Check] = {
    # RFC 9112 section 2.2: a recipient MAY accept a bare LF; smuggling is built from it.
    "a line ends in LF without CR": has(rb"(?:^|[^\r])\n"),
    # RFC 9112 section 2.2: a CR that is no part of a line end is no whitespace either.
    "a line has a CR without LF": has(rb"\r(?!\n)"),
    # RFC 9112 section 3: one space, three parts.
    "the request line is malformed": lambda data: True,
    "the HTTP version is malformed": lambda data: (
        not re.match(rb"(?:\r\n)*[^\r\n]* HTTP/[0-9]\.[0-9]\r\n", data)
        or len(re.findall(rb" HTTP/", data)) != len(re.findall(rb" HTTP/[0-9]\.[0-9]\r\n", data))
    ),
    # RFC 9110 section 15.6.6: another major version is another protocol.
    "only HTTP/1.0 and HTTP/1.1 are spoken here": has(rb" HTTP/[02-9]\.[0-9]"),
    # RFC 9110 section 9.1: no method is that long.
    "the method is too long": has(rb"[^ \r\n]{33}"),
    # RFC 9112 section 3.2: the grammar of RFC 3986, which llhttp does not ask for.
    "the request target is malformed": has(rb" [^/ \r\n][^ \r\n]* HTTP/"),
    "the request target has a character that must be encoded": any_of(
        has(rb" [^ \r\n]*[^\x21\x24-\x3b\x3d\x3f-\x5a\x5f\x61-\x7a\x7e% \r\n]"),
        has(rb" [^ \r\n]*%(?![0-9A-Fa-f]{2})[^ \r\n]* HTTP/"),
    ),
    "the request target has an encoded NUL": has(rb" [^ \r\n]*%00"),
    "the request target is not UTF-8": has(rb" [^ \r\n]*%[89A-Fa-f][0-9A-Fa-f]"),
    "the request target is too long": has(rb"[^ \r\n]{8100}"),
    "the authority of the request target is malformed": has(rb" https?://"),
    "the target * is for OPTIONS only": has(rb"[^ \r\n]+ \*[^ ]* HTTP/"),
    "the target of CONNECT is not host:port": has(rb"CONNECT "),
    "CONNECT is for proxies": has(rb"CONNECT "),
    # RFC 9112 section 5: names are tokens, nothing before the colon, no folding.
    "a header field is malformed": lambda data: any(
        re.match(rb"[!#$%&'*+\-.^_`|~0-9A-Za-z]+:", line) is None
        for line in data.split(b"\n")[1:]
        if line != b"\r"
    ),
    "a header field is folded over several lines": has(rb"\r\n[ \t]"),
    "a header field value has a control character": any_of(
        has(rb":[^\n]*" + _CONTROL + rb"[^\n]*\n"), _LINE_ENDS
    ),
    "the request has too many header fields": lambda data: data.count(b"\r\n") > 128,
    "the request head is too large": lambda data: len(data) > 65536,
    # RFC 9112 section 3.2: exactly one Host, and a valid one.
    "the request has no Host field": lambda data: (
        len(re.findall(rb"\nhost:", data.lower())) < len(re.findall(rb"HTTP/1\.[1-9]\r\n", data))
    ),
    "the request has more than one Host field": has(rb"\nhost:.*\nhost:"),
    "the Host field is malformed": has(
        rb"\nhost:[ \t]*(?:[^\r\n]*[^A-Za-z0-9\-._~!$&'()*+,;=%:\[\] \t\r\n]|[^\r\n]*%|[^\r\n]*:"
        rb"|[^\r\n]*[\[\]]|[^\r\n]*[^ \t\r\n][ \t]+[^ \t\r\n])"
    ),
    # RFC 9112 sections 6.1 and 6.3: framing that two readers could understand differently.
    "Content-Length and Transfer-Encoding exclude each other": lambda data: (
        b"content-length:" in data.lower() and b"transfer-encoding:" in data.lower()
    ),
    "a transfer coding is empty": has(
        rb"transfer-encoding:(?:[ \t]*(?:,|\r\n|$)|[^\r\n]*,[ \t]*(?:,|\r\n|$))"
    ),
    "Transfer-Encoding needs HTTP/1.1": has(rb"HTTP/1\.0\r\n.*transfer-encoding:"),
    "the last transfer coding is not chunked": has(rb"transfer-encoding:"),
    "the only transfer coding known here is chunked": any_of(
        has(rb"transfer-encoding:[^\r\n]*,"), has(rb"transfer-encoding:.*transfer-encoding:")
    ),
    "Content-Length is not one number": any_of(
        has(rb"content-length:[ \t]*(?![0-9]{1,18}[ \t]*\r\n)"),
        has(rb"content-length:.*content-length:"),
    ),
    # RFC 9110 section 10.1.1: an expectation that is not understood may be refused.
    "the only expectation known here is 100-continue": has(rb"expect:"),
    # RFC 9112 section 7.1: the grammar of chunks, to the letter.
    "a line of the chunked body ends in LF without CR": has(rb"(?:^|[^\r])\n"),
    "a chunk size is malformed": has(rb"transfer-encoding:"),
    "a chunk is longer than its size": has(rb"transfer-encoding:"),
    "a chunk extension is too long": has(rb"[^\r\n]{1000}"),
    "the trailer has too many fields": lambda data: data.count(b"\r\n") > 128,
    "the trailer is too large": lambda data: len(data) > 65536,
    # Limits of the routes that the fuzzer serves.
    "the request body is larger than 10 bytes": has(rb"/ten"),
    "the request body is larger than 4194304 bytes": has(rb"content-length:[ \t]*[0-9]{7}"),
}

_KNOWN = rb"(?:GET|HEAD|POST|PUT|DELETE|OPTIONS|TRACE|PATCH|PROPFIND|M-SEARCH) "
_WITH_BODY = re.compile(
    rb"content-length:[ \t]*([0-9]{1,6})[ \t]*\r\n(?:[^\r\n]+\r\n)*\r\n", re.IGNORECASE
)


def _strange_method_behind_a_body(data: bytes) -> bool:
    for head in _WITH_BODY.finditer(data):
        follows = data[head.end() + int(head[1]) :]
        if re.match(rb"[!-~]+ [^\r\n]* HTTP/", follows) and not re.match(_KNOWN, follows):
            return True
    return False


#: What Ember takes and a peer does not, by name: the peer is stricter than the RFC, or limited.
LOOSER: dict[str, Check] = {
    # llhttp knows a list of methods; RFC 9110 section 9.1 says token.
    "a method that llhttp does not know": has(
        rb"(?:^|\r\n)(?!(?-i:GET|HEAD|POST|PUT|DELETE|OPTIONS|TRACE|PATCH|PROPFIND|M-SEARCH) )"
        rb"[!-~]+ [^\r\n]* HTTP/"
    ),
    # The same where a body ends in the middle of a line.
    "a method that llhttp does not know, behind a body": _strange_method_behind_a_body,
    # h11 refuses an empty line before a request; RFC 9112 section 2.2 says ignore it.
    "an empty line before the request": any_of(has(rb"^\r\n"), has(rb"\r\n\r\n\r\n")),
    # White space before the semicolon of a chunk extension: BWS, to be parsed (RFC 9112 section
    # 7.1.1).
    "white space in a chunk extension": has(rb"\r\n[0-9A-Fa-f]+[ \t]+;"),
    # h11 reads a Content-Length among the trailers; they are dropped here (RFC 9110 section 6.5.1).
    "a framing field among the trailers": has(rb"\r\n0+[^\r\n]*\r\n.*(?:length|encoding|host):"),
    # A higher minor version is served as the highest known one (RFC 9110 section 2.5).
    "a higher minor version": has(rb" HTTP/1\.[2-9]\r\n"),
}

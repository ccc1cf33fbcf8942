"""The bodies that a test client sends: JSON, forms, multipart, bytes, or an async iterable."""

from __future__ import annotations

import json as json_module
from collections.abc import AsyncIterable, Iterable, Mapping
from typing import Any, TypeAlias
from urllib.parse import urlencode

#: A file of a form: its content, or (file name, content) or (file name, content, content type).
FileInit: TypeAlias = "bytes | tuple[str, bytes] | tuple[str, bytes, str]"
Content: TypeAlias = "bytes | str | AsyncIterable[bytes]"

BOUNDARY = "ember-test-client-boundary"


def encode_body(
    json: Any,
    data: Mapping[str, Any] | bytes | str | None,
    content: Content | None,
    files: Mapping[str, FileInit | list[FileInit]] | None,
) -> tuple[bytes | AsyncIterable[bytes] | None, str | None]:
    """Returns (body, content type); (None, None) if there is no body."""
    given = [json is not _NOTHING, content is not None, data is not None or files is not None]
    if sum(given) > 1:
        raise TypeError("give one of json=, content=, and data= (with files=)")
    if json is not _NOTHING:
        return _json(json), "application/json"
    if files is not None:
        if not isinstance(data, Mapping | None):
            raise TypeError("files= needs data= as a mapping of fields, or no data=")
        return _multipart(data or {}, files), f"multipart/form-data; boundary={BOUNDARY}"
    if isinstance(data, Mapping):
        return urlencode(_pairs(data)).encode(), "application/x-www-form-urlencoded"
    raw = content if content is not None else data
    if isinstance(raw, str):
        return raw.encode(), "text/plain; charset=utf-8"
    if raw is None or isinstance(raw, bytes):
        return raw, None
    if not hasattr(raw, "__aiter__"):
        raise TypeError(
            f"content: expected bytes, str or an async iterable, got {type(raw).__name__}"
        )
    return raw, None


#: `json=None` is a body, the JSON `null`.
_NOTHING: Any = object()


def _json(value: Any) -> bytes:
    # A test may send the data that the framework accepts: Structs, dataclasses, models.
    try:
        return json_module.dumps(value, ensure_ascii=False, separators=(",", ":")).encode()
    except TypeError:
        from ember.responses.conversion import encode_json

        return encode_json(value)


def _pairs(data: Mapping[str, Any]) -> list[tuple[str, Any]]:
    """Name and value of each field; a list gives its name several times."""
    pairs: list[tuple[str, Any]] = []
    for name, value in data.items():
        several = isinstance(value, Iterable) and not isinstance(value, str | bytes)
        pairs.extend((name, item) for item in (value if several else (value,)))
    return pairs


def encode_query(params: Mapping[str, Any]) -> str:
    """The query string of `params`. None leaves a name out; booleans are `true` and `false`."""
    return urlencode(
        [
            (name, str(value).lower() if isinstance(value, bool) else value)
            for name, value in _pairs(params)
            if value is not None
        ]
    )


def _multipart(data: Mapping[str, Any], files: Mapping[str, FileInit | list[FileInit]]) -> bytes:
    """RFC 7578."""
    parts = []
    for name, value in _pairs(data):
        raw = value if isinstance(value, bytes) else str(value).encode()
        parts.append(_part(f'name="{_quote(name)}"', None, raw))
    for name, given in files.items():
        for file in given if isinstance(given, list) else [given]:
            filename, raw, kind = _file(name, file)
            disposition = f'name="{_quote(name)}"; filename="{_quote(filename)}"'
            parts.append(_part(disposition, kind, raw))
    return b"".join(parts) + f"--{BOUNDARY}--\r\n".encode()


def _file(name: str, file: FileInit) -> tuple[str, bytes, str]:
    if isinstance(file, bytes):
        return name, file, "application/octet-stream"
    if len(file) == 2:
        return file[0], file[1], "application/octet-stream"
    return file


def _part(disposition: str, kind: str | None, raw: bytes) -> bytes:
    if f"--{BOUNDARY}".encode() in raw:
        raise ValueError(f"a part of the form contains the boundary --{BOUNDARY}")
    head = f"--{BOUNDARY}\r\nContent-Disposition: form-data; {disposition}\r\n"
    if kind is not None:
        head += f"Content-Type: {kind}\r\n"
    return f"{head}\r\n".encode() + raw + b"\r\n"


def _quote(name: str) -> str:
    # As browsers do it (WHATWG HTML, multipart/form-data encoding).
    return name.replace("\r", "%0D").replace("\n", "%0A").replace('"', "%22")

"""What requests and clients accept."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, TypedDict

from ember.testing.body import Content, FileInit


class RequestOptions(TypedDict, total=False):
    """What every request accepts besides its URL."""

    #: Added to the query; None leaves a name out, a list repeats it.
    params: Mapping[str, Any] | None
    headers: Mapping[str, str] | list[tuple[str, str]] | None
    #: With this request only; `client.cookies` go with every one.
    cookies: Mapping[str, str] | None
    json: Any
    #: A mapping is sent as a form; bytes and str as they are.
    data: Mapping[str, Any] | bytes | str | None
    #: The body; an async iterable is sent chunk by chunk.
    content: Content | None
    #: Name to bytes or (file name, bytes[, content type]), or a list of these.
    files: Mapping[str, FileInit | list[FileInit]] | None
    follow_redirects: bool
    #: Seconds; default that of the client.
    timeout: float | None
    #: The client leaves after so many bytes of the body it sends: Disconnected is raised.
    send_at_most: int | None
    #: The client leaves after so many bytes of the answer's body, which are its content.
    receive_at_most: int | None


class ClientOptions(TypedDict, total=False):
    """What `app.test_client` accepts; TestClient explains each."""

    base_url: str
    headers: Mapping[str, str] | None
    cookies: Mapping[str, str] | None
    follow_redirects: bool
    raise_exceptions: bool
    timeout: float | None
    client: tuple[str, int]

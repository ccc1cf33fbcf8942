"""The options of requests and of clients."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, TypedDict

from ember.testing.body import Content, FileInit


class RequestOptions(TypedDict, total=False):
    """The options of every request, besides its URL."""

    #: Added to the query; None leaves a name out, a list repeats it.
    params: Mapping[str, Any] | None
    headers: Mapping[str, str] | list[tuple[str, str]] | None
    #: For this request only; `client.cookies` are sent with every request.
    cookies: Mapping[str, str] | None
    json: Any
    #: A mapping is sent as a form; bytes and str as they are.
    data: Mapping[str, Any] | bytes | str | None
    #: The body; an async iterable is sent chunk by chunk.
    content: Content | None
    #: Name to bytes or (file name, bytes[, content type]), or a list of these.
    files: Mapping[str, FileInit | list[FileInit]] | None
    follow_redirects: bool
    #: Seconds; default: the timeout of the client.
    timeout: float | None
    #: Disconnect after so many bytes of the request body. Disconnected is raised.
    send_at_most: int | None
    #: Disconnect after so many bytes of the response body. They are its content.
    receive_at_most: int | None


class ClientOptions(TypedDict, total=False):
    """The options of `app.test_client`; TestClient explains them."""

    base_url: str
    headers: Mapping[str, str] | None
    cookies: Mapping[str, str] | None
    follow_redirects: bool
    raise_exceptions: bool
    timeout: float | None
    client: tuple[str, int]

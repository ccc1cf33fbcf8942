"""What a request needs of the parser, the body and the connection that made it."""

from __future__ import annotations

from typing import Any, Protocol


class Framing(Protocol):
    """What the head says about the body."""

    chunked: bool
    length: int

    @property
    def has_body(self) -> bool: ...


class Head(Protocol):
    """The head of a request, as received."""

    method: str
    target: bytes
    raw_path: bytes
    query: bytes
    minor: int
    fields: list[tuple[bytes, bytes]]

    @property
    def framing(self) -> Framing: ...


class Source(Protocol):
    """A body that is read piece by piece; empty at its end."""

    async def read(self) -> bytes: ...


class TLSInfo(Protocol):
    """What TLS knows of the connection that a request came over."""

    @property
    def version(self) -> str:
        """`"TLSv1.3"` or `"TLSv1.2"`."""

    @property
    def cipher(self) -> str:
        """The name of the cipher suite."""

    @property
    def alpn(self) -> str | None:
        """The protocol that was agreed on (RFC 7301); None when the client named none of ours."""

    @property
    def client_cert(self) -> dict[str, Any] | None:
        """The verified certificate of the client, as `ssl.SSLSocket.getpeercert()` gives it; None
        when the client gave none or was not asked."""

    @property
    def client_cert_der(self) -> bytes | None:
        """The same certificate as DER."""

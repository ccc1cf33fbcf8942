"""Errors with an HTTP meaning. The type says which side is at fault; the class has the status."""

from __future__ import annotations

from ember.constants import reason

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Mapping

__all__ = [
    "BadRequest",
    "ClientDisconnected",
    "Conflict",
    "Forbidden",
    "GatewayTimeout",
    "HTTPError",
    "IncompleteResponse",
    "InternalServerError",
    "InvalidResponse",
    "MethodNotAllowed",
    "NotFound",
    "PayloadTooLarge",
    "ProtocolError",
    "ServiceUnavailable",
    "TooManyRequests",
    "Unauthorized",
    "UnprocessableEntity",
    "UnsupportedMediaType",
]


class HTTPError(Exception):
    """A response with an error status, raised instead of returned.

    `status` is 400 to 599; `detail` is shown to the client (default: the reason phrase); `headers`
    are added to the response. Raises `ValueError` for a status that is not an error.
    """

    status: int
    detail: str
    headers: dict[str, str]

    def __init__(
        self, status: int, detail: str | None = None, headers: Mapping[str, str] | None = None
    ) -> None:
        if not 400 <= status <= 599:
            raise ValueError(f"HTTPError({status!r}): an error status is between 400 and 599")
        self.status = int(status)
        self.detail = reason(status) if detail is None else detail
        self.headers = dict(headers) if headers else {}
        super().__init__(status, self.detail)

    @property
    def status_code(self) -> int:
        """The same as `status`."""
        return self.status

    def __str__(self) -> str:
        return f"{self.status} {self.detail}"


class _Fixed(HTTPError):
    STATUS = 500

    def __init__(self, detail: str | None = None, headers: Mapping[str, str] | None = None) -> None:
        super().__init__(self.STATUS, detail, headers)


class BadRequest(_Fixed):
    """400: the request cannot be understood."""

    STATUS = 400


class Unauthorized(_Fixed):
    """401: credentials are missing or wrong."""

    STATUS = 401


class Forbidden(_Fixed):
    """403: understood and refused."""

    STATUS = 403


class NotFound(_Fixed):
    """404: nothing is there."""

    STATUS = 404


class MethodNotAllowed(_Fixed):
    """405: the resource does not have this method; `headers` should carry `Allow`."""

    STATUS = 405


class Conflict(_Fixed):
    """409: the state of the resource forbids it."""

    STATUS = 409


class PayloadTooLarge(_Fixed):
    """413: the body is larger than the route takes."""

    STATUS = 413


class UnsupportedMediaType(_Fixed):
    """415: the body has a type that the route does not take."""

    STATUS = 415


class UnprocessableEntity(_Fixed):
    """422: well-formed, and wrong."""

    STATUS = 422


class TooManyRequests(_Fixed):
    """429: slow down."""

    STATUS = 429


class InternalServerError(_Fixed):
    """500: the server's fault."""

    STATUS = 500


class ServiceUnavailable(_Fixed):
    """503: not now."""

    STATUS = 503


class GatewayTimeout(_Fixed):
    """504: an upstream server did not respond in time."""

    STATUS = 504


class ProtocolError(Exception):
    """The peer broke HTTP/1.1. `status` is for the response; where the next message begins is
    not known. `quiet`: log it at DEBUG only."""

    status: int
    detail: str
    quiet: bool

    def __init__(self, status: int, detail: str, *, quiet: bool = False) -> None:
        self.status = status
        self.detail = detail
        self.quiet = quiet
        super().__init__(status, detail)

    def __str__(self) -> str:
        return f"{self.status} {self.detail}"


class ClientDisconnected(ConnectionError):
    """The client left while its request body was read or its response was sent."""


class InvalidResponse(ConnectionError):
    """A server sent something that is not HTTP/1.1, or that two readers could understand
    differently. The connection cannot be used any more."""


class IncompleteResponse(InvalidResponse):
    """The server ended the connection without a response, or in the middle of one."""

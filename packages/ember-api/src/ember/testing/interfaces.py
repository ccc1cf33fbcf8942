"""What a test client has to know of the application."""

from __future__ import annotations

from typing import TYPE_CHECKING, Protocol

if TYPE_CHECKING:
    from ember.protocol import Application
    from ember.protocol.telemetry.observer import Recorder
    from ember.request import Request

    class _Served(Application, Protocol):
        pass
else:
    _Served = Protocol


class Lifecycle(Protocol):
    """The start hooks that a client runs as a server does."""

    async def started(self) -> None:
        """Run what follows the moment at which the sockets listen."""


class ErrorHandler(Protocol):
    """The handler of one kind of errors; `general` is the one for everything."""

    @property
    def general(self) -> bool: ...


class ErrorHandlers(Protocol):
    """Which handler is for an error."""

    def find(self, error: BaseException, status: int) -> ErrorHandler | None: ...


class TestedApp(_Served, Protocol):
    """An application, as a test client sees it."""

    observer: Recorder | None

    @property
    def _errors(self) -> ErrorHandlers: ...

    @property
    def lifecycle(self) -> Lifecycle:
        """Its hooks."""

    def identify(self, request: Request | None) -> tuple[str, str | None]:
        """The id of what the connection refuses; see `ember.protocol.Application`."""

    async def startup(self) -> None:
        """Run what comes before the first request."""

    async def shutdown(self) -> None:
        """Run what comes after the last request."""

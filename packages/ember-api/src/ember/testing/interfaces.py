"""The parts of an application that a test client uses."""

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
    """The start hooks that a test client runs, as a server does."""

    async def started(self) -> None:
        """Run the hooks that run when the sockets listen."""


class ErrorHandler(Protocol):
    """An error handler. `general`: it handles unexpected errors."""

    @property
    def general(self) -> bool: ...


class ErrorHandlers(Protocol):
    """Finds the handler for an error."""

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
        """The id of a request that the connection refuses; see `ember.protocol.Application`."""

    async def startup(self) -> None:
        """Run the start hooks, before the first request."""

    async def shutdown(self) -> None:
        """Run the stop hooks, after the last request."""

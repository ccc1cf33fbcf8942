"""Testing an application in process: `app.test_client()`, and time in a test's hand."""

from __future__ import annotations

from ember.testing.answers import IncompleteResponse, TestResponse
from ember.testing.client import Disconnected, TestClient
from ember.testing.clock import Clock, run_with_clock
from ember.testing.events import EventStream, ReceivedEvent

__all__ = [
    "Clock",
    "Disconnected",
    "EventStream",
    "IncompleteResponse",
    "ReceivedEvent",
    "TestClient",
    "TestResponse",
    "run_with_clock",
]

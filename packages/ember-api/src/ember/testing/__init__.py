"""Tests of an application in the same process: `app.test_client()`, and a clock for tests."""

from __future__ import annotations

from ember.testing.client import Disconnected, TestClient
from ember.testing.clock import Clock, run_with_clock
from ember.testing.events import EventStream, ReceivedEvent
from ember.testing.responses import IncompleteResponse, TestResponse

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

"""Services as processes, for the tests of this folder."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.support.service import Serve, Service, start


@pytest.fixture
def serve(tmp_path: Path) -> Iterator[Serve]:
    """`serve("--workers", "2")`: `ember start` in tmp_path, once it serves."""
    running: list[Service] = []

    def begin(*options: str, command: list[str] | None = None, **more: object) -> Service:
        service = Service(tmp_path, command or start(tmp_path, *options), **more)  # type: ignore[arg-type]
        running.append(service)
        service.wait_until_it_serves()
        return service

    yield begin
    for service in running:
        service.kill()

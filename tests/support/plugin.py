"""Fixtures: `serve(app)` runs a server in a thread, `memory(app)` a connection without a socket."""

from __future__ import annotations

import gc
import os
from collections.abc import Callable, Iterator

import pytest
from ember._logs import forget_floods
from ember.protocol import MemoryConnection

from tests.support.interrupts import heed_interrupts
from tests.support.server import Running, ServeFixture


def pytest_configure(config: pytest.Config) -> None:
    """Before anything is started."""
    heed_interrupts()
    if hasattr(config, "workerinput") or not config.getoption("numprocesses", None):
        # For the programs that tests start; we keep ours. A test writes a program and another of
        # the same length within the second by which Python tells that bytecode is of an older one.
        os.environ["PYTHONDONTWRITEBYTECODE"] = "1"
        # And where such a program is pytest, it need not load schemathesis either.
        os.environ["PYTEST_ADDOPTS"] = "-p no:schemathesis"


def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    """What takes long begins first: so all workers have something to do until the end."""
    items.sort(key=lambda item: item.get_closest_marker("slow") is None)


@pytest.hookimpl(wrapper=True)
def pytest_collection() -> Iterator[None]:
    """What is collected stays: the garbage collector need not look through it, hundreds of
    thousands of objects, each time that it runs, nor a test that counts what there is."""
    gc.disable()
    try:
        return (yield)
    finally:
        gc.enable()
        gc.collect()
        gc.freeze()


@pytest.fixture(autouse=True)
def no_floods_of_before() -> None:
    """What other tests have logged is not counted."""
    forget_floods()


@pytest.fixture
def serve() -> Iterator[ServeFixture]:
    """`serve(app, **options) -> Running`; every server is stopped, and checked for leaks, at the
    end."""
    running: list[Running] = []

    def start(app: object, **options: object) -> Running:
        server = Running(app, **options)
        running.append(server)
        return server

    yield start
    for server in reversed(running):
        server.stop()


@pytest.fixture
def memory() -> Callable[..., MemoryConnection]:
    """`memory(app, limits=...) -> MemoryConnection`."""
    return MemoryConnection

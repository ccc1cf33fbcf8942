"""Runs one of CPython's test modules on one loop and prints the outcome of every test as JSON.

python -m tests.loop.worker io_uring|epoll|asyncio MODULE [PATTERN ...]
"""

from __future__ import annotations

import asyncio
import asyncio.unix_events
import importlib
import json
import os
import sys
import traceback
import unittest
import warnings
from typing import Any


def patch(backend: str) -> None:
    """Makes every way in which the tests ask for a loop lead to ours."""
    from ember.eventloop import Loop

    class SelectorEventLoop(Loop):
        # The tests also come with select() and poll() selectors: the loop has its own.
        def __init__(self, selector: Any = None) -> None:
            if selector is not None:
                selector.close()
            super().__init__(backend=backend)

    SelectorEventLoop.__qualname__ = SelectorEventLoop.__name__
    for module in (asyncio, asyncio.unix_events):
        for name in ("SelectorEventLoop", "_UnixSelectorEventLoop", "EventLoop"):
            if hasattr(module, name):
                setattr(module, name, SelectorEventLoop)
    policy: Any = asyncio.DefaultEventLoopPolicy
    policy._loop_factory = SelectorEventLoop


class Result(unittest.TestResult):
    """Keeps one line per test: passed, failed, skipped."""

    def __init__(self) -> None:
        super().__init__()
        self.outcomes: dict[str, list[str]] = {}

    def startTest(self, test: unittest.TestCase) -> None:
        super().startTest(test)
        self.outcomes[test.id()] = ["passed", ""]
        if os.environ.get("EMBER_TEST_TRACE"):
            print(test.id(), file=sys.stderr, flush=True)

    def _fail(self, test: Any, err: Any) -> None:
        self.outcomes[test.id()] = ["failed", "".join(traceback.format_exception(*err))]

    def addError(self, test: Any, err: Any) -> None:
        self._fail(test, err)

    def addFailure(self, test: Any, err: Any) -> None:
        self._fail(test, err)

    def addSubTest(self, test: Any, subtest: Any, err: Any) -> None:
        if err is not None:
            self._fail(test, err)

    def addSkip(self, test: Any, reason: str) -> None:
        self.outcomes[test.id()] = ["skipped", reason]

    def addExpectedFailure(self, test: Any, err: Any) -> None:
        self.outcomes[test.id()] = ["passed", "expected failure"]

    def addUnexpectedSuccess(self, test: Any) -> None:
        self.outcomes[test.id()] = ["failed", "unexpected success"]


def tests_of(suite: unittest.TestSuite, patterns: list[str]) -> unittest.TestSuite:
    chosen = unittest.TestSuite()
    for item in suite:
        if isinstance(item, unittest.TestSuite):
            chosen.addTest(tests_of(item, patterns))
        elif not patterns or any(p in item.id() for p in patterns):
            chosen.addTest(item)
    return chosen


def main() -> None:
    backend, name, *patterns = sys.argv[1:]
    warnings.simplefilter("ignore", DeprecationWarning)
    support = importlib.import_module("test.support")
    support.verbose = 0  # type: ignore[attr-defined]
    support.use_resources = ["network", "cpu"]  # type: ignore[attr-defined]
    if backend != "asyncio":
        patch(backend)
    try:
        module = importlib.import_module(f"test.test_asyncio.{name}")
    except ModuleNotFoundError:
        print("{}")
        return
    suite = unittest.defaultTestLoader.loadTestsFromModule(module)
    result = Result()
    tests_of(suite, patterns).run(result)
    print(json.dumps(result.outcomes))


if __name__ == "__main__":
    main()

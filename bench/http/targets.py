"""A server that can be measured: how it is started, and what is told about it."""

from __future__ import annotations

import sys
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field


@dataclass(frozen=True)
class Target:
    """One server; `command` gets the port it shall listen on.

    `cases`: the names of the cases that it is asked; empty: all of them.
    """

    name: str
    group: str
    command: Callable[[int], list[str]]
    env: Mapping[str, str] = field(default_factory=dict)
    version: str = ""
    cases: tuple[str, ...] = ()


def ember(module: str, build: str) -> Callable[[int], list[str]]:
    """The command of one of Ember's own applications, in the `compiled` or the `pure` build."""
    return lambda port: [sys.executable, "-m", module, str(port), build]


_APP = "bench.http.ember_app"
RING, EPOLL, PURE = "ember io_uring", "ember epoll", "ember pure"
#: Ember three times: the ring, the same compiled loop on epoll, and without compiled code.
EMBER = (
    Target(RING, "ember", ember(_APP, "compiled"), {"EMBER_LOOP": "io_uring"}),
    Target(EPOLL, "ember", ember(_APP, "compiled"), {"EMBER_LOOP": "epoll"}),
    Target(PURE, "ember", ember(_APP, "pure"), {"EMBER_PURE": "1"}),
)

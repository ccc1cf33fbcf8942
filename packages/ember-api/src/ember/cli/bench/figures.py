"""The measured values, in a fixed amount of memory."""

from __future__ import annotations

import math
from collections import Counter

#: Significant bits of a latency: a precision of 0.1 %.
_BITS = 10


class Latencies:
    """A histogram of latencies, in microseconds."""

    def __init__(self) -> None:
        self._seen: Counter[int] = Counter()
        self.count = 0
        self.total = 0.0
        self.least = math.inf
        self.most = 0.0

    def add(self, seconds: float) -> None:
        """Count one latency."""
        micros = int(seconds * 1e6)
        spare = micros.bit_length() - _BITS
        self._seen[micros if spare <= 0 else micros >> spare << spare] += 1
        self.count += 1
        self.total += seconds
        if seconds < self.least:
            self.least = seconds
        if seconds > self.most:
            self.most = seconds

    def percentile(self, share: float) -> float:
        """The latency in seconds below which the share (0 to 1) of the responses is."""
        wanted = max(1, math.ceil(share * self.count))
        passed = 0
        for micros in sorted(self._seen):
            passed += self._seen[micros]
            if passed >= wanted:
                return min(max(micros / 1e6, self.least), self.most)
        raise ValueError("nothing was counted")

    @property
    def mean(self) -> float:
        """The mean in seconds."""
        return self.total / self.count


class Figures:
    """The results of a load test; they change while it runs."""

    def __init__(self) -> None:
        self.latencies = Latencies()
        self.statuses: Counter[int] = Counter()
        #: The errors by kind: connect, closed, timeout, malformed.
        self.errors: Counter[str] = Counter()
        self.bytes = 0
        #: Seconds of wall-clock time, and of CPU time of this process.
        self.seconds = 0.0
        self.cpu = 0.0

    @property
    def requests(self) -> int:
        """How many requests got a response."""
        return self.latencies.count

    @property
    def failed(self) -> int:
        """How many requests failed."""
        return self.errors.total()

    @property
    def classes(self) -> dict[str, int]:
        """Responses by the first digit of their status: {"2xx": 100}."""
        found: Counter[str] = Counter()
        for status, count in self.statuses.items():
            found[f"{status // 100}xx"] += count
        return dict(sorted(found.items()))

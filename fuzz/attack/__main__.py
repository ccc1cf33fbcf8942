"""`python -m fuzz.attack --minutes 20 [--tls]`: attack a server of three workers and judge it.

While clients do everything that they should not, workers are killed, stopped for a moment and
reloaded. The second half is without kills, for the slope of the memory. At the end the server is
told to stop while it is still under attack.
"""

from __future__ import annotations

import argparse
import asyncio
import os
import re
import signal
import ssl
import sys
import tempfile
import time
import urllib.request
from collections.abc import Iterator
from pathlib import Path

from bench import show
from bench.process import descendants, free_port
from bench.soak.__main__ import rss
from bench.soak.report import quarters, slope
from fuzz.attack.clients import Clients
from tests.support.tls import Authority

#: Seconds between two looks at the memory.
LOOK = 2.0
#: KiB a minute above which the memory of a worker is said to grow.
SLOPE = 100.0
#: The application's `shutdown_timeout`, and what a loaded machine may add to it.
STOP = 5.0 + 5.0
#: Signals that say that a process crashed.
CRASHES = ("SIGSEGV", "SIGABRT", "SIGBUS", "SIGFPE", "SIGILL")


def gauges(port: int, context: ssl.SSLContext | None) -> dict[str, float]:
    """Every gauge of /metrics without labels, by name; those with labels summed."""
    url = f"http{'s' if context else ''}://localhost:{port}/metrics"
    with urllib.request.urlopen(url, timeout=10, context=context) as answer:
        text = answer.read().decode()
    found: dict[str, float] = {}
    names = set(re.findall(r"^# TYPE (\w+) gauge$", text, re.M))
    for name, value in re.findall(r"^(\w+)(?:\{.*\})? ([0-9.e+-]+)$", text, re.M):
        if name in names:
            found[name] = found.get(name, 0.0) + float(value)
    return found


def tracebacks(log: str) -> Iterator[str]:
    """The tracebacks in a log that nobody asked for: a route's own errors end in "on purpose"."""
    for part in log.split("Traceback (most recent call last)")[1:]:
        if "on purpose" not in part and "surrogates not allowed" not in part:
            yield part[:3_000]


def growth_of(points: list[tuple[float, float]]) -> float:
    """KiB a minute, from the third to the last quarter of a worker's life: by their medians, which
    a moment of high load does not move."""
    medians = quarters(points)
    minutes = (points[-1][0] - points[0][0]) / 4 / 60
    return (medians[3] - medians[2]) / minutes if medians and minutes else 0.0


class Attack:
    """One run."""

    def __init__(self, options: argparse.Namespace, folder: Path) -> None:
        self.options = options
        self.port = free_port()
        self.context: ssl.SSLContext | None = None
        self.more: list[str] = []
        if options.tls:
            authority = Authority(folder)
            certificate, key = authority.pair("localhost")
            self.context = authority.client()
            self.more = ["--ssl-certfile", certificate, "--ssl-keyfile", key]
        self.clients = Clients(self.port, options.seed, self.context)
        self.memory: dict[int, list[tuple[float, float]]] = {}
        self.kills = self.stops = self.reloads = 0
        self.log = folder / "log"

    async def run(self) -> bool:
        """Start, attack, judge."""
        with self.log.open("wb") as log:
            server = await asyncio.create_subprocess_exec(
                *(sys.executable, "-m", "ember", "start", "--app", "fuzz.attack.app:app"),
                *("--port", str(self.port), "--workers", str(self.options.workers)),
                *self.more,
                stdout=asyncio.subprocess.DEVNULL,
                stderr=log,
            )
        try:
            await self._ready(server)
            loop = asyncio.get_running_loop()
            start, seconds = loop.time(), self.options.minutes * 60
            look = asyncio.create_task(self._look(server.pid, start, seconds))
            disturb = asyncio.create_task(self._disturb(server.pid, start + seconds / 2))
            await self.clients.run(self.options.probes, self.options.attackers, seconds)
            look.cancel()
            disturb.cancel()
            # What the attackers left is reaped: the longest limit of the application is 8 s.
            await asyncio.sleep(12)
            seen = await asyncio.to_thread(gauges, self.port, self.context)
            last = asyncio.create_task(self.clients.run(0, self.options.attackers, 20.0))
            await asyncio.sleep(3)
            begun = loop.time()
            server.send_signal(signal.SIGTERM)
            try:
                status = await asyncio.wait_for(server.wait(), 60)
            except TimeoutError:
                status = -999
            took = loop.time() - begun
            last.cancel()
        finally:
            if server.returncode is None:
                for pid in descendants(server.pid):
                    os.kill(pid, signal.SIGKILL)
        return self._judge(seen, status, took)

    async def _ready(self, server: asyncio.subprocess.Process) -> None:
        while server.returncode is None:
            try:
                _, writer = await asyncio.open_connection("127.0.0.1", self.port)
            except OSError:
                await asyncio.sleep(0.05)
                continue
            writer.close()
            return
        raise SystemExit(f"the server did not start:\n{self.log.read_text()}")

    async def _look(self, pid: int, start: float, seconds: float) -> None:
        while True:
            now = asyncio.get_running_loop().time() - start
            for one in descendants(pid)[1:]:
                self.memory.setdefault(one, []).append((now, rss(one)))
            show.progress(int(now), int(seconds), f"s; {self.clients.answers:,} answers")
            await asyncio.sleep(LOOK)

    async def _disturb(self, pid: int, until: float) -> None:
        """In turns: kill a worker, reload, stop a worker for a second, reload twice in a row."""
        loop = asyncio.get_running_loop()
        turn = 0
        while loop.time() < until:
            await asyncio.sleep(self.options.pause)
            workers = descendants(pid)[1:]
            if turn % 4 == 0 and workers:
                self.kills += 1
                os.kill(workers[-1], signal.SIGKILL)
            elif turn % 4 == 2 and workers:
                self.stops += 1
                os.kill(workers[0], signal.SIGSTOP)
                await asyncio.sleep(1)
                os.kill(workers[0], signal.SIGCONT)
            else:
                for _ in range(turn % 4 // 3 + 1):
                    self.reloads += 1
                    os.kill(pid, signal.SIGHUP)
            turn += 1

    def _judge(self, seen: dict[str, float], status: int, took: float) -> bool:
        clients = self.clients
        log = self.log.read_text(errors="replace")
        crashes = [name for name in CRASHES if name in log]
        crashes += re.findall(r"Fatal Python error.*|\S+Sanitizer: .*", log)[:3]
        unasked = list(tracebacks(log))
        lived = {pid: points for pid, points in self.memory.items() if points[-1][1]}
        longest = sorted(lived, key=lambda pid: -len(lived[pid]))[: self.options.workers]
        growth = max((growth_of(lived[pid]) for pid in longest), default=0.0)
        # The one that asks for the metrics, and its request.
        left = {
            name: value
            for name, value in seen.items()
            if re.search("connections|progress|running|queued|in_flight", name) and value > 2
        }
        lost = clients.lost
        rows = [
            ("answers to well-behaved clients", f"{clients.answers:,}", clients.answers > 0),
            ("wrong or missing answers", str(len(clients.wrong)), not clients.wrong),
            ("lost answers", f"{lost} ({self.kills} workers killed)", lost <= self.kills * 100),
            ("hostile connections", f"{sum(clients.kinds.values()):,}", True),
            ("reloads, stops", f"{self.reloads}, {self.stops}", True),
            ("crashes", ", ".join(crashes) or "0", not crashes),
            ("tracebacks that nobody asked for", str(len(unasked)), not unasked),
            ("left over at the end", str(left or 0), not left),
            ("memory of the longest-lived workers", f"{growth:+.1f} KiB a minute", growth < SLOPE),
            ("exit status after SIGTERM", str(status), status == 0),
            ("seconds to stop under attack", f"{took:.1f}", took < STOP),
        ]
        show.table(
            ("", "", ""),
            [
                (n, v, show.paint("ok", "green") if good else show.paint("NO", "red"))
                for n, v, good in rows
            ],
        )
        for line in [*clients.wrong[:20], *unasked[:3]]:
            show.note(line)
        for kind, count in sorted(clients.kinds.items()):
            show.note(f"{count:8,}  {kind}")
        for pid in longest:
            medians = ", ".join(f"{one:,.0f}" for one in quarters(lived[pid]))
            show.note(
                f"worker {pid}: {medians} KiB, the medians of the quarters of its life; "
                f"{slope(lived[pid]):+.1f} KiB a minute by least squares over its second half"
            )
        good = all(ok for _, _, ok in rows)
        if not good:
            Path("build").mkdir(exist_ok=True)
            kept = Path("build/attack.log")
            kept.write_text(log)
            show.note(f"the server's log: {kept}")
        return good


def main() -> None:
    parser = argparse.ArgumentParser(prog="python -m fuzz.attack", description=__doc__)
    parser.add_argument("--minutes", type=float, default=20.0)
    parser.add_argument("--workers", type=int, default=3)
    parser.add_argument("--probes", type=int, default=8, help="well-behaved clients")
    parser.add_argument("--attackers", type=int, default=60)
    parser.add_argument("--pause", type=float, default=10.0, help="seconds between signals")
    parser.add_argument("--tls", action="store_true", help="under TLS")
    parser.add_argument("--seed", type=int, default=int(time.time()))
    options = parser.parse_args()
    show.heading(f"Attack: {options.minutes:g} minutes, seed {options.seed}")
    with tempfile.TemporaryDirectory() as folder:
        good = asyncio.run(Attack(options, Path(folder)).run())
    sys.exit(0 if good else 1)


if __name__ == "__main__":
    main()

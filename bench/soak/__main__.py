"""`python -m bench.soak --minutes 20`: soak a server of several workers and judge it.

The first quarter also kills workers and reloads them; then they are left alone, and the rest is for
the slope of their memory.
"""

from __future__ import annotations

import argparse
import asyncio
import os
import re
import signal
import sys
import tempfile
import time
import urllib.request
from collections import Counter
from pathlib import Path

from bench import show
from bench.process import descendants, free_port
from bench.soak import report
from bench.soak.report import slope
from bench.soak.traffic import Traffic

#: Seconds between two looks at the memory.
LOOK = 2.0
#: KiB a minute above which the memory of a worker is said to grow.
SLOPE = 100.0


def rss(pid: int) -> float:
    """Resident memory in KiB, 0 for a process that has gone."""
    try:
        return (
            int(Path(f"/proc/{pid}/statm").read_text().split()[1])
            * os.sysconf("SC_PAGE_SIZE")
            / 1024
        )
    except OSError:
        return 0.0


def scrape(port: int) -> str:
    with urllib.request.urlopen(f"http://127.0.0.1:{port}/metrics", timeout=10) as answer:
        text: str = answer.read().decode()
        return text


def counted(text: str) -> Counter[tuple[str, int]]:
    """What the server says it answered on the counted routes, by route and status."""
    found: Counter[tuple[str, int]] = Counter()
    for name, labels, value in re.findall(r"^(\w+)\{(.*)\} ([0-9.e+]+)$", text, re.M):
        fields = dict(re.findall(r'(\w+)="([^"]*)"', labels))
        route = fields.get("route", "")
        if "status" in fields and name.endswith("requests_total") and route.startswith("/counted/"):
            found[route, int(fields["status"])] += int(float(value))
    return found


class Soak:
    """One run."""

    def __init__(self, options: argparse.Namespace, folder: Path) -> None:
        self.options = options
        self.port = free_port()
        self.traffic = Traffic(self.port, options.seed)
        self.memory: dict[int, list[tuple[float, float]]] = {}
        self.kills = 0
        self.reloads = 0
        self.log = folder / "log"
        files = folder / "files"
        files.mkdir()
        (files / "page.html").write_text("<p>" + "ember " * 2_000)
        (files / "large.bin").write_bytes(bytes(2 << 20))
        self._env = {**os.environ, "EMBER_SOAK_FOLDER": str(files)}

    async def run(self) -> bool:
        """Start, soak, judge."""
        with self.log.open("wb") as log:
            server = await asyncio.create_subprocess_exec(
                *(sys.executable, "-m", "ember", "start", "--app", "bench.soak.app:app"),
                *("--port", str(self.port), "--workers", str(self.options.workers)),
                *("--access-log", "json"),
                env=self._env,
                stdout=asyncio.subprocess.DEVNULL,
                stderr=log,
            )
        try:
            await self._ready(server)
            loop = asyncio.get_running_loop()
            seconds = self.options.minutes * 60
            start = loop.time()
            async with asyncio.TaskGroup() as group:
                look = group.create_task(self._look(server.pid, start, seconds))
                disturb = group.create_task(self._disturb(server.pid, start + seconds / 4))
                await self.traffic.run(self.options.polite, self.options.rude, start + seconds)
                look.cancel()
                disturb.cancel()
            # What the rude ones left is reaped: the longest deadline of the application is 5 s.
            await asyncio.sleep(8)
            text = await asyncio.to_thread(scrape, self.port)
        finally:
            if server.returncode is None:
                server.send_signal(signal.SIGTERM)
        status = await server.wait()
        return self._judge(text, status)

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
            total = sum(self.traffic.answers.values())
            show.progress(int(now), int(seconds), f"s; {total:,} answers")
            await asyncio.sleep(LOOK)

    async def _disturb(self, pid: int, until: float) -> None:
        """Kill a worker and reload in turns, until the time for the memory has come."""
        loop = asyncio.get_running_loop()
        while loop.time() < until:
            await asyncio.sleep(self.options.pause)
            workers = descendants(pid)[1:]
            if workers and self.kills <= self.reloads:
                os.kill(workers[-1], signal.SIGKILL)
                self.kills += 1
            else:
                os.kill(pid, signal.SIGHUP)
                self.reloads += 1

    def _judge(self, text: str, status: int) -> bool:
        traffic = self.traffic
        ours = Counter({k: n for k, n in traffic.answers.items() if k[0].startswith("/counted/")})
        theirs = counted(text)
        missing = sum((ours - theirs).values())
        extra = sum((theirs - ours).values())
        last = {pid: points for pid, points in self.memory.items() if len(points) > 10}
        slopes = {pid: slope(points) for pid, points in last.items() if points[-1][1]}
        longest = sorted(last, key=lambda pid: -len(last[pid]))[: self.options.workers]
        growth = max((slopes.get(pid, 0.0) for pid in longest), default=0.0)
        open_now = [
            float(n) for n in re.findall(r"^ember_http_connections ([0-9.e+]+)$", text, re.M)
        ]
        log = self.log.read_text(errors="replace")
        tracebacks = log.count("Traceback (most recent call last)")
        # An answer may be under way, counted or not, on each connection that a kill cut off.
        rows = [
            ("answers to well-behaved clients", f"{sum(traffic.answers.values()):,}", True),
            ("wrong answers", str(len(traffic.wrong)), not traffic.wrong),
            ("stuck answers", str(traffic.stuck), traffic.stuck == 0),
            (
                "lost answers",
                f"{traffic.lost} ({self.kills} workers killed)",
                self.kills > 0 or traffic.lost == 0,
            ),
            ("faults", f"{sum(traffic.faults.values()):,}", True),
            ("reloads", str(self.reloads), True),
            ("counted by clients, not by the server", str(missing), missing <= self.kills * 4),
            ("counted by the server, not by clients", str(extra), extra <= traffic.lost),
            ("connections open at the end", str(open_now), sum(open_now) <= 2),
            ("memory of the longest-lived workers", f"{growth:+.1f} KiB a minute", growth < SLOPE),
            ("tracebacks in the log", str(tracebacks), tracebacks == 0),
            ("exit status after SIGTERM", str(status), status == 0),
        ]
        show.table(
            ("", "", ""),
            [
                (n, v, show.paint("ok", "green") if good else show.paint("NO", "red"))
                for n, v, good in rows
            ],
        )
        for line in traffic.wrong:
            show.note(line)
        for kind, count in sorted(traffic.faults.items()):
            show.note(f"{count:8,}  {kind}")
        for pid in longest:
            points = last[pid]
            first, last_seen = points[0][1], points[-1][1]
            change = f"{slopes.get(pid, 0):+.1f} a minute"
            show.note(f"worker {pid}: {first:,.0f} KiB first, {last_seen:,.0f} last, {change}")
        seconds = self.options.minutes * 60
        report.write(
            rows,
            dict(traffic.faults),
            dict(self.memory),
            longest,
            seconds=seconds,
            disturbed=seconds / 4,
            described=(
                f"{self.options.minutes:g} minutes, {self.options.workers} workers, "
                f"{self.options.polite} well-behaved clients and {self.options.rude} others, "
                f"seed {self.options.seed}"
            ),
        )
        if tracebacks:
            at = log.index("Traceback (most recent call last)")
            show.note(log[max(0, at - 500) : at + 3000])
        return all(good for _, _, good in rows)


def main() -> None:
    parser = argparse.ArgumentParser(prog="python -m bench.soak", description=__doc__)
    parser.add_argument("--minutes", type=float, default=20.0)
    parser.add_argument("--workers", type=int, default=2)
    parser.add_argument("--polite", type=int, default=40, help="well-behaved clients")
    parser.add_argument("--rude", type=int, default=40, help="the others")
    parser.add_argument("--pause", type=float, default=20.0, help="seconds between disturbances")
    parser.add_argument("--seed", type=int, default=int(time.time()))
    options = parser.parse_args()
    show.heading(f"Soak: {options.minutes:g} minutes, seed {options.seed}")
    with tempfile.TemporaryDirectory() as folder:
        good = asyncio.run(Soak(options, Path(folder)).run())
    sys.exit(0 if good else 1)


if __name__ == "__main__":
    main()

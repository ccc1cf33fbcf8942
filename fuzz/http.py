"""Requests, through every build of Ember and through other parsers; kept answers, and upgrades to
another codec, beside them."""

from __future__ import annotations

import asyncio
import hashlib
import logging
import os
import sys
import time
from collections.abc import Awaitable, Callable
from functools import partial
from pathlib import Path

from fuzz.engine import Finding, Fuzzer
from fuzz.generate import Generator
from fuzz.kept import KeptFuzzer, aimed
from fuzz.upgraded import UpgradeFuzzer
from tests.conformance.corpus import CASES, read_cases, write_request

GREEN, RED, DIM, OFF = "\033[32m", "\033[31m", "\033[2m", "\033[0m"
if not sys.stdout.isatty() and not os.environ.get("FORCE_COLOR"):
    GREEN = RED = DIM = OFF = ""


async def run(seconds: float, seed: int) -> int:
    """Fuzz until the time is up or something is found; the exit status."""
    corpus = [case.data for case in read_cases()]
    generator = Generator(seed, corpus)
    fuzzer, keeper, upgrader = Fuzzer(), KeptFuzzer(), UpgradeFuzzer(seed, corpus)
    # A line for every refusal is not what this is about.
    logging.getLogger("ember.protocol").setLevel(logging.CRITICAL)
    names = " and ".join(build.name for build in fuzzer.builds)
    print(f"http: {names} against httptools and h11")
    start = shown = time.monotonic()
    count = 0
    for data in corpus:
        await check(fuzzer, data, generator.cuts(data))
        await check(keeper, aimed(data), generator.cuts(aimed(data)))
    while (now := time.monotonic()) - start < seconds:
        data = generator.next()
        if not await check(fuzzer, data, generator.cuts(data)):
            return 1
        data = aimed(data)
        if not await check(keeper, data, generator.cuts(data)):
            return 1
        data, expected = upgrader.next()
        upgrade = partial(upgrader.check, data, expected, upgrader.cuts(data))
        if not await checked(upgrade, data, f"upgrade; expected {expected!r}"):
            return 1
        count += 1
        if now - shown > 1 and GREEN:
            shown = now
            rate = count / (now - start)
            line = f"{count:>8} inputs  {fuzzer.accepted:>8} requests taken  {rate:6.0f}/s"
            print(
                f"\r  {GREEN}{line}{OFF}  {DIM}{seconds - now + start:4.0f} s left{OFF} ",
                end="",
                flush=True,
            )
    print(
        f"\r{GREEN}nothing found{OFF} in {count} inputs, {fuzzer.accepted} requests taken, "
        f"{keeper.given} answers given that were kept, {upgrader.upgraded} connections upgraded"
        + " "
        * 20
    )
    print(f"{DIM}Ember refused, and a peer took:{OFF}")
    for reason, times in sorted(fuzzer.refusals.items(), key=lambda item: -item[1]):
        print(f"  {times:>6}  {reason}")
    return 0


async def check(fuzzer: Fuzzer | KeptFuzzer, data: bytes, pieces: list[bytes]) -> bool:
    """Whether the input fits; if not, it is told and saved as a case of the corpus."""
    return await checked(partial(fuzzer.check, data, pieces), data, str([len(p) for p in pieces]))


async def checked(play: Callable[[], Awaitable[None]], data: bytes, how: str) -> bool:
    """The same for what `play` does with `data`; `how`: what else is told."""
    try:
        await asyncio.wait_for(play(), 10)
    except Finding as finding:
        print(f"\n{RED}found{OFF}: {finding}\n  input: {data!r}\n  pieces: {how}")
        print(f"  saved as {save(data, str(finding))}")
        return False
    except Exception:
        print(f"\n{RED}crashed{OFF} on {data!r}; saved as {save(data, 'an exception')}")
        raise
    return True


def save(data: bytes, why: str) -> Path:
    """Write the input as a document of the corpus; its answer is for a person to decide."""
    name = hashlib.sha256(data).hexdigest()[:12]
    path = CASES / f"found_{name}.md"
    summary = " ".join(why.split())[:300]
    path.write_text(
        f"# Found by the fuzzer\n\n{summary}\n\n## Found {name}\n\nRFC 9112 section ?\n\n"
        f"```http\n{write_request(data)}\n```\n\n```answer\n400\nclosed\n```\n"
    )
    return path

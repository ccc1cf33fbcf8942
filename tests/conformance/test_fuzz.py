"""A short run of the fuzzer with the suite; `make fuzz` is the long one."""

from __future__ import annotations

import asyncio
import logging

import pytest
from ember._build import PURE
from ember.protocol.telemetry import series
from ember.response import Response
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from fuzz import peers, shared, tls
from fuzz.engine import Finding, Fuzzer, builds
from fuzz.fields import FieldsFuzzer
from fuzz.generate import Generator
from fuzz.kept import KeptFuzzer, aimed
from fuzz.upgraded import END, UPGRADES, Echo, UpgradeFuzzer
from tests.conformance.corpus import read_cases
from tests.support.server import new_event_loop

pytestmark = pytest.mark.once

CORPUS = [case.data for case in read_cases()]


def check(data: bytes, pieces: list[bytes]) -> None:
    """Raises `Finding`."""
    loop = new_event_loop()
    try:
        loop.run_until_complete(asyncio.wait_for(Fuzzer().check(data, pieces), 120))
    finally:
        loop.close()


def test_the_corpus_agrees_with_the_peers_and_between_the_builds() -> None:
    generator = Generator(1, CORPUS)
    fuzzer = Fuzzer()

    async def run() -> None:
        for data in CORPUS:
            if len(data) < 20_000:
                await fuzzer.check(data, generator.cuts(data))

    loop = new_event_loop()
    try:
        loop.run_until_complete(asyncio.wait_for(run(), 120))
    finally:
        loop.close()
    assert fuzzer.accepted > 100
    assert sum(fuzzer.refusals.values()) > 50


@settings(max_examples=60, deadline=None, suppress_health_check=[HealthCheck.too_slow])
@given(seed=st.integers(0, 1 << 30))
def test_generated_requests_agree(seed: int) -> None:
    generator = Generator(seed, CORPUS)
    data = generator.next()
    check(data, generator.cuts(data))


@settings(max_examples=60, deadline=None, suppress_health_check=[HealthCheck.too_slow])
@given(
    data=st.lists(
        st.one_of(
            st.sampled_from([b"\r\n", b"\n", b" ", b":", b"GET / HTTP/1.1\r\n", b"Host: x\r\n"]),
            st.sampled_from(
                [b"Transfer-Encoding: chunked\r\n", b"Content-Length: 1\r\n", b"0\r\n"]
            ),
            st.binary(max_size=3),
        ),
        max_size=12,
    ),
    cut=st.integers(0, 1 << 16),
)
def test_arbitrary_bytes_agree(data: list[bytes], cut: int) -> None:
    joined = b"".join(data)
    at = cut % (len(joined) + 1)
    check(joined, [joined[:at], joined[at:]])


def test_a_planted_disagreement_is_found(monkeypatch: pytest.MonkeyPatch) -> None:
    """Peers that see nothing: whatever Ember takes must be reported."""
    monkeypatch.setattr(peers, "with_httptools", lambda data: peers.Seen())
    monkeypatch.setattr(peers, "with_h11", lambda data: peers.Seen())
    data = b"GET / HTTP/1.1\r\nHost: x\r\n\r\n"
    with pytest.raises(Finding, match="Ember took"):
        check(data, [data])


def test_a_codec_gets_what_is_behind_the_upgrade_however_it_is_cut(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    fuzzer = UpgradeFuzzer(5, CORPUS)

    async def run() -> None:
        for _ in range(150):
            data, expected = fuzzer.next()
            await fuzzer.check(data, expected, fuzzer.cuts(data))

    async def check(data: bytes, expected: bytes) -> None:
        await fuzzer.check(data, expected, [data])

    loop = new_event_loop()
    try:
        loop.run_until_complete(asyncio.wait_for(run(), 120))
        assert fuzzer.upgraded > 150
        data = UPGRADES[0] + b"behind" + END
        loop.run_until_complete(check(data, b"behind" + END))
        # A byte that is lost is found.
        whole = Echo.data_received
        monkeypatch.setattr(Echo, "data_received", lambda self, data: whole(self, data[1:]))
        with pytest.raises(Finding, match="expected b'behind"):
            loop.run_until_complete(check(data, b"behind" + END))
    finally:
        loop.close()


def test_stored_responses_are_those_of_the_application_whatever_is_sent(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    generator = Generator(2, CORPUS)
    fuzzer = KeptFuzzer()

    async def run() -> None:
        for data in [d for d in CORPUS if len(d) < 5_000] + [generator.next() for _ in range(150)]:
            await fuzzer.check(aimed(data), generator.cuts(aimed(data)))

    loop = new_event_loop()
    try:
        loop.run_until_complete(asyncio.wait_for(run(), 120))
        assert PURE or fuzzer.given > 100
        # One that says something else is found.
        monkeypatch.setattr("fuzz.kept.Keeper.answer", lambda self, body: Response(body[1:]))
        if not PURE:
            data = b"GET /kept HTTP/1.1\r\nHost: x\r\n\r\n"
            with pytest.raises((Finding, AssertionError)):
                loop.run_until_complete(fuzzer.check(data, [data]))
    finally:
        loop.close()


def test_fields_queries_and_forms_are_read_or_refused_whatever_stands_there(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    logging.getLogger("python_multipart").setLevel(logging.CRITICAL)
    fuzzer = FieldsFuzzer(3)

    async def run(rounds: int) -> None:
        for _ in range(rounds):
            await fuzzer.check()

    asyncio.run(run(300))
    kinds = {key.partition(":")[0] for key in fuzzer.counts}
    assert len(kinds) == 8
    assert len(fuzzer.counts) > 15, fuzzer.counts
    monkeypatch.setattr("fuzz.fields.ranges", lambda *_: [(0, 1), (0, 1)])
    with pytest.raises(Finding, match=r"twice|other bytes|the ranges|ranges: "):
        asyncio.run(run(1))


def test_what_processes_read_of_each_other_is_never_taken_for_what_it_is_not(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    fuzzer = shared.SharedFuzzer(4)
    for _ in range(150):
        fuzzer.check()
    assert {"area: begun again", "lines: words", "page: shown", "page: refused"} < set(
        fuzzer.counts
    )
    # One that goes on with whatever lies there is found.
    monkeypatch.setattr(series.Series, "_index", lambda self: True)
    with pytest.raises(Finding, match=r"area|destroyed a record"):
        shared.run(20, 7)


def test_garbage_for_a_tls_server_does_nothing_to_the_next_client(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    assert sum(tls.run(0, 5).values()) == 25
    monkeypatch.setattr(tls, "_echo", None)  # a server that fails is found
    with pytest.raises(Finding, match="an honest client got"):
        tls.run(0, 6)


def test_every_build_takes_part() -> None:
    assert [build.name for build in builds()] == (["pure"] if PURE else ["pure", "compiled"])

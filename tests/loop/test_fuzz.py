"""A short run of the loop's differential fuzzer; `make fuzz ARGS=loop` is the long one."""

from __future__ import annotations

import asyncio
import functools
from collections import Counter
from collections.abc import Callable
from dataclasses import replace
from typing import Any

import pytest
from ember._build import ASKED_PURE

from fuzz import loop
from fuzz.engine import Finding
from fuzz.loop.program import Connection, Maker, Program
from fuzz.loop.reasons import reason_for

pytestmark = [
    pytest.mark.once,
    pytest.mark.skipif(ASKED_PURE, reason="the pure build has no loop of its own"),
]


@pytest.fixture(params=["io_uring", "epoll"])
def factories(request: pytest.FixtureRequest) -> dict[str, loop.Factory]:
    from ember.eventloop import Loop
    from ember.eventloop._stream import probe_ring

    if request.param == "io_uring" and (refusal := probe_ring()) is not None:
        pytest.skip(refusal)
    return {request.param: functools.partial(Loop, backend=request.param)}


@pytest.mark.timeout(180)
def test_programs_have_the_history_that_they_have_on_stock_asyncio(
    factories: dict[str, loop.Factory],
) -> None:
    counts: Counter[str] = Counter()
    for seed in range(40):
        loop.check(Maker(seed).program(), factories, counts)
    assert counts["programs compared"] > 20, counts
    assert counts["programs in any order"] > 3, counts


def test_the_same_seed_makes_the_same_program() -> None:
    assert [str(Maker(7).program())] * 2 == [str(Maker(7).program()) for _ in range(2)]
    assert str(Maker(7).program()) != str(Maker(8).program())


def test_a_loop_that_loses_bytes_is_found_and_the_program_made_small(
    monkeypatch: pytest.MonkeyPatch, factories: dict[str, loop.Factory]
) -> None:
    from ember.eventloop import Loop

    real: Callable[..., Any] = Loop._make_socket_transport

    def forgetful(self: Any, sock: Any, protocol: Any, *args: Any, **kwargs: Any) -> Any:
        protocol.eof_received = lambda: protocol.transport.close()
        return real(self, sock, protocol, *args, **kwargs)

    monkeypatch.setattr(Loop, "_make_socket_transport", forgetful)
    program = Program(
        (Connection("pair"), Connection("tcp-out")),
        ((("state", 0, None), ("timer", -1, 1)), (("peer_send", 1, 10), ("peer_eof", 1, 1))),
    )
    with pytest.raises(Finding, match=r"asyncio .*eof") as caught:
        loop.check(program, factories, Counter())
    text = str(caught.value)
    assert "peer_eof" in text
    assert "timer" not in text, "what does not matter is left out"


def test_a_callback_out_of_order_is_wrong_on_its_own() -> None:
    for lines in (
        ["made", "lost NoneType", "lost NoneType"],
        ["made", "lost NoneType", "data 1"],
        ["made", "eof", "data 1", "lost NoneType"],
        ["made", "resume", "lost NoneType"],
        ["made"],
    ):
        wrong: list[str] = []
        loop.check_order("0", lines, wrong)
        assert wrong, lines


def test_a_reason_excuses_no_more_than_it_says() -> None:
    assert reason_for(["lost BrokenPipeError"], ["lost ConnectionResetError"])
    assert reason_for(["end", "5 bytes"], ["end", "6 bytes"])
    assert reason_for(["lost NoneType", "writelines: TypeError"], ["lost NoneType"])
    assert reason_for(["eof", "state", "eof", "lost"], ["eof", "state", "lost"])
    reset, broken = "lost ConnectionResetError", "lost BrokenPipeError"
    assert reason_for(["data 9", reset], ["data 9", "data 5", reset])
    twice = ["pause", "resume", "pause", "resume"]
    assert reason_for([*twice, "lost"], ["pause", "resume", "lost"])
    lowered = ["pause", "limits (0, 0)", "resume", "lost"]
    assert reason_for(lowered, ["limits (0, 0)", "lost"])
    assert reason_for(["pause", "eof", broken], ["pause", broken])
    assert reason_for(
        ["pause", broken, "peer_eof: OSError"], ["pause", "eof", broken, "peer_eof: OSError"]
    )
    assert reason_for(["made", "eof", broken], ["made", "eof", "lost NoneType"])
    refused = "write: RuntimeError"
    assert reason_for(["eof", refused, broken, refused], ["eof", refused, "lost NoneType", refused])
    assert reason_for(["data 9", reset], ["data 9", "eof", "lost NoneType"])
    assert reason_for(["ConnectionResetError", "6 bytes"], ["ConnectionResetError", "5 bytes"])
    assert reason_for(["finally", "finally", "task 1", "task 1"], ["finally", "task 1"] * 2)
    assert reason_for(["soon", "soon from a thread"], ["soon from a thread", "soon"])
    for stock, ours in (
        (["end", "6 bytes"], ["end", "5 bytes"]),
        (["data 9", "data 5", reset], ["data 9", reset]),
        (["data 9", "lost NoneType"], ["data 9", "data 5", "lost NoneType"]),
        ([*twice, "lost"], ["pause", "resume"]),
        ([*twice, "lost"], ["resume", "pause", "lost"]),
        ([*twice, "lost"], ["pause", "pause", "lost"]),
        ([*twice, "lost"], ["lost"]),
        (["pause", "resume", *lowered], ["limits (0, 0)", "lost"]),
        (lowered, ["pause", "limits (0, 0)", "lost"]),
        ([*twice, "lost"], ["pause", "resume", "pause", "lost"]),
        (["soon", "soon from a thread"], ["soon"]),
        (["soon", "timer", "soon from a thread"], ["soon from a thread", "timer", "soon"]),
        (["data 9", "lost NoneType"], ["data 8", "lost NoneType"]),
        (["lost NoneType"], ["lost ConnectionResetError"]),
        (["eof", "lost"], ["lost"]),
        (["lost NoneType", "write: RuntimeError"], ["lost NoneType"]),
        (["lost NoneType", "write: TypeError"], ["lost NoneType"]),
        (["made", "writelines: TypeError"], ["made"]),
        (["data 9", broken], [broken]),
        (["eof", broken, "write: TypeError"], [broken, "write: ValueError"]),
        (["data 9", reset], ["data 9", "lost NoneType"]),
        (["end", "6 bytes"], ["ConnectionResetError", "5 bytes"]),
        (["finally", "finally", "task 1", "task 1"], ["task 1", "task 1", "finally", "finally"]),
        ([], ["made"]),
    ):
        assert reason_for(stock, ours) is None, (stock, ours)


def test_a_program_that_hangs_is_a_finding(
    monkeypatch: pytest.MonkeyPatch, factories: dict[str, loop.Factory]
) -> None:
    monkeypatch.setattr("fuzz.loop.play.TIMEOUT", 0.2)
    monkeypatch.setattr("fuzz.loop.play.Play.end", lambda self: asyncio.sleep(60))
    with pytest.raises(Finding, match="it hangs"):
        loop.carry_out(Program((Connection("pair"),), ()), *factories.values())


def test_a_program_decides_what_is_excused() -> None:
    """What only an abort, or a protocol that closes at the end of its peer, may bring about."""
    quiet = Program((Connection("pair", keep_open=True),), ())
    aborts = Program((Connection("pair"),), ((("abort", 0, None),),))
    fewer = {"0 peer": ["end", "6 bytes"]}, {"0 peer": ["end", "5 bytes"]}
    assert loop.difference(quiet, *fewer, Counter()) is not None
    assert loop.difference(aborts, *fewer, Counter()) is None
    reset = {"0": ["lost ConnectionResetError"]}, {"0": ["eof", "lost NoneType"]}
    assert loop.difference(quiet, *reset, Counter()) is not None
    assert loop.difference(aborts, *reset, Counter()) is None
    paused = Program((Connection("pair"),), ((("pause", 0, None),),))
    unseen = {"0": ["data 9", "lost ConnectionResetError"]}, {"0": ["data 9", "lost NoneType"]}
    assert loop.difference(quiet, *unseen, Counter()) is not None
    assert loop.difference(paused, *unseen, Counter()) is None
    assert loop.difference(paused, *unseen[::-1], Counter()) is not None
    resets = replace(paused, steps=((("pause", 0, None), ("peer_reset", 0, 1)),))
    assert loop.difference(resets, *unseen[::-1], Counter()) is None
    broken = {"0": ["data 9", "lost NoneType"]}, {"0": ["data 9", "lost BrokenPipeError"]}
    assert loop.difference(resets, *broken, Counter()) is not None
    writes = (("peer_eof", 0, 1), ("write", 0, 300_000)), (("write", 0, 10), ("write", 0, 500))
    behind = Program((Connection("pair"),), writes)
    kept_open = Program((Connection("pair", keep_open=True),), writes)
    sent = ["end", "300510 bytes"]
    for got, excused in ((300_000, True), (300_010, True), (300_500, False), (500, False)):
        seen = {"0 peer": sent}, {"0 peer": ["end", f"{got} bytes"]}
        assert (loop.difference(behind, *seen, Counter()) is None) is excused, got
        assert loop.difference(kept_open, *seen, Counter()) is not None


def test_a_callback_that_came_at_another_time_moves_what_it_does() -> None:
    """Compared up to there: but not where it does nothing, or never came."""
    stock = {"0": ["made", "data 1", "resume", "data 500", "lost NoneType"]}
    ours = {"0": ["made", "resume", "data 501", "lost NoneType"]}
    connections = (Connection("pair"),)
    acts = Program(connections, (), {(0, "resume"): ((("peer_send", 0, 500),),)})
    assert loop.difference(acts, stock, ours, Counter()) is None
    assert loop.difference(Program(connections, ()), stock, ours, Counter()) is not None
    without = {"0": ["made", "data 501", "lost NoneType"]}
    assert loop.difference(acts, stock, without, Counter()) is not None
    assert loop.difference(acts, without, ours, Counter()) is not None
    ended = {"0": ["made", "eof", "lost NoneType"]}
    failed = {"0": ["made", "lost BrokenPipeError"]}
    aborts = Program(connections, (), {(0, "eof"): ((("abort", 0, None),),)})
    assert loop.difference(aborts, ended, failed, Counter()) is None
    late = {"0": [*failed["0"], "peer_send: OSError"]}
    assert loop.difference(aborts, ended, late, Counter()) is None
    assert loop.difference(acts, ended, failed, Counter()) is not None
    assert loop.difference(aborts, ended, {"0": ["made", "lost NoneType"]}, Counter()) is not None


def test_which_of_two_connections_forks_first_is_nobodys_promise() -> None:
    both = Program((Connection("pair"), Connection("pair")), ())
    stock, ours = {"fork": ["2", "1"]}, {"fork": ["1", "2"]}
    assert loop.difference(both, stock, ours, Counter()) is None
    assert loop.difference(both, stock, {"fork": ["1"]}, Counter()) is not None


def test_what_a_lost_connection_does_is_in_one_history_alone_where_it_closes() -> None:
    reactions: dict[tuple[int, str], Any] = {(0, "lost"): ((("soon", -1, ()),),)}
    closes = Program((Connection("pair"),), ((("close", 0, None),),), reactions)
    stock: dict[str, list[str]] = {"task 0 of loop of 0": []}
    ours = {"task 0 of loop of 0": ["finally", "task 0"]}
    assert loop.difference(closes, stock, ours, Counter()) is None
    open_program = Program((Connection("pair"),), (), reactions)
    assert loop.difference(open_program, stock, ours, Counter()) is not None
    other = {"task 0 of loop of 0": ["task 0"]}
    assert loop.difference(closes, other, ours, Counter()) is not None
    error: dict[str, list[str]] = {"errors": ["ZeroDivisionError"]}
    assert loop.difference(closes, error, {"errors": []}, Counter()) is None
    assert loop.difference(open_program, error, {"errors": []}, Counter()) is not None

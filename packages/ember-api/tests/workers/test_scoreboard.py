"""The memory that the supervisor and its workers share."""

from __future__ import annotations

import contextlib
import os
import signal

import pytest
from ember.server.workers import METRICS_REGION_SIZE, Scoreboard, State


def in_child(function: object) -> int:
    """Run `function()` in a fork; the status that waiting for it gave."""
    pid = os.fork()
    if pid == 0:
        with contextlib.suppress(BaseException):
            function()  # type: ignore[operator]
            os._exit(0)
        os._exit(1)
    return os.waitpid(pid, 0)[1]


def test_a_scoreboard_of_one_has_one_slot_and_others_have_room_for_successors() -> None:
    assert len(Scoreboard(1).slots) == 1
    assert len(Scoreboard(3).slots) == 6
    with pytest.raises(ValueError, match="workers=0"):
        Scoreboard(0)


def test_every_field_of_every_slot_is_its_own() -> None:
    board = Scoreboard(2)
    names = ("pid", "generation", "started", "heartbeat", "connections", "requests")
    for slot in board.slots:
        for at, name in enumerate(names):
            setattr(slot, name, slot.index * 100 + at)
        slot.state = State.DRAINING
    for slot in board.slots:
        values = [getattr(slot, name) for name in names]
        assert values == [slot.index * 100 + at for at in range(len(names))]
        assert slot.state is State.DRAINING


def test_what_a_fork_writes_is_seen_here() -> None:
    board = Scoreboard(2)

    def work() -> None:
        board.slots[1].begin(os.getpid())
        board.slots[1].requests = 2**63
        board.metrics_region(1)[-1] = 7

    assert in_child(work) == 0
    assert board.slots[1].state is State.STARTING
    assert board.requests == 2**63
    assert bytes(board.metrics_region(1)[-2:]) == b"\0\7"
    assert not any(board.metrics_region(0))
    assert not any(board.metrics_region(2))


def test_the_memory_can_be_had_again_by_its_descriptor() -> None:
    board = Scoreboard(2)
    if board.fd is None:
        pytest.skip("this platform has no memfd")
    again = Scoreboard(2, fd=board.fd)
    again.slots[3].connections = 5
    assert board.connections == 5


def test_a_worker_killed_in_mid_write_leaves_whole_numbers() -> None:
    board = Scoreboard(2)
    ones = 2**64 - 1

    def work() -> None:
        board.slots[0].state = State.READY
        while True:
            board.slots[0].requests = ones
            board.slots[0].requests = 0

    for _ in range(20):
        board.slots[0].state = State.STARTING
        pid = os.fork()
        if pid == 0:
            work()
        while board.slots[0].state is State.STARTING:
            os.sched_yield()
        seen = {board.requests for _ in range(200)}
        os.kill(pid, signal.SIGKILL)
        os.waitpid(pid, 0)
        assert seen | {board.requests} <= {0, ones}


def test_a_successor_goes_on_counting_where_the_last_one_stopped() -> None:
    board = Scoreboard(2)
    slot = board.slots[0]
    slot.begin(100)
    slot.connections, slot.requests = 4, 10
    board.metrics_region(0)[0] = 9
    slot.end()
    assert (board.connections, board.requests, list(board.live())) == (0, 10, [])
    slot.begin(101)
    assert (slot.pid, slot.generation, slot.requests) == (101, 2, 10)
    assert board.metrics_region(0)[0] == 9
    assert list(board.live()) == [slot]


def test_a_metrics_region_is_64_kib_and_slots_that_are_not_there_are_refused() -> None:
    board = Scoreboard(1)
    assert len(board.metrics_region(0)) == METRICS_REGION_SIZE == 65536
    for slot in (1, -1):
        with pytest.raises(IndexError, match="this scoreboard has 1"):
            board.metrics_region(slot)

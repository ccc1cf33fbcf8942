"""The memory that requests are counted in: found again, bounded, readable by others."""

from __future__ import annotations

import itertools
import mmap
import os
import signal
import time

import pytest
from ember.protocol.telemetry.series import (
    BOUNDS,
    HEADER,
    IN_FLIGHT,
    MAGIC,
    REQUESTS,
    USED,
    Series,
    bucket,
    read,
    read_header,
)


def area(size: int = 65536) -> memoryview:
    return memoryview(mmap.mmap(-1, size))


def test_an_area_that_nobody_wrote_to_is_empty() -> None:
    assert read(area()) == []
    assert read_header(area()) == (0, 0, 0, 0)


def test_a_successor_goes_on_from_what_was_counted() -> None:
    memory = area()
    first = Series(memory)
    first.words[first.requests("/x/{id}", "GET", 200)] += 5
    first.words[IN_FLIGHT] = 3
    second = Series(memory)
    second.words[second.requests("/x/{id}", "GET", 200)] += 2
    second.words[second.requests("/ä", "GET", 200)] += 1
    counted = {record.label: record.values[0] for record in read(memory)}
    assert counted == {("/x/{id}", "GET", "200"): 7, ("/ä", "GET", "200"): 1}
    assert read_header(memory)[0] == 0, "what was in flight in a process that is gone is not"


def test_what_there_is_no_room_for_is_counted_together_and_nothing_is_lost() -> None:
    memory = area()
    series = Series(memory)
    for number in range(3000):
        for method in ("GET", "POST"):
            series.words[series.requests(f"/a/long/route/{number}", method, 200)] += 1
            series.words[series.durations(f"/a/long/route/{number}", method)] += 1
    for status in range(100, 1000):
        for method in ("GET", "POST", "_OTHER"):
            series.words[series.requests("/beyond", method, status)] += 1
    records = [record for record in read(memory) if record.kind == REQUESTS]
    assert sum(record.values[0] for record in records) == 3000 * 2 + 900 * 3
    others = {record.label for record in records if record.label[0] == "(other)"}
    assert ("(other)", "GET", "2xx") in others
    assert series.words[USED] <= memory.nbytes


def test_a_record_that_was_not_finished_is_not_there() -> None:
    memory = area()
    series = Series(memory)
    series.words[series.requests("/whole", "GET", 200)] += 1
    used = series.words[USED]
    series.requests("/killed", "GET", 200)
    series.words[USED] = used  # the store that would have come last
    assert [record.label[0] for record in read(memory)] == ["/whole"]
    again = Series(memory)
    again.words[again.requests("/next", "GET", 200)] += 1
    assert [record.label[0] for record in read(memory)] == ["/whole", "/next"]


def shorten(words: memoryview) -> None:
    """One value less: counting would go on in the record behind, or beyond the end."""
    words[HEADER] -= 1 << 24
    words[USED] -= 8


@pytest.mark.parametrize(
    "break_it",
    [
        lambda words: words.__setitem__(0, 12345),
        lambda words: words.__setitem__(USED, 1 << 40),
        lambda words: words.__setitem__(HEADER, 0),
        lambda words: words.__setitem__(HEADER, 1 | 0xFFFF << 8),
        lambda words: shorten(words),
    ],
)
def test_an_invalid_metrics_region_is_read_as_empty_and_reset(break_it: object) -> None:
    memory = area()
    series = Series(memory)
    series.words[series.requests("/x", "GET", 200)] += 1
    break_it(series.words)  # type: ignore[operator]
    assert read(memory) == []
    again = Series(memory)
    assert again.words[0] == MAGIC
    again.words[again.requests("/y", "GET", 200)] += 1
    assert [record.label[0] for record in read(memory)] == ["/y"]


def test_a_metrics_region_whose_reserve_is_used_up_is_reset() -> None:
    memory = area()
    words = Series(memory).words
    words[HEADER] = 9 | len(words) - HEADER - 1 << 24  # a kind of a version that counts more
    words[USED] = memory.nbytes
    assert len(read(memory)) == 1
    again = Series(memory)
    again.words[again.requests("/y", "GET", 200)] += 1
    assert [record.label[0] for record in read(memory)] == ["/y"]


def test_an_area_that_is_too_small_is_refused() -> None:
    with pytest.raises(ValueError, match="a metrics region of 4096 bytes: expected"):
        Series(memoryview(bytearray(4096)))


def test_a_duration_belongs_to_the_first_bound_that_is_not_below_it() -> None:
    assert [bucket(bound) for bound in BOUNDS] == list(range(len(BOUNDS)))
    assert bucket(0.0) == 0
    assert bucket(BOUNDS[0] * 1.001) == 1
    assert bucket(1e9) == len(BOUNDS)


def test_of_a_writer_that_is_killed_no_number_is_torn_and_no_sum_goes_down() -> None:
    memory = area()
    step = 1 << 32 | 1  # of a torn number the halves differ
    seen: dict[tuple[str, ...], int] = {}
    for _ in range(10):
        writer = os.fork()
        if writer == 0:
            try:
                series = Series(memory)
                for number in itertools.count():
                    at = series.requests(f"/{number % 50}/{os.getpid()}", "GET", 200)
                    series.words[at] += step
                    series.words[at + 1] += step
            finally:
                os._exit(1)
        try:
            looks, until = 0, time.monotonic() + 0.02
            while looks < 5 or time.monotonic() < until:
                looks += 1
                now = {record.label: record.values for record in read(memory)}
                for label, values in now.items():
                    assert all(value >> 32 == value & 0xFFFFFFFF for value in values), values
                    assert values[0] >= seen.get(label, 0)
                assert seen.keys() <= now.keys()
                seen = {label: values[0] for label, values in now.items()}
        finally:
            os.kill(writer, signal.SIGKILL)
            os.waitpid(writer, 0)
    assert len(seen) > 50
    assert sum(seen.values()) > 10 * step

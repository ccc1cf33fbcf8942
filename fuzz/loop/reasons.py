"""Where the history of a connection may differ from that on stock asyncio, and why: each reason has
a name and says what must be true of both histories, so that no other difference hides behind it."""

from __future__ import annotations

from collections.abc import Callable

Lines = list[str]


def which_call_found_the_peer_gone(stock: Lines, ours: Lines) -> bool:
    """A peer that closes with bytes unread fails a recv with one error and a send with another.
    Which of the two comes first is the kernel's choice where both wait in a ring."""

    def same(lines: Lines) -> Lines:
        gone = ("lost ConnectionResetError", "lost BrokenPipeError")
        return ["lost" if line in gone else line for line in lines]

    return same(stock) == same(ours)


def more_came_before_the_end(stock: Lines, ours: Lines) -> bool:
    """How much of what was under way arrives before a reset or an abort is a matter of chance. Less
    than on stock asyncio is a loss, and no reason; and so is more in any other place."""
    for i, line in enumerate(ours[1:], 1):
        # A piece of its own, the last one before the reset.
        last_piece = line == "lost ConnectionResetError" and ours[i - 1].startswith("data ")
        if last_piece and ours[: i - 1] + ours[i:] == stock:
            return True
    grown = 0
    for expected, seen in zip(stock, ours, strict=False):
        if expected != seen:
            if bytes_of(expected) < 0 or bytes_of(seen) <= bytes_of(expected):
                return False
            grown += 1
    return len(stock) == len(ours) and grown == 1


def only_the_bytes_differ(stock: Lines, ours: Lines) -> bool:
    """Whether a peer saw the same, but for how many bytes it got."""
    return (
        len(stock) == len(ours) > 0
        and stock[:-1] == ours[:-1]
        and min(bytes_of(stock[-1]), bytes_of(ours[-1])) >= 0
    )


def lost_unseen(stock: Lines, ours: Lines) -> bool:
    """Whether stock asyncio alone found that the peer had gone. Who does not read finds it by
    sending: no longer, when the kernel has taken all there was to send."""
    gone = ("lost BrokenPipeError", "lost ConnectionResetError")
    return len(stock) > 0 and stock[-1] in gone and ours == [*stock[:-1], "lost NoneType"]


def bytes_of(line: str) -> int:
    """The number in "data 5" and "5 bytes"; -1 for other lines."""
    number = line.removeprefix("data ").removesuffix(" bytes")
    return int(number) if number.isdecimal() else -1


def eof_is_told_once(stock: Lines, ours: Lines) -> bool:
    """Stock asyncio tells a protocol that keeps the connection open of the end once more whenever
    it pauses and resumes reading. There is one end, and it is told once."""
    return ours.count("eof") == 1 and stock.count("eof") > 1 and without_more(stock) == ours


def a_write_after_the_end_is_in_vain(stock: Lines, ours: Lines) -> bool:
    """A transport of stock asyncio that was closed while something waited, and then lost, has no
    socket any more and fails a write with AttributeError; since 3.12 one that was lost fails
    `writelines` with TypeError. Elsewhere a write after the end is dropped there too, and here it
    always is."""
    fails = (": AttributeError", "writelines: TypeError")
    kept = [line for line in stock if not line.endswith(fails)]
    return kept == ours and any(line.startswith("lost") for line in stock)


def the_kernel_took_bytes_at_another_time(stock: Lines, ours: Lines) -> bool:
    """How much a socket takes at once, and when it takes more, depends on how the bytes were handed
    to it, and the ring tells of it later. So an owner is told to pause and to go on at other times,
    but in turn; all else is the same. (When it is told is in the tests of the transports.)"""

    def others(lines: Lines) -> Lines:
        return [line for line in lines if line not in ("pause", "resume")]

    def in_turn(lines: Lines) -> bool:
        told = [line for line in lines if line in ("pause", "resume")]
        return all(line == ("pause", "resume")[i % 2] for i, line in enumerate(told))

    def waits(lines: Lines) -> int:
        return lines.count("pause") - lines.count("resume")

    if others(stock) != others(ours) or not in_turn(stock) or not in_turn(ours):
        return False
    # Never told to pause, or never told to go on, is a fault and no matter of time. Only a limit
    # that is lowered finds bytes waiting or finds none, as the kernel has taken them.
    return waits(ours) <= waits(stock) and (
        "pause" in ours or "pause" not in without_lowered_limits(stock)
    )


def without_lowered_limits(lines: Lines) -> Lines:
    """Without the pauses that come of a call which sets the limits, and what ends them."""
    kept: Lines = []
    lowered = False
    for line, following in zip(lines, [*lines[1:], ""], strict=True):
        if line == "pause" and following.startswith("limits "):
            lowered = True
        elif line == "resume" and lowered:
            lowered = False
        else:
            kept.append(line)
    return kept


def a_thread_came_at_another_time(stock: Lines, ours: Lines) -> bool:
    """What another thread schedules comes when that thread gets to it."""

    def others(lines: Lines) -> Lines:
        return [line for line in lines if not line.endswith("from a thread")]

    return stock != ours and others(stock) == others(ours) and sorted(stock) == sorted(ours)


def the_end_was_read_before_a_send_failed(stock: Lines, ours: Lines) -> bool:
    """A peer that closes its socket ends its side, and then fails what is sent to it. Which of the
    two is looked at first is the order of one batch of events."""

    def without_end(lines: Lines) -> Lines:
        return [*lines[: lines.index("eof")], lines[-1]] if "eof" in lines else lines

    return (
        stock[-1] == ours[-1] == "lost BrokenPipeError"
        and ("eof" in stock) != ("eof" in ours)
        and without_end(stock) == without_end(ours)
    )


def everything_had_left_before(stock: Lines, ours: Lines) -> bool:
    """Behind the end of its peer a transport does not read: whether the kernel had taken the last
    byte when the peer was gone decides whether there was an error."""
    return "eof" in ours and lost_unseen(stock, ours)


def the_end_was_read_before_a_reset(stock: Lines, ours: Lines) -> bool:
    """The ring reads on while a callback runs: the end that a peer had sent, before it resets the
    connection in that callback. The transport closes at that end."""
    return ours[-2:] == ["eof", "lost NoneType"] and stock == [
        *ours[:-2],
        "lost ConnectionResetError",
    ]


def a_reset_overtook_bytes(stock: Lines, ours: Lines) -> bool:
    """Both closed with bytes unread, which resets the connection: what the peer had got by then is
    a matter of its window."""
    return "ConnectionResetError" in ours and only_the_bytes_differ(stock, ours)


def tasks_of_one_name(stock: Lines, ours: Lines) -> bool:
    """Callbacks of two sources, a socket and a timer say, start tasks in either order; each task
    ends behind its own `finally`."""
    ends = [line for line in ours if line != "finally"]
    if len(set(ends)) != 1 or not ends[0].startswith("task ") or sorted(stock) != sorted(ours):
        return False
    return all(
        line == "finally" or ours[: i + 1].count("finally") >= ours[: i + 1].count(line)
        for i, line in enumerate(ours)
    )


def without_more(lines: Lines) -> Lines:
    return [x for i, x in enumerate(lines) if x != "eof" or "eof" not in lines[:i]]


#: Name to check of (stock's lines, ours) of one connection or of the loop. Both are not empty.
REASONS: dict[str, Callable[[Lines, Lines], bool]] = {
    "which system call found the peer gone": which_call_found_the_peer_gone,
    "more came before the end": more_came_before_the_end,
    "the end of the peer is told once": eof_is_told_once,
    "a write after the end is in vain": a_write_after_the_end_is_in_vain,
    "the kernel took bytes at another time": the_kernel_took_bytes_at_another_time,
    "a thread came at another time": a_thread_came_at_another_time,
    "the end was read before a send failed": the_end_was_read_before_a_send_failed,
    "everything had left before": everything_had_left_before,
    "the end was read before a reset": the_end_was_read_before_a_reset,
    "a reset overtook bytes": a_reset_overtook_bytes,
    "tasks of one name": tasks_of_one_name,
}


#: Reasons that hold only where the transport closes at the end of its peer.
CLOSES_AT_EOF = {"the end was read before a reset"}
#: Of a reason, the callbacks that come in another place: what they do then is done elsewhere too.
MOVES = {
    "a callback that acts came at another time": {"pause", "resume", "eof"},
    "the kernel took bytes at another time": {"pause", "resume"},
    "the end was read before a send failed": {"eof"},
}


def reason_for(stock: Lines, ours: Lines) -> str | None:
    """The name of the reason why these two may differ, or None."""
    if not stock or not ours:
        return None
    # What comes behind the end has to be the same.
    stock, after = until_lost(stock)
    ours, after_ours = until_lost(ours)
    if after != after_ours:
        stock, ours = stock + after, ours + after_ours
    for one in (stock, without_more(stock)):
        for other in (ours, as_gone(one, ours)):
            for name, holds in REASONS.items():
                if holds(one, other):
                    return name
    return None


def until_lost(lines: Lines) -> tuple[Lines, Lines]:
    """The lines up to the end of the connection, and those behind it."""
    for i, line in enumerate(lines):
        if line.startswith("lost "):
            return lines[: i + 1], lines[i + 1 :]
    return lines, []


def as_gone(stock: Lines, ours: Lines) -> Lines:
    """Ours with the error by which stock asyncio found the peer gone."""
    gone = ("lost ConnectionResetError", "lost BrokenPipeError")
    return [*ours[:-1], stock[-1]] if stock[-1] in gone and ours[-1] in gone else ours

"""What a program can ask for: one method for each kind of step."""

from __future__ import annotations

import asyncio
import os
import socket
import struct
import threading
from collections.abc import Callable, Coroutine
from typing import Any

from fuzz.loop.play import Play, lost, pattern
from fuzz.loop.program import Op

_RESET = struct.pack("ii", 1, 0)


class Player(Play):
    """A play with its steps."""

    def count(self, number: int, size: int) -> None:
        """Before they are written: a callback inside of it may write what comes next. Only what the
        transport takes counts, a write in vain must not shift the pattern."""
        if takes_writes(self.transports[number]):
            self.sent[f"{number}"] = self.sent.get(f"{number}", 0) + size

    def do_write(self, number: int, size: int) -> None:
        data = pattern(self.sent.get(f"{number}", 0), size)
        self.count(number, size)
        self.transports[number].write(data)

    def do_burst(self, number: int, times: int) -> None:
        for size in range(1, times + 1):
            self.do_write(number, size * 7)

    def do_writelines(self, number: int, sizes: tuple[int, ...]) -> None:
        lines = []
        position = self.sent.get(f"{number}", 0)
        for size in sizes:
            lines.append(pattern(position, size))
            position += size
        self.count(number, sum(sizes))
        self.transports[number].writelines(lines)

    def do_write_eof(self, number: int, _: Any) -> None:
        self.transports[number].write_eof()

    def do_close(self, number: int, _: Any) -> None:
        self.transports[number].close()

    def do_abort(self, number: int, _: Any) -> None:
        self.transports[number].abort()

    def do_pause(self, number: int, _: Any) -> None:
        self.transports[number].pause_reading()

    def do_resume(self, number: int, _: Any) -> None:
        self.transports[number].resume_reading()

    def do_limits(self, number: int, limits: tuple[int | None, int | None]) -> None:
        transport = self.transports[number]
        name = self.program.connections[number].kind
        if name.startswith("tls") and any(
            lost(self.history.get(end, [])) for end in (f"{number}", f"{number} server")
        ):
            return  # stock asyncio's TLS may tell a protocol to pause that it has let go
        transport.set_write_buffer_limits(*limits)
        self.note(f"{number}", f"limits {transport.get_write_buffer_limits()}")

    def do_swap(self, number: int, _: Any) -> None:
        transport = self.transports[number]
        transport.set_protocol(transport.get_protocol())

    def do_state(self, number: int, _: Any) -> None:
        one = self.transports[number]
        # How much a TCP socket takes is decided by its window, and so by time.
        local = self.program.connections[number].kind in ("unix-in", "pair")
        waits = one.get_write_buffer_size() > 0 if local else "?"
        self.note(f"{number}", f"closing {one.is_closing()} reads {one.is_reading()} waits {waits}")

    def do_peer_send(self, number: int, size: int) -> None:
        if peer := self.peers.get(number):
            name = f"to {number}"
            position = self.sent.get(name, 0)
            self.sent[name] = position + peer.send(pattern(position, size))

    def do_peer_read(self, number: int, _: Any) -> None:
        if number in self.peers:
            self.read_all(number)

    def do_peer_eof(self, number: int, _: Any) -> None:
        if peer := self.peers.get(number):
            peer.shutdown(socket.SHUT_WR)

    def do_peer_close(self, number: int, _: Any) -> None:
        if peer := self.peers.get(number):
            peer.close()

    def do_peer_reset(self, number: int, _: Any) -> None:
        if peer := self.peers.get(number):
            peer.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, _RESET)
            peer.close()

    # ---- the loop's ------------------------------------------------------------------------

    def later(self, name: str) -> Callable[[], None]:
        """A callback that says that it ran; the step waits for it."""
        self.pending += 1
        place = self.place if name.startswith("soon") else name

        def ran() -> None:
            self.pending -= 1
            self.note(place, name)

        return ran

    def do_soon(self, _: int, ops: tuple[Op, ...]) -> None:
        self.loop.call_soon(self.later("soon"))
        self.loop.call_soon(self.perform, ops)

    def do_threadsafe(self, _: int, ops: tuple[Op, ...]) -> None:
        def schedule() -> None:
            self.loop.call_soon_threadsafe(ran)
            self.loop.call_soon_threadsafe(self.perform, ops)

        ran = self.later("soon from a thread")
        thread = threading.Thread(target=schedule)
        thread.start()
        thread.join()

    def do_timer(self, _: int, delay: int) -> None:
        self.loop.call_later(delay / 1000, self.later("timer"))

    def do_cancelled_timer(self, _: int, delay: int) -> None:
        handle = self.loop.call_later(delay / 1000, self.note, "errors", "cancelled timer ran")
        handle.cancel()
        self.loop.call_soon(self.note, "errors", "cancelled callback ran").cancel()

    def do_executor(self, _: int, value: int) -> None:
        # By value: in which order threads end is nobody's promise.
        name = f"executor {value}"
        ran = self.later(name)
        future = self.loop.run_in_executor(None, divmod, 1, value)

        def done(ended: asyncio.Future[tuple[int, int]]) -> None:
            self.note(name, f"{ended.exception()!r}")
            ran()

        future.add_done_callback(done)

    def do_cancelled_task(self, _: int, value: int) -> None:
        name = f"task {value} of {self.place}"

        async def wait() -> None:
            try:
                await asyncio.sleep(value * 10)
            finally:
                self.note(name, "finally")

        task = self.spawn(wait(), name)
        self.loop.call_soon(task.cancel)

    def spawn(self, coroutine: Coroutine[Any, Any, None], name: str) -> asyncio.Task[None]:
        ran = self.later(name)
        task = self.loop.create_task(coroutine)
        self.tasks.add(task)

        def done(ended: asyncio.Task[None]) -> None:
            self.tasks.discard(ended)
            ran()

        task.add_done_callback(done)
        return task

    def do_reader(self, _: int, ops: tuple[Op, ...]) -> None:
        reading, writing = os.pipe()
        ran = self.later("reader")

        def readable() -> None:
            self.loop.remove_reader(reading)
            for end in (reading, writing):
                os.close(end)
            ran()
            self.perform(ops)

        self.loop.add_reader(reading, readable)
        os.write(writing, b"x")

    def do_writer(self, _: int, ops: tuple[Op, ...]) -> None:
        reading, writing = os.pipe()
        ran = self.later("writer")

        def writable() -> None:
            self.loop.remove_writer(writing)
            for end in (reading, writing):
                os.close(end)
            ran()
            self.perform(ops)

        self.loop.add_writer(writing, writable)

    def do_process(self, _: int, size: int) -> None:
        async def run() -> None:
            process = await asyncio.create_subprocess_exec("cat", stdin=-1, stdout=-1)
            out, _ = await process.communicate(pattern(0, size * 1000))
            self.note("process", f"{len(out)} {process.returncode}")

        self.spawn(run(), "process")

    def do_fork(self, _: int, status: int) -> None:
        child = os.fork()
        if child == 0:
            os._exit(status)
        self.note("fork", f"{os.waitstatus_to_exitcode(os.waitpid(child, 0)[1])}")


def takes_writes(transport: Any) -> bool:
    """Whether what is written now will be sent: false once `connection_lost` is certain."""
    return not transport.is_closing() or transport.get_write_buffer_size() > 0

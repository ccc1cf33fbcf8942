"""A signal ends the program, whichever request is being served; what a handler raises does not."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
import threading

import pytest
from ember._interrupts import from_signal

PROGRAM = """
import asyncio, signal, socket, sys, threading
from ember.protocol import serve
from ember.limits import ServerLimits
try:
    from ember.eventloop import new_event_loop
except ImportError:
    new_event_loop = asyncio.new_event_loop

class App:
    limits = ServerLimits()
    def dispatch(self, request):
        return getattr(self, request.raw_path.decode()[1:])()
    def into_response(self, request, value): raise TypeError
    def on_error(self, request, error): raise error
    async def busy(self):
        print("busy", flush=True)
        while True:
            pass
    async def waits(self):
        await asyncio.sleep(0)
        await self.busy()
    async def stream_busy(self):
        from ember.response import StreamingResponse
        return StreamingResponse(self.pieces())
    async def pieces(self):
        yield b"x"
        await self.busy()
    async def large(self):
        from ember.response import Response
        return Response(bytes(16 << 20))

def read(client):
    while client.recv(1 << 20):
        pass

async def main(runner):
    server = await serve(App(), port=0)
    client = socket.create_connection(server.addresses[0])
    for path in sys.argv[2].split("+"):
        client.sendall(b"GET /%s HTTP/1.1\\r\\nHost: x\\r\\n\\r\\n" % path.encode())
    await asyncio.sleep(0.05)
    # What comes behind a large response is begun when the client has taken that.
    threading.Thread(target=read, args=(client,), daemon=True).start()
    await asyncio.sleep(3600)

how = sys.argv[1]
if how == "SIGTERM":
    signal.signal(signal.SIGTERM, lambda *args: sys.exit(7))
if how == "runner":
    with asyncio.Runner(loop_factory=new_event_loop) as runner:
        runner.run(main(runner))
else:
    new_event_loop().run_until_complete(main(None))
"""


OTHERS = [pytest.param(name, marks=pytest.mark.once_per_build) for name in ("uvloop", "asyncio")]


@pytest.mark.parametrize("loop", ["", *OTHERS])
@pytest.mark.parametrize("handler", ["busy", "waits", "stream_busy", "large+busy"])
@pytest.mark.parametrize("how", ["SIGINT", "SIGTERM", "runner"])
def test_a_signal_ends_the_program_in_the_middle_of_a_handler(
    how: str, handler: str, loop: str
) -> None:
    if loop == "uvloop":
        pytest.importorskip("uvloop")
    process = subprocess.Popen(
        [sys.executable, "-c", PROGRAM, how, handler],
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        env={
            **os.environ,
            **({"EMBER_LOOP": loop} if loop else {}),
            "PYTHONPATH": os.pathsep.join(filter(None, sys.path)),
        },
    )
    try:
        assert process.stdout is not None
        assert process.stdout.readline() == b"busy\n"
        number = signal.SIGTERM if how == "SIGTERM" else signal.SIGINT
        process.send_signal(number)
        if how == "runner":
            # asyncio.Runner only cancels its main task at first: the next one is raised.
            while True:
                try:
                    process.wait(0.2)
                    break
                except subprocess.TimeoutExpired:
                    process.send_signal(number)
        status = process.wait(20)
    finally:
        process.kill()
        _, errors = process.communicate()
    if how == "runner":
        # The rest of the loop's life may end in errors of its own: what counts is that it ended.
        assert b"KeyboardInterrupt" in errors
    else:
        assert status == (7 if how == "SIGTERM" else -signal.SIGINT), errors.decode()


def caught(function: object) -> BaseException:
    try:
        function()  # type: ignore[operator]
    except BaseException as error:  # noqa: BLE001 - that is what is looked for
        return error
    raise AssertionError("nothing was raised")


def leave(number: int | None = None, frame: object = None) -> None:
    sys.exit(3)


def interrupt() -> None:
    raise KeyboardInterrupt


@pytest.mark.once
def test_what_code_raises_by_itself_comes_from_no_signal() -> None:
    before = signal.signal(signal.SIGINT, signal.default_int_handler)
    try:
        assert not from_signal(caught(leave))
        assert not from_signal(caught(interrupt))
        assert not from_signal(GeneratorExit())
        assert not from_signal(ValueError())
    finally:
        signal.signal(signal.SIGINT, before)


@pytest.mark.once
def test_what_a_signal_handler_raises_is_recognized_by_its_frame() -> None:
    before = signal.signal(signal.SIGUSR1, leave)
    try:
        assert from_signal(caught(lambda: signal.raise_signal(signal.SIGUSR1)))
    finally:
        signal.signal(signal.SIGUSR1, before)
    assert not from_signal(caught(leave))


@pytest.mark.once
def test_the_default_handler_of_sigint_is_recognized_without_a_frame() -> None:
    before = signal.signal(signal.SIGINT, signal.default_int_handler)
    try:
        error = caught(lambda: signal.raise_signal(signal.SIGINT))
        assert isinstance(error, KeyboardInterrupt)
        assert from_signal(error)
    finally:
        signal.signal(signal.SIGINT, before)


@pytest.mark.once
def test_no_signal_is_raised_into_another_thread() -> None:
    seen = []
    thread = threading.Thread(target=lambda: seen.append(from_signal(KeyboardInterrupt())))
    thread.start()
    thread.join()
    assert seen == [False]

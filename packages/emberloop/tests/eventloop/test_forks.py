"""fork() in a callback: the child has no loop of its parent's, and the parent notices nothing."""

from __future__ import annotations

import signal
import subprocess
import sys

import pytest

from tests.support.waiting import DEADLINE

SERVER = """
import asyncio, os, signal, socket, sys, time
from ember.eventloop import Loop
from ember.limits import ServerLimits
from ember.protocol import serve
from ember.response import Response

class App:
    limits = ServerLimits()
    def dispatch(self, request):
        return handler(request)
    def into_response(self, request, value):
        raise AssertionError(value)
    def on_error(self, request, error):
        raise error

GET = b"GET / HTTP/1.1\\r\\nHost: x\\r\\nConnection: close\\r\\n\\r\\n"

async def ask(server):
    reader, writer = await asyncio.open_connection(*server.addresses[0])
    writer.write(GET)
    data = await reader.read()
    writer.close()
    return data.count(b"HTTP/1.1"), data.rpartition(b"\\r\\n\\r\\n")[2].decode()

async def main():
    server = await serve(App(), port=0)
    print(*await ask(server))
    print(*await ask(server))
    await server.close(1)
    print("over")

def run():
    with asyncio.Runner(loop_factory=lambda: Loop(backend=BACKEND)) as runner:
        runner.run(main())
"""


def program(text: str, backend: str) -> list[str]:
    """The lines that it prints."""
    done = subprocess.run(
        [sys.executable, "-c", SERVER.replace("BACKEND", repr(backend)) + text + "\nrun()\n"],
        capture_output=True,
        text=True,
        timeout=DEADLINE,
        check=False,
    )
    assert done.returncode == 0, done.stderr
    return done.stdout.splitlines()


def test_a_child_that_goes_on_answers_nobody(backend: str) -> None:
    lines = program(
        """
async def handler(request):
    child = os.fork()
    if child == 0:
        sys.stderr = open(os.devnull, "w")
        return "child"
    status = os.waitstatus_to_exitcode(os.waitpid(child, 0)[1])
    return f"parent, child ended with {status}"
""",
        backend,
    )
    assert lines == ["1 parent, child ended with 1"] * 2 + ["over"]


def test_the_loop_is_a_clear_error_in_the_child_and_a_new_one_works(backend: str) -> None:
    lines = program(
        """
async def handler(request):
    loop = asyncio.get_running_loop()
    ours, theirs = os.pipe()
    child = os.fork()
    if child == 0:
        told = []
        for use in (
            lambda: loop.call_soon(print),
            lambda: loop.call_soon_threadsafe(print),
            lambda: loop.call_later(1, print),
            lambda: loop.run_until_complete(None),
        ):
            try:
                use()
                told.append("nothing")
            except RuntimeError as error:
                told.append(str("belongs to process" in str(error)))
        async def other():
            await asyncio.sleep(0.001)
            return "new loop"
        factory = lambda: Loop(backend=BACKEND)
        with asyncio.Runner(loop_factory=factory) as runner:
            told.append(runner.run(other()))
        os.write(theirs, " ".join(told).encode())
        os._exit(0)
    os.close(theirs)
    os.waitpid(child, 0)
    return os.read(ours, 1000).decode()
""".replace("BACKEND", repr(backend)),
        backend,
    )
    assert lines == ["1 True True True True new loop"] * 2 + ["over"]


@pytest.mark.parametrize("number", [signal.SIGTERM, signal.SIGINT, signal.SIGUSR1])
def test_a_signal_of_the_child_is_not_the_parents(backend: str, number: signal.Signals) -> None:
    lines = program(
        f"""
async def handler(request):
    loop = asyncio.get_running_loop()
    loop.add_signal_handler({int(number)}, print, "the parent was told")
    ours, theirs = os.pipe()
    child = os.fork()
    if child == 0:
        try:
            os.write(theirs, b"x")
            time.sleep(60)
        except KeyboardInterrupt:
            os._exit(77)
        os._exit(0)
    os.read(ours, 1)
    os.kill(child, {int(number)})
    status = os.waitstatus_to_exitcode(os.waitpid(child, 0)[1])
    await asyncio.sleep(0)
    return f"child ended with {{status}}"
""",
        backend,
    )
    expected = 77 if number == signal.SIGINT else -int(number)
    assert lines == [f"1 child ended with {expected}"] * 2 + ["over"]


def test_descriptors_of_clients_are_not_kept_by_a_child(backend: str) -> None:
    """A child that lives on would keep the client waiting for the end of its connection."""
    lines = program(
        """
children = []
async def handler(request):
    child = os.fork()
    if child == 0:
        time.sleep(60)
        os._exit(0)
    children.append(child)
    return "parent"

original = main
async def main():
    await original()
    for child in children:
        os.kill(child, signal.SIGKILL)
        os.waitpid(child, 0)
""",
        backend,
    )
    assert lines == ["1 parent"] * 2 + ["over"]


def test_exhausted_descriptors_do_not_resume_what_its_owner_paused(backend: str) -> None:
    text = """
import resource
from ember.protocol.server._native import NativeListener
from ember.protocol.server.serve import Server

async def handler(request):
    return "x"

async def main():
    loop = asyncio.get_running_loop()
    told = []
    loop.set_exception_handler(lambda loop, context: told.append(context))
    sock = socket.socket()
    sock.bind(("127.0.0.1", 0))
    sock.setblocking(False)
    server = Server(ServerLimits())
    listener = NativeListener(loop, sock, App(), ServerLimits(), server, False, 100)
    await asyncio.sleep(0.01)
    clients = [socket.socket() for _ in range(2)]
    soft, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    resource.setrlimit(resource.RLIMIT_NOFILE, (64, hard))
    full = []
    try:
        while True:
            full.append(os.dup(0))
    except OSError:
        pass
    clients[0].connect(sock.getsockname())
    await asyncio.sleep(0.05)
    listener.pause()
    for descriptor in full:
        os.close(descriptor)
    before = server.connections
    clients[1].connect(sock.getsockname())
    await asyncio.sleep(1.3)
    print("while paused", server.connections - before)
    listener.resume() if hasattr(listener, "resume") else listener.start()
    while server.connections < 2:
        await asyncio.sleep(0.01)
    print("afterwards", server.connections)
    listener.close()
"""
    assert program(text, backend) == ["while paused 0", "afterwards 2"]


def test_forks_that_no_callback_made_leave_a_loop_to_the_child(backend: str) -> None:
    """As servers do that fork before, or between, the runs of a loop."""
    lines = program(
        """
async def handler(request):
    return "served"
before = run
def run():
    child = os.fork()
    if child == 0:
        before()
        os._exit(0)
    assert os.waitpid(child, 0)[1] == 0
    print("parent")
sys.stdout.reconfigure(line_buffering=True)
""",
        backend,
    )
    assert lines == ["1 served", "1 served", "over", "parent"]

"""Whatever the application does, a process that is told to end does so in time, and says what did
not end by itself."""

from __future__ import annotations

import signal
import time
from contextlib import ExitStack
from pathlib import Path

import pytest

from tests.support.service import APP, Serve, Service, start, write
from tests.support.waiting import tries

pytestmark = pytest.mark.once_per_build

#: Each says "stuck" when nothing but the end of the process ends it, and is named like its route.
STUCK = """
import threading
from ember import BackgroundTasks, Depends, SSEResponse, StreamingResponse

def block():
    say("stuck")
    while True:
        time.sleep(1000)

async def swallow():
    say("stuck")
    while True:
        try:
            await asyncio.sleep(1000)
        except (asyncio.CancelledError, GeneratorExit):
            pass

def announce():
    server = None
    while server is None or not server.draining:
        server = app.server
        time.sleep(0.01)
    say("draining")

@app.hook(Events.BEFORE_SERVER_START)
async def start():
    threading.Thread(target=announce, daemon=True).start()

@app.get("/a_thread")
def a_thread():
    block()

@app.get("/a_thread_of_the_loop")
async def a_thread_of_the_loop():
    def in_thread():
        block()
    await asyncio.to_thread(in_thread)

@app.get("/a_handler")
async def a_handler():
    await swallow()

@app.get("/the_loop")
async def the_loop():
    block()

@app.get("/a_background_task")
async def a_background_task(tasks: BackgroundTasks):
    tasks.add_task(swallow)

@app.get("/a_background_thread")
async def a_background_thread(tasks: BackgroundTasks):
    tasks.add_task(block)

@app.get("/after_response")
async def after_response(request: Request):
    request.after_response(swallow)

@app.get("/a_task")
async def a_task():
    app.task = asyncio.create_task(swallow())

@app.get("/a_stream")
async def a_stream():
    def chunks():
        yield b"first"
        block()
    return StreamingResponse(chunks())

@app.get("/an_async_stream")
async def an_async_stream():
    async def chunks():
        yield b"first"
        await swallow()
    return StreamingResponse(chunks())

@app.get("/the_end_of_a_stream")
async def the_end_of_a_stream():
    async def chunks():
        try:
            yield b"first"
            await asyncio.sleep(1000)
        finally:
            await swallow()
    return StreamingResponse(chunks())

@app.get("/events")
async def events():
    async def messages():
        yield "first"
        await swallow()
    return SSEResponse(messages())

async def dependency():
    try:
        yield 1
    finally:
        await swallow()

@app.get("/the_exit_of_a_dependency")
async def the_exit_of_a_dependency(value=Depends(dependency)):
    return value
"""
HOOK = """
@app.hook(Events.BEFORE_SERVER_STOP)
async def stop_hook():
    await swallow()
"""
BLOCKING_HOOK = """
@app.hook(Events.AFTER_SERVER_STOP)
def blocking_hook():
    block()
"""
LIFESPAN = """
@app.lifespan
async def lifespan(app):
    yield
    await swallow()
"""
POOL = """
import concurrent.futures
pool = concurrent.futures.ThreadPoolExecutor()
@app.get("/a_pool_of_its_own")
async def a_pool_of_its_own():
    pool.submit(block)
"""


#: What is asked for, and which function the log names, with what is added to the program.
ENDLESS = {
    "a_thread": ("block", ""),
    "a_thread_of_the_loop": ("block", ""),
    "a_handler": ("swallow", ""),
    "the_loop": ("block", ""),
    "a_background_task": ("swallow", ""),
    "a_background_thread": ("block", ""),
    "after_response": ("swallow", ""),
    "a_task": ("swallow", ""),
    "a_stream": ("block", ""),
    "an_async_stream": ("swallow", ""),
    "the_end_of_a_stream": ("swallow", ""),
    "events": ("swallow", ""),
    "the_exit_of_a_dependency": ("swallow", ""),
    "a_pool_of_its_own": ("block", POOL),
    "a stop hook": ("swallow", HOOK),
    "a blocking stop hook": ("block", BLOCKING_HOOK),
    "a lifespan": ("swallow", LIFESPAN),
}
#: These get stuck when the server ends: the first signal alone does not bring them there.
LATE = ("the_end_of_a_stream",)


def program(folder: Path, more: str, shutdown_timeout: float) -> None:
    app = APP.replace("shutdown_timeout=20", f"shutdown_timeout={shutdown_timeout}")
    write(folder, STUCK + more, app=app)


def begin(folder: Path, kind: str, shutdown_timeout: float, stack: ExitStack) -> Service:
    """A server of one process, not waited for."""
    folder.mkdir(parents=True)
    program(folder, ENDLESS[kind][1], shutdown_timeout)
    service = Service(folder, start(folder, "--workers", "1"))
    stack.callback(service.kill)
    return service


def ask(service: Service, kind: str, stack: ExitStack) -> None:
    """Let `kind` get stuck, where a request does that."""
    service.wait_until_it_serves()
    if " " in kind:
        return
    connection = service.connect()
    stack.callback(connection.close)
    connection.request("GET", f"/{kind}")
    if kind in LATE:
        connection.getresponse().read(1)
    else:
        service.wait_for("stuck")


@pytest.mark.parametrize("signals", [1, 2])
def test_nothing_keeps_a_process_from_its_end(tmp_path: Path, signals: int) -> None:
    """At one signal `shutdown_timeout` is kept, at the second it is not even waited for."""
    for number, bound in enumerate(tries()):
        with ExitStack() as stack:
            services = {
                kind: begin(
                    tmp_path / str(number) / kind, kind, 0.3 if signals == 1 else 600, stack
                )
                for kind in ENDLESS
            }
            for kind, service in services.items():
                ask(service, kind, stack)
            for service in services.values():
                service.send(signal.SIGTERM)
            if signals == 2:
                for kind, service in services.items():
                    if kind != "the_loop":
                        service.wait_for("draining")
                    if kind not in LATE:
                        service.wait_for("stuck")
            since = time.monotonic()
            if signals == 2:
                for service in services.values():
                    service.send(signal.SIGTERM)
            ends = {kind: service.wait() for kind, service in services.items()}
            # The limit, two seconds for stop hooks, and half a second.
            bound(time.monotonic() - since, 3 + 3, "the end of all")
            if signals == 2 and ends["a_pool_of_its_own"] == -signal.SIGTERM:
                # The server was over: it was the program that the second signal ended.
                del ends["a_pool_of_its_own"], services["a_pool_of_its_own"]
            assert ends == dict.fromkeys(ends, 0)
            for kind, service in services.items():
                assert f" in {ENDLESS[kind][0]}\n" in service.text, f"{kind}:\n{service.text}"
                assert "Traceback" not in service.text, f"{kind}:\n{service.text}"


@pytest.mark.parametrize("signals", [1, 2])
def test_nothing_keeps_workers_from_their_end(tmp_path: Path, serve: Serve, signals: int) -> None:
    """A worker whose loop hangs too, which the supervisor has to end."""
    program(tmp_path, HOOK, 0.3 if signals == 1 else 600)
    service = serve("--workers", "2")
    with ExitStack() as stack:
        kinds = ("a_thread", "a_handler", "a_background_task", "a_stream", "the_loop")
        for number, kind in enumerate(kinds, 1):
            connection = service.connect()
            stack.callback(connection.close)
            connection.request("GET", f"/{kind}")
            service.wait_for("stuck", number)
        workers = service.children()
        service.send(signal.SIGTERM)
        service.wait_for("draining")
        if signals == 2:
            service.send(signal.SIGTERM)
        assert service.wait() == 0
    assert " in swallow\n" in service.text
    assert " in block\n" in service.text
    reason = "at the second signal" if signals == 2 else "within shutdown_timeout"
    assert f"is killed: it did not end {reason}" in service.text
    assert len(workers) == 2

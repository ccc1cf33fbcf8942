"""Hello over TLS 1.3 on keep-alive connections: the server's CPU time per request.

The generator is wrk: our own speaks no TLS. Every window is two runs, of one second and of more:
the handshakes of the connections, the same in both, fall out of the difference.
"""

from __future__ import annotations

import re
import shutil
import socket
import ssl
import statistics
import subprocess
import tempfile
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import Any

from bench import machine, process, show
from bench.http.targets import Target
from bench.http.targets import ember as ember_command
from bench.http.verify import read_answer
from bench.part import Options
from bench.peers import catalogue, install
from bench.process import Server, ServerFailed

EMBER, EPOLL, PURE = "ember io_uring", "ember epoll", "ember pure"
UVICORN, GRANIAN = "uvicorn (bare ASGI)", "granian (bare ASGI)"
CONNECTIONS = 64
_APP = "bench.tls.ember_app"
_BODY = b"Hello, World!"


def _targets(cert: str, key: str) -> list[tuple[Target, tuple[str, ...]]]:
    """Every server, with the packages that it needs."""
    env = {"BENCH_TLS_CERT": cert, "BENCH_TLS_KEY": key}

    def with_options(
        command: Callable[[int], list[str]], *options: str
    ) -> Callable[[int], list[str]]:
        return lambda port: [*command(port), *options]

    uvicorn = with_options(
        catalogue.uvicorn("asgi_app", "httptools"), "--ssl-certfile", cert, "--ssl-keyfile", key
    )
    granian = with_options(
        catalogue.granian("asgi_app", "asgi"), "--ssl-certificate", cert, "--ssl-keyfile", key
    )
    compiled, pure = ember_command(_APP, "compiled"), ember_command(_APP, "pure")
    return [
        (Target(EMBER, "ember", compiled, env | {"EMBER_LOOP": "io_uring"}), ()),
        (Target(EPOLL, "ember", compiled, env | {"EMBER_LOOP": "epoll"}), ()),
        (Target(PURE, "ember", pure, env | {"EMBER_PURE": "1"}), ()),
        (Target(UVICORN, "python", uvicorn), ("uvicorn", "uvloop", "httptools", "msgspec")),
        (Target(GRANIAN, "python", granian), ("granian", "uvloop", "msgspec")),
    ]


def _check(server: Server, roots: str) -> None:
    """TLS 1.3, and the right answer."""
    context = ssl.create_default_context(cafile=roots)
    try:
        with (
            socket.create_connection(("127.0.0.1", server.port), 10) as plain,
            context.wrap_socket(plain, server_hostname="localhost") as sock,
        ):
            if sock.version() != "TLSv1.3":
                raise ServerFailed(f"speaks {sock.version()}")
            sock.sendall(b"GET / HTTP/1.1\r\nHost: localhost\r\n\r\n")
            data = b""
            while (found := read_answer(data)) is None:
                received = sock.recv(65536)
                if not received:
                    raise ServerFailed("closed before the end of its answer")
                data += received
    except OSError as error:
        raise ServerFailed(f"{error}; {server.last_words()}") from error
    if found[0].status != 200 or found[0].body != _BODY:
        raise ServerFailed(f"answered {found[0].status} {found[0].body[:60]!r}")


def _wrk(server: Server, seconds: int) -> tuple[int, float]:
    """Answers and CPU seconds of the server in one run, handshakes included."""
    command = [shutil.which("wrk") or "wrk", "-t1", f"-c{CONNECTIONS}", f"-d{seconds}s"]
    before = server.cpu()
    done = subprocess.run(
        machine.pin_command(machine.LOAD_CPU, [*command, f"https://localhost:{server.port}/"]),
        capture_output=True,
        text=True,
        check=False,
        timeout=seconds + 60,
    )
    cpu = server.cpu() - before
    count = re.search(r"(\d+) requests in", done.stdout)
    if done.returncode or count is None or "Socket errors" in done.stdout:
        raise ServerFailed(f"under load: {' '.join((done.stderr or done.stdout).split())[:200]}")
    if "Non-2xx" in done.stdout:
        raise ServerFailed("under load: not every answer was a 200")
    return int(count[1]), cpu


def _window(server: Server, seconds: int) -> dict[str, float]:
    """What `seconds` more of load have added."""
    short, long = _wrk(server, 1), _wrk(server, 1 + seconds)
    if long[0] - short[0] < CONNECTIONS:
        raise ServerFailed(f"under load: {long[0] - short[0]} answers in {seconds} s")
    return {"requests": long[0] - short[0], "cpu": long[1] - short[1], "seconds": seconds}


def _summary(windows: list[dict[str, float]]) -> dict[str, Any]:
    cpu = [w["cpu"] / w["requests"] * 1e6 for w in windows]
    return {
        "cpu_us": round(statistics.median(cpu), 3),
        "rate": round(statistics.median(w["requests"] / w["seconds"] for w in windows)),
        "busy": round(statistics.median(w["cpu"] / w["seconds"] for w in windows), 3),
        "cpu_us_rounds": [round(x, 3) for x in cpu],
    }


def _start(
    wanted: list[tuple[Target, tuple[str, ...]]], roots: str, missing: dict[str, str]
) -> list[tuple[Target, Server]]:
    running: list[tuple[Target, Server]] = []
    for target, packages in wanted:
        try:
            if packages:
                target = replace(target, version=install.python(*packages))
            port = process.free_port()
            name = f"tls-{target.name}"
            server = process.start(name, target.command(port), port=port, env=target.env)
            running.append((target, server))
            _check(server, roots)
        except (ServerFailed, install.NotInstalled) as reason:
            missing[target.name] = str(reason)
            show.warn(f"{target.name}: {reason}")
    return running


def run(options: Options) -> dict[str, Any]:
    """Interleaved rounds against every server, all with the same certificate (ECDSA P-256)."""
    if not shutil.which("wrk"):
        return {"failed": "wrk was not found: apt-get install wrk"}
    import trustme

    turns = options.turns(5)
    window = round(options.seconds or 0) or (1 if options.quick else 4)  # wrk's are whole
    missing: dict[str, str] = {}
    windows: dict[str, list[dict[str, float]]] = {}
    with tempfile.TemporaryDirectory(prefix="ember-bench-") as folder:
        cert, key, roots = (str(Path(folder, x)) for x in ("cert.pem", "key.pem", "roots.pem"))
        authority = trustme.CA()
        issued = authority.issue_cert("localhost")
        issued.private_key_pem.write_to_path(key)
        Path(cert).write_bytes(b"".join(blob.bytes() for blob in issued.cert_chain_pems))
        authority.cert_pem.write_to_path(roots)
        running = _start(_targets(cert, key), roots, missing)
        try:
            for turn in range(turns):
                shift = turn % max(len(running), 1)
                for number, (target, server) in enumerate(running[shift:] + running[:shift]):
                    show.progress(turn * len(running) + number, turns * len(running), target.name)
                    if target.name in missing:
                        continue
                    try:
                        windows.setdefault(target.name, []).append(_window(server, window))
                    except ServerFailed as reason:
                        missing[target.name] = str(reason)
                        show.warn(f"{target.name}: {reason}")
        finally:
            for _, server in running:
                server.stop()
    show.clear()
    return {
        "servers": {name: _summary(all_) for name, all_ in windows.items() if name not in missing},
        "versions": {target.name: target.version for target, _ in running if target.version},
        "openssl": ssl.OPENSSL_VERSION,
        "connections": CONNECTIONS,
        "rounds": turns,
        "seconds": window,
        "missing": missing,
    }

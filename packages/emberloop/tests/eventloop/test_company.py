"""What people run on an event loop runs on this one: libraries, services, the rest of asyncio."""

from __future__ import annotations

import asyncio
import os
import socket
import sys
from pathlib import Path
from typing import Any

import anyio
import pytest
from aiohttp import ClientSession, web

from tests.support.services import postgres_dsn as postgres_dsn
from tests.support.services import redis_server as redis_server

from .conftest import Run


def test_asyncpg_queries_one_by_one_and_in_parallel(run: Run[None], postgres_dsn: str) -> None:
    asyncpg: Any = pytest.importorskip("asyncpg")

    async def main() -> None:
        pool = await asyncpg.create_pool(postgres_dsn, min_size=2, max_size=5)
        async with pool:
            assert await pool.fetchval("select 40 + $1::int", 2) == 42
            rows = await pool.fetch("select n, repeat('x', n) t from generate_series(1, 3000) n")
            assert [len(r["t"]) for r in rows] == list(range(1, 3001))
            answers = await asyncio.gather(*(pool.fetchval("select $1::int", n) for n in range(50)))
            assert answers == list(range(50))
            with pytest.raises(asyncio.TimeoutError):
                await pool.fetchval("select pg_sleep(30)", timeout=0.05)
            assert await pool.fetchval("select 'still there'") == "still there"

    run(main())


def test_redis_py_commands_pipelines_and_messages(
    run: Run[None], redis_server: tuple[str, int]
) -> None:
    redis: Any = pytest.importorskip("redis.asyncio")

    async def main() -> None:
        host, port = redis_server
        async with redis.Redis(host=host, port=port) as client:
            await client.flushall()
            await client.set("key", b"v" * 1_000_000)
            assert await client.get("key") == b"v" * 1_000_000
            async with client.pipeline() as pipe:
                for n in range(200):
                    pipe.incrby("sum", n)
                assert (await pipe.execute())[-1] == sum(range(200))
            async with client.pubsub() as channel:
                await channel.subscribe("news")
                await client.publish("news", "hello")
                async for message in channel.listen():
                    if message["type"] == "message":
                        assert message["data"] == b"hello"
                        break

    run(main())


def test_aiohttp_serves_and_fetches(run: Run[None]) -> None:
    async def main() -> None:
        async def answer(request: web.Request) -> web.Response:
            return web.Response(text=f"{request.path} {len(await request.read())}")

        app = web.Application(client_max_size=1 << 23)
        app.router.add_route("*", "/{path:.*}", answer)
        runner = web.AppRunner(app)
        await runner.setup()
        site = web.TCPSite(runner, "127.0.0.1", 0)
        await site.start()
        port = runner.addresses[0][1]
        async with ClientSession(f"http://127.0.0.1:{port}") as session:

            async def get(n: int) -> str:
                async with session.post(f"/{n}", data=bytes(n * 10_000)) as response:
                    assert response.status == 200
                    return await response.text()

            texts = await asyncio.gather(*(get(n) for n in range(100)))
        assert texts == [f"/{n} {n * 10_000}" for n in range(100)]
        await runner.cleanup()

    run(main())


def test_anyio_task_groups_streams_and_deadlines(run: Run[None]) -> None:
    async def main() -> None:
        got: list[bytes] = []

        async def handle(client: anyio.abc.SocketStream) -> None:
            async with client:
                async for data in client:
                    await client.send(data.upper())

        listener = await anyio.create_tcp_listener(local_host="127.0.0.1")
        port = listener.extra(anyio.abc.SocketAttribute.local_port)
        async with anyio.create_task_group() as group:
            group.start_soon(listener.serve, handle)
            async with await anyio.connect_tcp("127.0.0.1", port) as stream:
                await stream.send(b"hello")
                got.append(await stream.receive())
            group.cancel_scope.cancel()
        assert got == [b"HELLO"]
        with anyio.move_on_after(0.01) as scope:
            await anyio.sleep_forever()
        assert scope.cancelled_caught
        assert await anyio.to_thread.run_sync(lambda: 7) == 7
        await listener.aclose()

    run(main())


def test_unix_sockets(run: Run[None], tmp_path: Path) -> None:
    async def main() -> None:
        path = str(tmp_path / "socket")

        async def shout(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
            writer.write((await reader.read(100)).upper())
            writer.close()

        server = await asyncio.start_unix_server(shout, path)
        reader, writer = await asyncio.open_unix_connection(path)
        writer.write(b"hello")
        assert await reader.read() == b"HELLO"
        writer.close()
        await writer.wait_closed()
        server.close()

    run(main())


def test_subprocesses_talk_through_pipes_and_are_waited_for(run: Run[None]) -> None:
    async def main() -> None:
        process = await asyncio.create_subprocess_exec(
            sys.executable,
            "-c",
            "import sys; data = sys.stdin.read(); print(data.upper()); sys.exit(3)",
            stdin=asyncio.subprocess.PIPE,
            stdout=asyncio.subprocess.PIPE,
        )
        out, _ = await process.communicate(b"from the parent " * 20_000)
        assert out.strip() == (b"FROM THE PARENT " * 20_000).strip()
        assert process.returncode == 3

    run(main())


def test_executors_and_names(run: Run[None]) -> None:
    async def main() -> None:
        loop = asyncio.get_running_loop()
        results = await asyncio.gather(*(loop.run_in_executor(None, pow, 2, n) for n in range(100)))
        assert results == [2**n for n in range(100)]
        found = await loop.getaddrinfo("localhost", 80, type=socket.SOCK_STREAM)
        assert {entry[4][0] for entry in found} & {"127.0.0.1", "::1"}

    run(main())


def test_datagrams_readers_and_writers_of_the_standard_library(run: Run[None]) -> None:
    async def main() -> None:
        loop = asyncio.get_running_loop()
        got = loop.create_future()

        class Listening(asyncio.DatagramProtocol):
            def datagram_received(self, data: bytes, addr: Any) -> None:
                got.set_result(data)

        listening, _ = await loop.create_datagram_endpoint(Listening, local_addr=("127.0.0.1", 0))
        address = listening.get_extra_info("sockname")
        sending, _ = await loop.create_datagram_endpoint(
            asyncio.DatagramProtocol, remote_addr=address
        )
        sending.sendto(b"datagram")
        assert await got == b"datagram"
        listening.close()
        sending.close()

        read, write = os.pipe()
        seen = loop.create_future()
        loop.add_reader(read, lambda: seen.set_result(os.read(read, 100)))
        loop.add_writer(write, lambda: (os.write(write, b"x"), loop.remove_writer(write)))
        assert await seen == b"x"
        assert loop.remove_reader(read)
        os.close(read)
        os.close(write)

    run(main())


def test_sendfile_over_our_transports(run: Run[None], tmp_path: Path) -> None:
    async def main() -> None:
        loop = asyncio.get_running_loop()
        file = tmp_path / "file"
        file.write_bytes(bytes(range(256)) * 8_000)
        ours, theirs = socket.socketpair()
        reader, peer = await asyncio.open_connection(sock=theirs)
        everything = asyncio.create_task(reader.read())
        transport, _ = await loop.create_connection(asyncio.Protocol, sock=ours)
        transport.write(b"head:")
        with file.open("rb") as opened:
            sent = await loop.sendfile(transport, opened)
        assert sent == 2_048_000
        transport.write(b":tail")
        transport.close()
        assert await everything == b"head:" + file.read_bytes() + b":tail"
        peer.close()

    run(main())

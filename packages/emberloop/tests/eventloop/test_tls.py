"""TLS is the standard library's, on top of our transports."""

from __future__ import annotations

import asyncio
import socket
import ssl

import pytest
import trustme

from .conftest import Run

Contexts = tuple[ssl.SSLContext, ssl.SSLContext]


@pytest.fixture(scope="module")
def contexts() -> Contexts:
    """For a server named localhost, and for a client that trusts it."""
    authority = trustme.CA()
    server = ssl.create_default_context(ssl.Purpose.CLIENT_AUTH)
    authority.issue_cert("localhost").configure_cert(server)
    client = ssl.create_default_context()
    authority.configure_trust(client)
    return server, client


async def echo(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
    try:
        while data := await reader.read(65536):
            writer.write(data)
            await writer.drain()
    finally:
        writer.close()


def test_tls_echo_of_several_megabytes(run: Run[None], contexts: Contexts) -> None:
    async def main() -> None:
        server = await asyncio.start_server(echo, "localhost", 0, ssl=contexts[0])
        port = server.sockets[0].getsockname()[1]
        family = server.sockets[0].family
        reader, writer = await asyncio.open_connection(
            "localhost", port, ssl=contexts[1], family=family
        )
        sent = bytes(range(256)) * 20_000

        async def send() -> None:
            for at in range(0, len(sent), 100_000):
                writer.write(sent[at : at + 100_000])
                await writer.drain()

        task = asyncio.create_task(send())
        assert await reader.readexactly(len(sent)) == sent
        await task
        writer.close()
        await writer.wait_closed()
        server.close()

    run(main())


def test_a_certificate_that_is_not_trusted_ends_the_handshake(
    run: Run[None], contexts: Contexts
) -> None:
    async def main() -> None:
        server = await asyncio.start_server(echo, "127.0.0.1", 0, ssl=contexts[0])
        port = server.sockets[0].getsockname()[1]
        with pytest.raises(ssl.SSLCertVerificationError):
            await asyncio.open_connection(
                "127.0.0.1", port, ssl=ssl.create_default_context(), server_hostname="localhost"
            )
        server.close()

    run(main())


def test_a_connection_is_upgraded_in_its_middle(run: Run[None], contexts: Contexts) -> None:
    async def main() -> None:
        loop = asyncio.get_running_loop()
        ours, theirs = socket.socketpair()
        reader, writer = await asyncio.open_connection(sock=ours)
        peer_reader, peer_writer = await asyncio.open_connection(sock=theirs)
        writer.write(b"plain")
        assert await peer_reader.readexactly(5) == b"plain"

        async def upgrade_peer() -> None:
            transport = await loop.start_tls(
                peer_writer.transport,
                peer_writer.transport.get_protocol(),
                contexts[0],
                server_side=True,
            )
            assert transport is not None
            transport.write(b"secret")

        task = asyncio.create_task(upgrade_peer())
        await writer.start_tls(contexts[1], server_hostname="localhost")
        assert writer.get_extra_info("cipher")
        assert await reader.readexactly(6) == b"secret"
        await task
        writer.transport.abort()
        peer_writer.transport.abort()
        await asyncio.sleep(0)

    run(main())

"""Certificates made on the spot, and clients that use them."""

from __future__ import annotations

import contextlib
import os
import socket
import ssl
from pathlib import Path
from typing import Any

import trustme

from tests.support.server import DEADLINE, Client, Running


class Authority:
    """A certificate authority whose certificates lie in `folder` as PEM files."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        self.ca = trustme.CA()
        self.roots = str(folder / "roots.pem")
        self.ca.cert_pem.write_to_path(self.roots)

    def pair(self, *names: str, prefix: str = "") -> tuple[str, str]:
        """A new certificate for `names`: the paths of its chain and of its key."""
        prefix = prefix or names[0].replace("*", "any")
        cert, key = (str(self.folder / f"{prefix}.{kind}.pem") for kind in ("cert", "key"))
        self.write(cert, key, *names)
        return cert, key

    def write(self, cert: str, key: str, *names: str) -> None:
        """A new certificate for `names` in these files, at once as a deploy would."""
        issued = self.ca.issue_cert(*names)
        issued.private_key_pem.write_to_path(f"{key}.new")
        Path(f"{cert}.new").write_bytes(b"".join(b.bytes() for b in issued.cert_chain_pems))
        os.replace(f"{key}.new", key)
        os.replace(f"{cert}.new", cert)

    def client(self, identity: tuple[str, str] | None = None) -> ssl.SSLContext:
        """What a client that trusts us uses; `identity`: its own certificate and key."""
        context = ssl.create_default_context(cafile=self.roots)
        if identity is not None:
            context.load_cert_chain(*identity)
        return context


def connect(
    running: Running,
    context: ssl.SSLContext,
    name: str | None = "localhost",
    *,
    receive_buffer: int | None = None,
    ragged: bool = False,
) -> Client:
    """A client that speaks TLS. Unless `ragged`, an end without close_notify is an error."""
    plain = running.connect(receive_buffer=receive_buffer)
    try:
        sock = context.wrap_socket(plain.sock, server_hostname=name, suppress_ragged_eofs=ragged)
    except BaseException:
        plain.close()
        raise
    return Client(sock)


def tls_of(client: Client) -> ssl.SSLSocket:
    """The socket of a client from `connect`."""
    assert isinstance(client.sock, ssl.SSLSocket)
    return client.sock


def names_of(client: Client) -> set[str]:
    """The host names in the certificate that the server has shown."""
    cert: Any = tls_of(client).getpeercert()
    return {name for _, name in cert["subjectAltName"]}


class Wire:
    """A TLS client that gives us what it would send, so that we may cut it."""

    def __init__(self, running: Running, context: ssl.SSLContext) -> None:
        self.sock: socket.socket = running.connect().sock
        self.sock.settimeout(DEADLINE)
        self._incoming, self._outgoing = ssl.MemoryBIO(), ssl.MemoryBIO()
        self.tls = context.wrap_bio(self._incoming, self._outgoing, server_hostname="localhost")

    def sealed(self, data: bytes) -> bytes:
        """`data` in records of TLS, not yet sent."""
        self.tls.write(data)
        return self._outgoing.read()

    def goodbye(self) -> bytes:
        """Our close_notify, not yet sent."""
        with contextlib.suppress(ssl.SSLWantReadError):
            self.tls.unwrap()
        return self._outgoing.read()

    def handshake(self, piece: int = 1 << 20) -> None:
        """Shake hands, `piece` bytes at a time."""
        while True:
            try:
                self.tls.do_handshake()
            except ssl.SSLWantReadError:
                self.send(self._outgoing.read(), piece)
                self._incoming.write(self.sock.recv(65536))
            else:
                self.send(self._outgoing.read(), piece)
                return

    def send(self, data: bytes, piece: int = 1 << 20) -> None:
        """Send sealed bytes, `piece` at a time."""
        self.sock.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
        for at in range(0, len(data), piece):
            self.sock.sendall(data[at : at + piece])

    def receive(self) -> bytes:
        """What the server says next; empty at its close_notify."""
        while True:
            try:
                return self.tls.read(65536)
            except ssl.SSLWantReadError:
                data = self.sock.recv(65536)
                if data:
                    self._incoming.write(data)
                else:
                    self._incoming.write_eof()
            except ssl.SSLZeroReturnError:
                return b""

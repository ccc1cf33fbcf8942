"""The adapters of the state machine of TLS over sockets, on each loop: for each state and input the
same is told, sent and logged, whoever carries it out."""

from __future__ import annotations

import asyncio
import logging
import re
import socket
import ssl
import struct

import pytest
from ember.limits import ServerLimits
from ember.protocol.server.codec import Output
from ember.protocol.server.tls import ServerTLS

from tests.support.app import App
from tests.support.server import DEADLINE, Running, ServeFixture
from tests.support.tls import Authority, Wire
from tests.support.waiting import eventually

MUCH = 8 << 20
CLEAR = b"GET / HTTP/1.1\r\n\r\n"
UNFINISHED = ["the TLS handshake was not finished"]
LEFT = ["left during the TLS handshake"]
NO_TLS = ["did not speak TLS"]
BROKEN = ["TLS failed: decryption failed or bad record mac"]


class Told:
    """A codec that notes what it is told. It ends when its peer does, unless it was told to
    stay."""

    def __init__(self, output: Output) -> None:
        self.output = output
        self.told: list[str] = []
        self.stays = False
        made.append(self)

    def data_received(self, data: bytes) -> None:
        self.told.append(data.decode())
        match data:
            case b"much":
                self.output.write(bytes(MUCH))
                self.output.close()
            case b"deadline":
                self.output.expect_within(0.05)
            case b"stay":
                self.stays = True

    def eof_received(self) -> None:
        self.told.append("eof")
        if not self.stays:
            self.output.write(b"bye")
            self.output.close()

    def connection_lost(self) -> None:
        self.told.append("lost")

    def pause_writing(self) -> None:
        pass

    def resume_writing(self) -> None:
        pass

    def timed_out(self) -> None:
        self.told.append("late")
        self.output.close()

    def drain(self) -> None:
        self.told.append("drain")
        self.output.close()


#: The codecs of the test that runs.
made: list[Told] = []


@pytest.fixture(autouse=True)
def _forget() -> None:
    made.clear()


@pytest.fixture(scope="module")
def authority(tmp_path_factory: pytest.TempPathFactory) -> Authority:
    return Authority(tmp_path_factory.mktemp("certificates"))


OTHERS = [pytest.param(name, marks=pytest.mark.once_per_build) for name in ("uvloop", "asyncio")]


@pytest.fixture(params=["", *OTHERS], autouse=True)
def everywhere(request: pytest.FixtureRequest, monkeypatch: pytest.MonkeyPatch) -> None:
    """The loop of this run, and those of others, where TLS is a layer over their transports."""
    if request.param == "uvloop":
        pytest.importorskip("uvloop")
    if request.param:
        monkeypatch.setenv("EMBER_LOOP", request.param)


class Peer(Wire):
    """A client that can be in the middle of something."""

    def __init__(self, running: Running, authority: Authority) -> None:
        context = authority.client()
        context.set_alpn_protocols(["told"])
        super().__init__(running, context)

    def into(self, state: str) -> None:
        """Bring the server's side into `state`."""
        if state == "handshake":
            with pytest.raises(ssl.SSLWantReadError):
                self.tls.do_handshake()
            self.send(self._outgoing.read())
            assert self.sock.recv(1, socket.MSG_PEEK)
        elif state != "new":
            self.handshake()
            eventually(lambda: made)
            if state == "peer ended":
                self.send(self.sealed(b"stay") + self.goodbye())
                eventually(lambda: made[0].told == ["stay", "eof"])
            elif state == "ending":
                self.send(self.sealed(b"much"))
                eventually(lambda: made[0].told == ["much"])

    def give(self, event: str, running: Running) -> None:
        """One input of the server."""
        match event:
            case "clear text":
                self.send(CLEAR)
            case "noise":
                self.send(b"\x80" * 50)
            case "tampered":
                record = bytearray(self.sealed(b"hello"))
                record[-1] ^= 1
                self.send(bytes(record))
            case "text, close_notify, more":
                self.send(self.sealed(b"hello") + self.goodbye() + b"\x17\x03\x03\x00\x01x")
            case "close_notify":
                self.send(self.goodbye())
            case "noise, then the server's end":
                self.send(b"\x80" * 50)
                self.give("the server's end", running)
            case "FIN":
                self.sock.shutdown(socket.SHUT_WR)
            case "reset":
                reset = struct.pack("ii", 1, 0)
                self.sock.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, reset)
                self.sock.close()
            case "deadline of the codec":
                self.send(self.sealed(b"deadline"))
            case "the server's end":
                asyncio.run_coroutine_threadsafe(running.server.close(), running.loop)
            case "the server's abort":
                running.loop.call_soon_threadsafe(running.server.abort)
            case "deadline" | "room":
                pass
            case _:
                raise AssertionError(event)

    def rest(self) -> str:
        """What the server says until its end."""
        if self.sock.fileno() < 0:
            return ""
        found: list[str] = []
        size = 0
        try:
            while data := self.sock.recv(1 << 18):
                if data[:4] == b"HTTP":
                    found.append(data[9:12].decode())
                    continue
                self._incoming.write(data)
                try:
                    while text := self.tls.read(1 << 18):
                        size += len(text)
                except ssl.SSLWantReadError:
                    continue
                except ssl.SSLZeroReturnError:
                    found.append("close_notify")
                    continue
                except ssl.SSLError as error:
                    found.append((error.reason or "no reason").lower())
                    continue
                found.append("close_notify")
            found.append("FIN")
        except ConnectionResetError:
            found.append("RST")
        if size:
            found.insert(0, f"text {size}")
        return ", ".join(found)


#: state, input, what the codec is told, what the client gets, what is logged
TABLE: list[tuple[str, str, list[str], str, list[str]]] = [
    ("new", "clear text", [], "400, FIN", [*NO_TLS, "400 this port speaks TLS: use https://"]),
    ("new", "noise", [], "FIN", NO_TLS),
    ("new", "FIN", [], "FIN", LEFT),
    ("new", "reset", [], "", []),
    ("new", "deadline", [], "FIN", UNFINISHED),
    ("new", "the server's end", [], "FIN", UNFINISHED),
    ("new", "the server's abort", [], "RST", []),
    (
        "handshake",
        "noise",
        [],
        "tlsv1_alert_protocol_version, FIN",
        ["the TLS handshake failed: wrong version number"],
    ),
    ("handshake", "FIN", [], "FIN", LEFT),
    ("handshake", "reset", [], "", []),
    ("handshake", "deadline", [], "FIN", UNFINISHED),
    ("handshake", "the server's end", [], "FIN", UNFINISHED),
    ("handshake", "the server's abort", [], "RST", []),
    ("open", "tampered", ["lost"], "sslv3_alert_bad_record_mac, FIN", BROKEN),
    ("open", "close_notify", ["eof", "lost"], "text 3, close_notify, FIN", []),
    (
        "open",
        "text, close_notify, more",
        ["hello", "eof", "lost"],
        "text 3, close_notify, FIN",
        [],
    ),
    ("open", "FIN", ["eof", "lost"], "text 3, close_notify, FIN", []),
    ("open", "reset", ["lost"], "", []),
    (
        "open",
        "deadline of the codec",
        ["deadline", "late", "lost"],
        "close_notify, FIN",
        [],
    ),
    ("open", "the server's end", ["drain", "lost"], "close_notify, FIN", []),
    ("open", "the server's abort", ["lost"], "RST", []),
    (
        "peer ended",
        "noise, then the server's end",
        ["stay", "eof", "drain", "lost"],
        "close_notify, FIN",
        [],
    ),
    ("peer ended", "reset", ["stay", "eof", "lost"], "", []),
    ("peer ended", "the server's abort", ["stay", "eof", "lost"], "RST", []),
    ("ending", "room", ["much", "lost"], f"text {MUCH}, close_notify, FIN", []),
    ("ending", "close_notify", ["much", "lost"], f"text {MUCH}, close_notify, FIN", []),
    ("ending", "FIN", ["much", "lost"], f"text {MUCH}, close_notify, FIN", []),
    ("ending", "reset", ["much", "lost"], "", []),
    ("ending", "the server's abort", ["much", "lost"], "RST", []),
]


@pytest.mark.parametrize(
    ("state", "event", "told", "got", "logged"), TABLE, ids=[f"{row[0]}-{row[1]}" for row in TABLE]
)
def test_an_input_in_a_state(
    serve: ServeFixture,
    authority: Authority,
    caplog: pytest.LogCaptureFixture,
    state: str,
    event: str,
    told: list[str],
    got: str,
    logged: list[str],
) -> None:
    late = event == "deadline"
    limits = ServerLimits(handshake_timeout=0.2 if late else 30, header_timeout=30)
    running = serve(
        App(limits=limits), ssl=ServerTLS(*authority.pair("localhost")), codecs={"told": Told}
    )
    with caplog.at_level(logging.DEBUG, "ember.protocol"):
        peer = Peer(running, authority)
        eventually(lambda: running.server.connections == 1)
        peer.into(state)
        peer.give(event, running)
        found = peer.rest()
        peer.sock.close()
        eventually(lambda: running.server.connections == 0)
    if "RST" in got:
        # What was sent before may have come, or not.
        found = re.sub(r"^.*, (?=RST$)", "", found)
    assert found == got
    assert [told for codec in made for told in codec.told] == told
    said = [r.getMessage().partition(": ")[2] for r in caplog.records if r.name == "ember.protocol"]
    assert said == logged


def test_what_is_sent_while_a_handshake_is_cut_anywhere(
    serve: ServeFixture, authority: Authority
) -> None:
    running = serve(App(), ssl=ServerTLS(*authority.pair("localhost")), codecs={"told": Told})
    for piece in (1, 5, 6, 300):
        peer = Peer(running, authority)
        peer.sock.settimeout(DEADLINE)
        peer.handshake(piece)
        peer.send(peer.sealed(b"hello") + peer.goodbye(), piece)
        assert peer.rest() == "text 3, close_notify, FIN"
        peer.sock.close()
    assert [codec.told[:2] for codec in made] == [["hello", "eof"]] * 4

"""The state machine of TLS, without a socket: every input in every state, as `tls_machine.txt` has
it, compiled and interpreted."""

from __future__ import annotations

import contextlib
import importlib.util
import logging
import ssl
from importlib.machinery import SourceFileLoader
from pathlib import Path
from typing import Any

import ember.protocol.server.tls_states as states
import pytest
from ember.limits import ServerLimits
from ember.protocol.server import tls_machine
from ember.protocol.server.tls import ServerTLS
from ember.protocol.server.tls_states import TLS_TRANSITIONS, TLSState

from tests.support.tls import Authority

#: Rows of: state | input | state after | told the connection above, and the adapter | what the peer
#: got | logged
TABLE = Path(__file__).with_name("tls_machine.txt")
MUCH = 200_000
CLEAR = b"GET / HTTP/1.1\r\n\r\n"

pytestmark = pytest.mark.once_per_build


def interpreted() -> Any:
    """The module's source, as it runs without a compiler."""
    path = str(Path(states.__file__).with_name("tls_machine.py"))
    loader = SourceFileLoader("interpreted_tls_machine", path)
    spec = importlib.util.spec_from_loader("interpreted_tls_machine", loader)
    assert spec is not None
    module = importlib.util.module_from_spec(spec)
    loader.exec_module(module)
    return module


@pytest.fixture(scope="module")
def authority(tmp_path_factory: pytest.TempPathFactory) -> Authority:
    return Authority(tmp_path_factory.mktemp("certificates"))


@pytest.fixture(scope="module")
def server(authority: Authority) -> ServerTLS:
    return ServerTLS(*authority.pair("localhost"))


class Deadlines:
    def __init__(self, notes: list[str]) -> None:
        self.notes = notes

    def expect(self, what: str, seconds: float) -> None:
        self.notes.append(f"expect {what} {seconds:g}s")


class Above:
    """What the machine needs of a connection."""

    peer = "peer"
    limits = ServerLimits(handshake_timeout=1, header_timeout=2)

    def __init__(self, machine: Any) -> None:
        self.machine = machine
        self.deadlines = Deadlines(machine.notes)
        self.tls: Any = None

    def close(self) -> None:
        self.machine.note("close")
        self.machine.end(False)

    def refuse(self, error: Exception, method: str) -> None:
        self.machine.note(f"refuse {method}")
        self.machine.seal(b"400")
        self.machine.end(True)


def adapter(base: Any) -> Any:
    """A class that notes what a machine of the class `base` decides."""

    class Adapter(base):  # type: ignore[misc]
        def __init__(self, context: Any) -> None:
            super().__init__(context)
            self.plain = bytearray(tls_machine.RECORD)
            self.notes: list[str] = []
            self.out: list[bytes] = []
            self.text = b""
            self.full = self.enough = False
            self.above = Above(self)

        def note(self, what: str) -> None:
            self.notes.append(what)

        def connection(self) -> Any:
            return self.above

        def send(self, data: bytes) -> None:
            self.out.append(data)

        def takes_no_more(self) -> bool:
            return self.full

        def had_its_share(self) -> bool:
            return self.enough

        def pause_below(self) -> None:
            self.note("pause")

        def resume_below(self) -> None:
            self.note("resume")

        def close_below(self, linger: bool) -> None:
            self.note("half-close" if linger else "close socket")

        def go_on_later(self) -> None:
            self.note("later")

        def deliver(self, size: int) -> None:
            self.text += self.plain[:size]
            self.note(f"deliver {size}")

        def tell_established(self) -> None:
            self.note(f"established {self.above.tls.alpn}")

        def tell_eof(self) -> None:
            self.note("eof")

        def tell_hangup(self) -> None:
            self.note("hangup")

        def tell_writable(self) -> None:
            self.note("writable")

    return Adapter


class Peer:
    """A client in memory, and what it makes of what it gets."""

    def __init__(self, authority: Authority, version: ssl.TLSVersion, alpn: list[str]) -> None:
        context = authority.client()
        context.minimum_version = context.maximum_version = version
        if alpn:
            context.set_alpn_protocols(alpn)
        self.incoming, self.outgoing = ssl.MemoryBIO(), ssl.MemoryBIO()
        self.tls = context.wrap_bio(self.incoming, self.outgoing, server_hostname="localhost")
        self.established = self.gone = False

    def flight(self) -> bytes:
        """The next bytes of the handshake."""
        with contextlib.suppress(ssl.SSLWantReadError):
            self.tls.do_handshake()
            self.established = True
        return self.outgoing.read()

    def sealed(self, text: bytes) -> bytes:
        """A record with `text`; without a handshake, and after a goodbye, what looks like one."""
        if not self.established or self.gone:
            return b"\x17\x03\x03" + len(text).to_bytes(2, "big") + text
        self.tls.write(text)
        return self.outgoing.read()

    def goodbye(self) -> bytes:
        """A close_notify; without a handshake, in clear."""
        if not self.established:
            return b"\x15\x03\x03\x00\x02\x01\x00"
        self.gone = True
        with contextlib.suppress(ssl.SSLError):
            self.tls.unwrap()
        return self.outgoing.read()

    def got(self, data: bytes) -> list[str]:
        """What `data` says."""
        if not data:
            return []
        if data[:1].isdigit():
            return [f"in clear {data.decode()}"]
        self.incoming.write(data)
        if not self.established:
            try:
                self.tls.do_handshake()
            except ssl.SSLWantReadError:
                return ["handshake"]
            except ssl.SSLError as error:
                return [str(error.reason).lower()]
            self.established = True
            return ["handshake"]
        size = 0
        found: list[str] = []
        while not found:
            try:
                text = self.tls.read(65536)
                if text:
                    size += len(text)
                else:
                    found = ["close_notify"]
            except ssl.SSLWantReadError:
                found = [] if size else ["tickets"]
                break
            except ssl.SSLZeroReturnError:
                found = ["close_notify"]
            except ssl.SSLError as error:
                found = [str(error.reason).lower()]
        return ([f"text {size}"] if size else []) + found


class Scene:
    """A machine, its peer, and what has happened since the last look."""

    def __init__(
        self,
        base: Any,
        server: ServerTLS,
        authority: Authority,
        version: ssl.TLSVersion = ssl.TLSVersion.TLSv1_3,
        alpn: list[str] | None = None,
    ) -> None:
        self.other = Peer(authority, version, [])
        self.peer = Peer(authority, version, alpn or [])
        self.machine = adapter(base)(server.context)
        self.state: TLSState = self.machine.state
        self.machine.start()

    def look(self) -> tuple[str, str, str]:
        """State, told, what the peer got."""
        state = self.machine.state
        assert (
            state is self.state
            or state in TLS_TRANSITIONS[self.state]
            or (
                # One input may lead through several states.
                any(state in TLS_TRANSITIONS[between] for between in TLS_TRANSITIONS[self.state])
            )
        )
        self.state = state
        told, self.machine.notes[:] = list(self.machine.notes), []
        out, self.machine.out[:] = b"".join(self.machine.out), []
        return state.value, ", ".join(told), ", ".join(self.peer.got(out))

    def into(self, state: TLSState) -> None:
        """Bring it into `state`."""
        machine, peer = self.machine, self.peer
        if state is TLSState.NEW:
            pass
        elif state is TLSState.IN_CLEAR:
            machine.received(CLEAR)
        elif state is TLSState.CLOSED:
            machine.lost()
        else:
            machine.received(peer.flight())
            if state is not TLSState.HANDSHAKE:
                self.look()
                machine.received(peer.flight())
                self.look()
            if state is TLSState.PEER_ENDED:
                machine.received(peer.goodbye())
            elif state is TLSState.ENDING:
                machine.full = True
                machine.seal(b"wait")
                machine.end(True)
            elif state is TLSState.FINISHED:
                machine.end(True)
        self.look()
        assert self.state is state

    def give(self, event: str) -> None:
        """One input."""
        machine, peer = self.machine, self.peer
        match event:
            case "clear text":
                machine.received(CLEAR)
            case "clear HEAD":
                machine.received(b"HEAD / HTTP/1.1\r\n\r\n")
            case "noise":
                machine.received(b"\x80" * 50)
            case "handshake":
                first = machine.state in (TLSState.NEW, TLSState.HANDSHAKE)
                machine.received((peer if first else self.other).flight())
            case "text":
                machine.received(peer.sealed(b"hello"))
            case "tampered text":
                record = bytearray(peer.sealed(b"hello"))
                record[-1] ^= 1
                machine.received(bytes(record))
            case "half a record":
                machine.received(peer.sealed(b"hello")[:-1])
            case "close_notify":
                machine.received(peer.goodbye())
            case "text, close_notify, text":
                data = peer.sealed(b"hello") + peer.goodbye()
                machine.received(data + b"\x17\x03\x03\x00\x05hello")
            case "FIN":
                machine.peer_fin()
            case "reset":
                machine.lost()
            case "write":
                machine.seal(b"hello")
            case "write, not taken":
                machine.full = True
                machine.seal(bytes(MUCH))
            case "taken":
                machine.full = False
                machine.take_more()
            case "pause, resume":
                machine.pause_input()
                machine.resume_input()
            case "end":
                machine.end(False)
            case "end, lingering":
                machine.end(True)
            case "abort":
                machine.abort()
            case _:
                raise AssertionError(event)


EVENTS = [
    "clear text",
    "clear HEAD",
    "noise",
    "handshake",
    "text",
    "tampered text",
    "half a record",
    "close_notify",
    "text, close_notify, text",
    "FIN",
    "reset",
    "write",
    "write, not taken",
    "taken",
    "pause, resume",
    "end",
    "end, lingering",
    "abort",
]


def row(scene: Scene, state: TLSState, event: str, log: pytest.LogCaptureFixture) -> str:
    """The row of the table for `event` in `state`."""
    scene.into(state)
    log.clear()
    scene.give(event)
    after, told, got = scene.look()
    logged = [
        f"{record.levelname} {record.getMessage().removeprefix('peer: ')}"
        for record in log.records
        if record.name == "ember.protocol"
    ]
    cells = [state.value, event, after, told, got, ", ".join(logged)]
    return " | ".join(cell or "-" for cell in cells)


def both() -> dict[str, Any]:
    """The class as this build has it, and as its source says."""
    return {"built": tls_machine.TLSMachine, "interpreted": interpreted().TLSMachine}


def test_every_input_in_every_state(
    server: ServerTLS, authority: Authority, caplog: pytest.LogCaptureFixture
) -> None:
    caplog.set_level(logging.DEBUG, "ember.protocol")
    expected = [line for line in TABLE.read_text().splitlines() if line and line[0] != "#"]
    assert len(expected) == len(TLSState) * len(EVENTS)
    for base in both().values():
        found = [
            row(Scene(base, server, authority), state, event, caplog)
            for state in TLSState
            for event in EVENTS
        ]
        assert found == expected


@pytest.mark.parametrize("version", [ssl.TLSVersion.TLSv1_2, ssl.TLSVersion.TLSv1_3])
def test_bytes_cut_anywhere(
    server: ServerTLS, authority: Authority, version: ssl.TLSVersion
) -> None:
    def played(base: Any, cut: int) -> tuple[list[str], bytes, TLSState]:
        """What is told when each flight is cut at `cut`, and every `cut` bytes."""
        scene = Scene(base, server, authority, version)
        machine, peer = scene.machine, scene.peer

        def send(data: bytes) -> None:
            for at in range(0, len(data), cut):
                machine.received(data[at : at + cut])
                scene.state = machine.state
            peer.got(b"".join(machine.out))
            machine.out.clear()

        for _ in range(3):
            send(peer.flight())
        send(peer.sealed(b"one") + peer.sealed(b"two" * 5000) + peer.goodbye())
        return machine.notes, machine.text, machine.state

    expected = ["expect head 1s", "expect head 2s", "established None"]
    expected += ["deliver 3", "deliver 15000", "eof"]
    for base in both().values():
        for cut in (1, 2, 3, 4, 5, 6, 7, 64, 517, 1 << 20):
            found = played(base, cut)
            assert found == (expected, b"one" + b"two" * 5000, TLSState.PEER_ENDED)


@pytest.mark.parametrize(
    ("offered", "chosen"),
    [([], "None"), (["spdy/3"], "None"), (["spdy/3", "echo"], "echo"), (["http/1.1"], "http/1.1")],
)
def test_the_protocol_that_is_agreed_on(
    authority: Authority, offered: list[str], chosen: str
) -> None:
    server = ServerTLS(*authority.pair("localhost"))
    server.offer(["echo"])
    for base in both().values():
        scene = Scene(base, server, authority, alpn=offered)
        for _ in range(2):
            scene.machine.received(scene.peer.flight())
            _, told, _ = scene.look()
        assert told == f"expect head 2s, established {chosen}"


def test_what_was_written_before_the_handshake_follows_it(
    server: ServerTLS, authority: Authority
) -> None:
    for base in both().values():
        scene = Scene(base, server, authority)
        scene.machine.received(scene.peer.flight())
        scene.machine.seal(b"early")
        scene.look()
        scene.machine.received(scene.peer.flight())
        scene.machine.take_more()
        assert scene.look()[1:] == ("expect head 2s, established None, writable", "text 5")


def test_a_slow_reader_gets_everything_and_then_the_goodbye(
    server: ServerTLS, authority: Authority
) -> None:
    for base in both().values():
        scene = Scene(base, server, authority)
        scene.into(TLSState.OPEN)
        machine = scene.machine
        machine.full = True
        for size in (5, MUCH, 17):
            machine.seal(bytes(size))
        assert machine.waiting == 5 + MUCH + 17
        machine.end(False)
        assert scene.look() == ("ending", "", "")
        machine.full = False
        machine.take_more()
        assert machine.waiting == 0
        told = scene.look()
        assert told == ("finished", "close socket", f"text {5 + MUCH + 17}, close_notify")


def test_what_stays_unsent_waits_by_reference(server: ServerTLS, authority: Authority) -> None:
    for base in both().values():
        scene = Scene(base, server, authority)
        scene.into(TLSState.OPEN)
        machine = scene.machine
        send = machine.send

        def fill(data: bytes, machine: Any = machine, send: Any = send) -> None:
            send(data)
            machine.full = len(machine.out) >= 2

        machine.send = fill
        machine.seal(bytes(MUCH))
        assert (len(machine.out), machine.waiting) == (2, MUCH - 131_072)
        machine.abort()
        assert machine.waiting == 0


def test_many_small_records_take_turns(server: ServerTLS, authority: Authority) -> None:
    for base in both().values():
        scene = Scene(base, server, authority)
        scene.into(TLSState.OPEN)
        machine = scene.machine
        machine.enough = True
        machine.received(b"".join(scene.peer.sealed(b"x") for _ in range(20)))
        assert machine.notes == ["deliver 1"] * 8 + ["later"]
        assert machine.postponed
        # More than a connection takes beforehand: nothing is received until the next turn.
        machine.received(scene.peer.sealed(bytes(16384)) * 5 + scene.peer.goodbye())
        machine.peer_fin()
        assert machine.notes[9:] == ["pause"]
        machine.go_on()
        assert machine.notes[10:] == ["deliver 1"] * 8 + ["later"]
        machine.lost()
        machine.go_on()
        assert machine.notes[19:] == []


def test_the_end_behind_small_records_is_told_behind_them(
    server: ServerTLS, authority: Authority
) -> None:
    for base in both().values():
        scene = Scene(base, server, authority)
        scene.into(TLSState.OPEN)
        machine = scene.machine
        machine.enough = True
        machine.received(b"".join(scene.peer.sealed(b"x") for _ in range(9)))
        machine.peer_fin()
        machine.pause_input()
        assert machine.notes == ["deliver 1"] * 8 + ["later", "pause"]
        machine.go_on()
        assert machine.notes[10:] == ["deliver 1", "eof"]
        assert machine.state is TLSState.PEER_ENDED


def test_an_end_that_lingers_may_stop_to(server: ServerTLS, authority: Authority) -> None:
    for base in both().values():
        scene = Scene(base, server, authority)
        scene.into(TLSState.ENDING)
        scene.machine.end(False)
        scene.machine.full = False
        scene.machine.take_more()
        assert scene.look() == ("finished", "close socket", "text 4, close_notify")

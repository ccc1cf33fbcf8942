"""The registry of content codings: every coding, in both directions, through a real server."""

from __future__ import annotations

import gzip
import re
import subprocess
import sys
import tomllib
import zlib
from collections.abc import Callable
from pathlib import Path

import brotli
import pytest
from ember import Ember, Request
from ember.middleware.compression import ENCODINGS
from ember.protocol.message.codings import CODINGS, CURE, Coding, MissingLibrary, find
from ember.responses.negotiation import negotiate

from tests.support.server import ServeFixture

if sys.version_info >= (3, 14):
    from compression import zstd
else:
    from backports import zstd

#: Each coding by somebody else: what encodes it, and what decodes it.
OTHERS: dict[str, tuple[Callable[[bytes], bytes], Callable[[bytes], bytes]]] = {
    "zstd": (zstd.compress, zstd.decompress),
    "br": (brotli.compress, brotli.decompress),
    "gzip": (gzip.compress, gzip.decompress),
    "deflate": (zlib.compress, zlib.decompress),
}
#: Each name and alias with its coding.
NAMES = [(name, coding) for coding in CODINGS for name in (coding.name, *coding.aliases)]
TEXT = b"Every coding says the same thing. " * 100


def test_every_coding_is_in_this_table() -> None:
    assert [coding.name for coding in CODINGS] == list(OTHERS)


@pytest.mark.parametrize(("name", "coding"), NAMES, ids=[name for name, _ in NAMES])
def test_a_coding_goes_in_and_out_of_a_server(
    name: str, coding: Coding, serve: ServeFixture
) -> None:
    app = Ember(compression=True)

    @app.post("/")
    async def echo(request: Request) -> str:
        return (await request.body()).decode()

    encode, decode = OTHERS[coding.name]
    sent = {"Content-Encoding": name, "Accept-Encoding": name}
    answer = serve(app).request("POST", "/", encode(TEXT), sent)
    assert answer.status == 200
    if coding.encodes:
        assert answer.header("content-encoding") == coding.name
        assert decode(answer.body) == TEXT
        assert len(answer.body) < len(TEXT) / 5
    else:
        assert answer.header("content-encoding") is None
        assert answer.body == TEXT


@pytest.mark.parametrize("events", [False, True], ids=["body", "events"])
@pytest.mark.parametrize("coding", CODINGS, ids=lambda coding: coding.name)
def test_the_decoder_reads_what_the_encoder_writes(coding: Coding, events: bool) -> None:
    if not coding.encodes:
        with pytest.raises(LookupError, match="responses are never encoded with it"):
            coding.encoder(events)
        return
    encoder, decoder = coding.encoder(events), coding.decoder(1)
    decoder.put(encoder.compress(TEXT) + encoder.flush())
    assert decoder.take(65536) == TEXT
    assert not decoder.ended
    decoder.put(encoder.finish())
    assert (decoder.take(65536), decoder.ended) == (b"", True)


@pytest.mark.parametrize(("name", "coding"), NAMES, ids=[name for name, _ in NAMES])
def test_an_alias_is_the_same_coding(name: str, coding: Coding) -> None:
    assert find(name) is coding
    assert negotiate(name, [coding.name]) == coding.name
    # The name itself decides where both are there.
    if name != coding.name:
        assert negotiate(f"{name}, {coding.name};q=0", [coding.name]) is None


def test_no_name_means_two_codings() -> None:
    names = [name for name, _ in NAMES]
    assert len(names) == len(set(names))
    assert all(name == name.lower() for name in names)
    assert find("identity") is None


def test_responses_are_offered_what_can_be_encoded() -> None:
    assert ENCODINGS == ("zstd", "br", "gzip")


@pytest.mark.parametrize("coding", [c for c in CODINGS if c.ending], ids=lambda coding: coding.name)
def test_a_compressed_copy_of_a_file_is_found_by_its_ending(
    coding: Coding, serve: ServeFixture, tmp_path: Path
) -> None:
    encode, decode = OTHERS[coding.name]
    (tmp_path / "page.txt").write_bytes(TEXT)
    (tmp_path / f"page.txt{coding.ending}").write_bytes(encode(TEXT))
    app = Ember()
    app.static("/", tmp_path)
    answer = serve(app).get("/page.txt", {"Accept-Encoding": coding.name})
    assert answer.header("content-encoding") == coding.name
    assert decode(answer.body) == TEXT


# -- libraries ------------------------------------------------------------------------------------


def without_libraries(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("ember.protocol.message.codings._loaded", {})
    for name in ("brotli", "backports", "backports.zstd", "compression", "isal"):
        monkeypatch.setitem(sys.modules, name, None)


@pytest.mark.parametrize("coding", CODINGS, ids=lambda coding: coding.name)
def test_a_coding_whose_library_is_missing_says_what_to_install(
    coding: Coding, monkeypatch: pytest.MonkeyPatch
) -> None:
    without_libraries(monkeypatch)
    if not coding.package:
        assert coding.can_decode()
        assert coding.can_encode() == coding.encodes
        return
    assert not coding.can_decode()
    assert not coding.can_encode()
    message = re.escape(f"{coding.name}: {coding.package} is not installed; {CURE}")
    with pytest.raises(MissingLibrary, match=message):
        coding.decoder(1)
    with pytest.raises(MissingLibrary, match=message):
        coding.encoder()


def test_a_body_whose_library_is_missing_is_415_and_the_traceback_has_the_cure(
    monkeypatch: pytest.MonkeyPatch, serve: ServeFixture
) -> None:
    without_libraries(monkeypatch)
    app = Ember(compression=True)
    causes = []

    @app.handle(415)
    async def refused(request: Request, error: Exception) -> str:
        causes.append(error.__cause__)
        return str(error)

    @app.post("/")
    async def echo(request: Request) -> bytes:
        return await request.body()

    asked = {"Content-Encoding": "br", "Accept-Encoding": "br"}
    answer = serve(app).request("POST", "/", brotli.compress(TEXT), asked)
    assert answer.status == 415
    assert b"known: gzip, deflate" in answer.body
    assert answer.header("content-encoding") is None
    assert [str(cause) for cause in causes] == [f"br: Brotli is not installed; {CURE}"]


def test_the_cure_installs_what_the_codings_need() -> None:
    project = Path(__file__).parent.parent / "pyproject.toml"
    extras = tomllib.loads(project.read_text())["project"]["optional-dependencies"]
    installed = {re.split(r"[><=; ]", line, maxsplit=1)[0].lower() for line in extras["compress"]}
    assert installed == {p.lower() for coding in CODINGS for p in coding.packages}
    assert "ember-api[compress]" in CURE


LIBRARIES = {"brotli", "_brotli", "isal", "backports", "compression", "zlib", "gzip", "_zstd"}


def loaded_by(code: str) -> set[str]:
    """The libraries of codings that a program has loaded at its end."""
    done = subprocess.run(
        [sys.executable, "-c", f"import sys; before = set(sys.modules)\n{code}\n"
         "print(*sorted(set(sys.modules) - before))"],
        capture_output=True, text=True, check=True, timeout=120,
    )  # fmt: skip
    names = set(done.stdout.split())
    return {name.partition(".")[0] for name in names} & LIBRARIES | {
        name for name in names if name.startswith("ember.protocol.message.") and "coder" in name
    }


HELLO = """
from ember import Ember
from ember.protocol import MemoryConnection
app = Ember()
@app.get("/")
async def index(): return "x"
c = MemoryConnection(app)
c.feed(b"GET / HTTP/1.1\\r\\nHost: a\\r\\nAccept-Encoding: gzip, br, zstd\\r\\n\\r\\n")
assert c.take().endswith(b"x")
"""


@pytest.mark.once_per_build
@pytest.mark.parametrize("code", ["import ember", "import ember.protocol.message.codings", HELLO])
def test_a_library_is_loaded_when_it_is_first_used(code: str) -> None:
    assert loaded_by(code) == set()


@pytest.mark.once_per_build
def test_decoding_loads_one_library_and_no_encoder() -> None:
    code = "from ember.protocol.message.codings import find; find('br').decoder(1)"
    assert loaded_by(code) == {"brotli", "_brotli", "ember.protocol.message.decoders"}

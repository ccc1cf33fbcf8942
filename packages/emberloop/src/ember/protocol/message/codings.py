"""The registry of content codings (RFC 9110 section 8.4.1): which there are, how they are called,
what each needs, and how to make an encoder and a decoder.

A coding is added here, with its classes in `encoders.py` and `decoders.py`; all others read this
list: decoded request bodies, compressed responses, `Accept-Encoding`, compressed copies of static
files. Importing this loads no compression library: each is loaded when it is first used.
"""

from __future__ import annotations

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Callable
    from typing import Any, TypeVar

    from ember.protocol.message.decoders import Decoder
    from ember.protocol.message.encoders import Encoder

    #: They make a decoder of at most so many frames; an encoder, of an event stream or not.
    MakeDecoder = Callable[[int], Decoder]
    MakeEncoder = Callable[[bool], Encoder]
    T = TypeVar("T")

#: What installs the libraries of all codings.
CURE = "pip install 'ember-api[compress]'"


class MissingLibrary(LookupError):
    """The library of a coding is not installed. The message has the cure."""


#: What the functions that load a library returned; None: it is not installed.
_loaded: dict[Callable[[], Any], Any] = {}


class Coding:
    """A content coding.

    - `name`: as `Content-Encoding` has it. `aliases`: other names of the same coding.
    - `package`: what has to be installed; "" if the standard library is enough, as for gzip, which
      uses `faster` where that is installed.
    - `ending`: of a file in this coding, with a dot; "": no such files are served.
    - `load_decoder`, `load_encoder`: load the library and return what makes a decoder or an
      encoder. They raise ImportError. Without `load_encoder` it is never used for responses.
    """

    __slots__ = (
        "_load_decoder",
        "_load_encoder",
        "aliases",
        "ending",
        "faster",
        "name",
        "package",
    )

    def __init__(
        self,
        name: str,
        load_decoder: Callable[[], MakeDecoder],
        load_encoder: Callable[[], MakeEncoder] | None = None,
        *,
        aliases: tuple[str, ...] = (),
        package: str = "",
        faster: str = "",
        ending: str = "",
    ) -> None:
        self.name = name
        self.aliases = aliases
        self.package = package
        self.faster = faster
        self.ending = ending
        self._load_decoder = load_decoder
        self._load_encoder = load_encoder

    @property
    def packages(self) -> tuple[str, ...]:
        """What `CURE` installs for it."""
        return tuple(filter(None, (self.package, self.faster)))

    @property
    def encodes(self) -> bool:
        """Whether responses may have it, if its library is installed."""
        return self._load_encoder is not None

    def decoder(self, max_frames: int) -> Decoder:
        """A new decoder of at most `max_frames` gzip members or zstd frames.

        Raises MissingLibrary."""
        return self._maker(self._load_decoder)(max_frames)

    def encoder(self, events: bool = False) -> Encoder:
        """A new encoder. `events`: for an event stream, with a small window.

        Raises MissingLibrary, and LookupError if it is never used for responses."""
        if self._load_encoder is None:
            raise LookupError(f"{self.name}: responses are never encoded with it")
        return self._maker(self._load_encoder)(events)

    def can_decode(self) -> bool:
        """Whether `decoder` works here."""
        return _load(self._load_decoder) is not None

    def can_encode(self) -> bool:
        """Whether `encoder` works here."""
        return self._load_encoder is not None and _load(self._load_encoder) is not None

    def _maker(self, load: Callable[[], T]) -> T:
        maker = _load(load)
        if maker is None:
            raise MissingLibrary(f"{self.name}: {self.package} is not installed; {CURE}")
        return maker


def _load(load: Callable[[], T]) -> T | None:
    """What `load` returned the first time; None if the library is not installed."""
    if load not in _loaded:
        try:
            _loaded[load] = load()
        except ImportError:
            _loaded[load] = None
    made: T | None = _loaded[load]
    return made


# -- zstd (RFC 8878) ------------------------------------------------------------------------------


def _zstd_library() -> Any:
    try:
        from compression import zstd  # type: ignore[import-not-found, unused-ignore]
    except ImportError:
        from backports import zstd
    return zstd


def _zstd_decoder() -> MakeDecoder:
    from ember.protocol.message.decoders import Zstd

    library = _zstd_library()
    return lambda max_frames: Zstd(library, max_frames)


def _zstd_encoder() -> MakeEncoder:
    from ember.protocol.message.encoders import Zstd

    library = _zstd_library()
    return lambda events: Zstd(library, events)


# -- br (RFC 7932) --------------------------------------------------------------------------------


def _br_decoder() -> MakeDecoder:
    import brotli
    from ember.protocol.message.decoders import Brotli

    return lambda _: Brotli(brotli)


def _br_encoder() -> MakeEncoder:
    import brotli
    from ember.protocol.message.encoders import Brotli

    return lambda events: Brotli(brotli, events)


# -- gzip and deflate (RFC 1952, RFC 1950) --------------------------------------------------------


def _gzip_decoder() -> MakeDecoder:
    import zlib

    from ember.protocol.message.decoders import Zlib

    return lambda max_frames: Zlib(zlib, 31, max_frames)


def _gzip_encoder() -> MakeEncoder:
    from ember.protocol.message.encoders import Gzip

    try:
        from isal import isal_zlib
    except ImportError:
        import zlib

        # Level 1: two thirds of the gain in a fifth of the time.
        return lambda _: Gzip(zlib, 1)
    return lambda _: Gzip(isal_zlib, 2)


def _deflate_decoder() -> MakeDecoder:
    import zlib

    from ember.protocol.message.decoders import Zlib

    return lambda max_frames: Zlib(zlib, 15, max_frames)


#: All codings, the best first: so they are offered to clients, and chosen at equal weights.
CODINGS = (
    Coding("zstd", _zstd_decoder, _zstd_encoder, package="backports.zstd", ending=".zst"),
    Coding("br", _br_decoder, _br_encoder, package="Brotli", ending=".br"),
    # RFC 9110 section 8.4.1.3: x-gzip is the same.
    Coding("gzip", _gzip_decoder, _gzip_encoder, aliases=("x-gzip",), faster="isal", ending=".gz"),
    # Not for responses: some clients take it for the raw format (RFC 9110 section 8.4.1.2).
    Coding("deflate", _deflate_decoder),
)

_by_name = {name: coding for coding in CODINGS for name in (coding.name, *coding.aliases)}


def find(name: str) -> Coding | None:
    """The coding with this name or alias, in lower case; None if there is none."""
    return _by_name.get(name)

"""TLS for a server: certificates from files, chosen by host name, read again when they change."""

from __future__ import annotations

import logging
import os
import ssl
import sys

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Mapping
    from typing import Any

    Path = str | os.PathLike[str]
    Password = str | bytes | Callable[[], str | bytes]

__all__ = ["ServerTLS", "TLSError", "TLSInfo"]

log = logging.getLogger("ember.protocol")

#: What this server can speak, best first (RFC 7301).
ALPN = ["http/1.1"]

CLIENT_CERT = ("required", "optional")


class TLSError(ValueError):
    """Certificates that cannot be used; says which file, and what is wrong with it."""


class TLSInfo:
    """What TLS knows of one connection; `request.tls`."""

    __slots__ = ("_cert", "_ssl_object")

    def __init__(self, ssl_object: ssl.SSLObject) -> None:
        self._ssl_object = ssl_object
        self._cert: dict[str, Any] | None = None

    @property
    def version(self) -> str:
        """`"TLSv1.3"` or `"TLSv1.2"`."""
        return self._ssl_object.version() or ""

    @property
    def cipher(self) -> str:
        """The name of the cipher suite."""
        cipher = self._ssl_object.cipher()
        return cipher[0] if cipher else ""

    @property
    def alpn(self) -> str | None:
        """The protocol that was agreed on (RFC 7301); None when the client named none of ours."""
        return self._ssl_object.selected_alpn_protocol()

    @property
    def client_cert(self) -> dict[str, Any] | None:
        """The verified certificate of the client, as `ssl.SSLSocket.getpeercert()` gives it; None
        when the client gave none or was not asked."""
        if self._cert is None:
            self._cert = dict(self._ssl_object.getpeercert() or {})
        return self._cert or None

    @property
    def client_cert_der(self) -> bytes | None:
        """The same certificate as DER."""
        return self._ssl_object.getpeercert(binary_form=True)


def fault(error: ssl.SSLError) -> str:
    """OpenSSL's words without its source line."""
    text = getattr(error, "verify_message", None) or error.reason or str(error)
    return text.replace("_", " ").lower()


class CurrentContext:
    """Wraps a connection in the context of the moment."""

    __slots__ = ("context",)

    def __init__(self, context: ssl.SSLContext) -> None:
        self.context = context

    def wrap_bio(
        self, incoming: ssl.MemoryBIO, outgoing: ssl.MemoryBIO, *, server_side: bool
    ) -> ssl.SSLObject:
        """See `ssl.SSLContext.wrap_bio`."""
        return self.context.wrap_bio(incoming, outgoing, server_side=server_side)


def shake_hands(connection: Any) -> None:
    """`connection.do_handshake()`, which may be called again when more has arrived.

    A host name that is not ASCII fails the handshake inside Python's SNI callback, which prints a
    traceback past `logging` each time: not for what any client may send.
    """
    hook = sys.unraisablehook

    def unraisable(what: sys.UnraisableHookArgs) -> None:
        if not (isinstance(what.exc_value, UnicodeDecodeError) and type(what.object) is bytes):
            hook(what)

    sys.unraisablehook = unraisable
    try:
        connection.do_handshake()
    finally:
        if sys.unraisablehook is unraisable:
            sys.unraisablehook = hook


class ServerTLS:
    """The certificates of a server; `serve(ssl=ServerTLS(...))`.

    - `certfile`: PEM, the certificate and its chain; `keyfile`: PEM (default: it is in `certfile`);
      `password`: of an encrypted key.
    - `ca_certs`: PEM; clients are asked for a certificate signed by one of these. `client_cert`:
      "required" (the default with `ca_certs`) or "optional".
    - `certs`: further certificates by host name (SNI, RFC 6066 section 3):
      `{"shop.example": (certfile, keyfile), "*.example.org": certfile}`. A name beats a wildcard,
      which stands for one label; everything else, and a client that gives no name, gets `certfile`.
    - `check_interval`: seconds between two looks at the files (default 10). A changed file is read
      again, for the connections that begin after that; while it cannot be used the old one stays,
      with one line in the log.

    TLS 1.2 and 1.3, ALPN `http/1.1`, no renegotiation. Raises `TLSError`.
    """

    def __init__(
        self,
        certfile: Path,
        keyfile: Path | None = None,
        password: Password | None = None,
        *,
        ca_certs: Path | None = None,
        client_cert: str | None = None,
        certs: Mapping[str, Path | tuple[Path, Path | None]] | None = None,
        check_interval: float = 10.0,
    ) -> None:
        if client_cert is not None and client_cert not in CLIENT_CERT:
            raise TLSError(
                f"client_cert={client_cert!r}: expected {' or '.join(map(repr, CLIENT_CERT))}"
            )
        if client_cert is not None and ca_certs is None:
            raise TLSError(f"client_cert={client_cert!r} needs ca_certs=, who may sign them")
        if not check_interval > 0:
            raise TLSError(f"check_interval={check_interval!r}: expected seconds above 0")
        self.check_interval = check_interval
        self._alpn = list(ALPN)
        self._ca_certs = ca_certs
        self._verify = ssl.CERT_NONE
        if ca_certs is not None:
            self._verify = ssl.CERT_OPTIONAL if client_cert == "optional" else ssl.CERT_REQUIRED
        self._password = password
        self._pairs: dict[str, tuple[Path, Path | None]] = {"": (certfile, keyfile)}
        for name, pair in (certs or {}).items():
            self._pairs[_host(name)] = pair if isinstance(pair, tuple) else (pair, None)
        self._seen = self._look()
        self._trusted = self._trust()
        self._contexts = self._load()
        #: what `asyncio` and others take; it stays the same when certificates change, and so do its
        #: sessions
        self.context = self._first_context()
        #: what Ember's own listeners take: its context is another one when `ca_certs` changes
        self.current = CurrentContext(self.context)

    # -- reading --------------------------------------------------------------------------------

    def offer(self, protocols: Iterable[str]) -> None:
        """Let clients choose among these by ALPN (RFC 7301) before HTTP/1.1, in this order."""
        self._alpn = [*protocols, *ALPN]
        for context in (self.context, self.current.context, *self._contexts.values()):
            context.set_alpn_protocols(self._alpn)

    def check(self) -> bool:
        """Read the files again if one has changed. Whether new certificates are in use."""
        return self._look() != self._seen and self.reload()

    def reload(self) -> bool:
        """Read the files again. False, and one line in the log, when they cannot be used: then what
        was read before stays in use.

        When `ca_certs` has other content, no TLS session of before is resumed: a session stands for
        a certificate that was verified then."""
        self._seen = self._look()
        trusted = self._trust()
        try:
            contexts = self._load()
            if trusted != self._trusted:
                # The keys of tickets, and the sessions that are kept, belong to this context.
                self.current.context = self._first_context()
        except TLSError as error:
            log.error("the certificates before stay in use: %s", error)
            return False
        self._contexts, self._trusted = contexts, trusted
        log.info("certificates were read again")
        return True

    def _files(self) -> list[Path]:
        files = [f for pair in self._pairs.values() for f in pair if f is not None]
        return files if self._ca_certs is None else [*files, self._ca_certs]

    def _look(self) -> list[tuple[int, ...] | None]:
        return [_stamp(file) for file in self._files()]

    def _load(self) -> dict[str, ssl.SSLContext]:
        return {name: self._new_context(*pair) for name, pair in self._pairs.items()}

    def _trust(self) -> bytes:
        """A digest of whom clients may be signed by."""
        import hashlib

        if self._ca_certs is None:
            return b""
        try:
            with open(self._ca_certs, "rb") as content:
                return hashlib.sha256(content.read()).digest()
        except OSError:
            return b""  # `_load` says what is wrong with it

    def _first_context(self) -> ssl.SSLContext:
        """The context that a handshake begins with, before it is known which host is meant."""
        context = self._new_context(*self._pairs[""])
        context.sni_callback = self._choose
        return context

    def _new_context(self, certfile: Path, keyfile: Path | None) -> ssl.SSLContext:
        for file in (certfile, keyfile, self._ca_certs):
            if file is not None:
                _readable(file)
        context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
        context.minimum_version = ssl.TLSVersion.TLSv1_2
        context.options |= ssl.OP_NO_RENEGOTIATION | ssl.OP_CIPHER_SERVER_PREFERENCE
        context.set_alpn_protocols(self._alpn)
        self._load_pair(context, certfile, keyfile)
        if self._ca_certs is not None:
            try:
                context.load_verify_locations(self._ca_certs)
            except ssl.SSLError:
                raise TLSError(f"{os.fspath(self._ca_certs)} holds no certificate (PEM)") from None
        context.verify_mode = self._verify
        return context

    def _load_pair(self, context: ssl.SSLContext, certfile: Path, keyfile: Path | None) -> None:
        cert, key = os.fspath(certfile), os.fspath(keyfile or certfile)
        asked: list[bool] = []

        def password() -> str | bytes:
            # Without this OpenSSL would ask on the terminal.
            asked.append(True)
            given = self._password() if callable(self._password) else self._password
            if given is None:
                raise TLSError(f"the key in {key} is encrypted: give its password")
            return given

        try:
            context.load_cert_chain(certfile, keyfile, password)
        except ssl.SSLError as error:
            if asked:
                raise TLSError(f"the password of the key in {key} is wrong") from None
            if error.reason == "KEY_VALUES_MISMATCH":
                raise TLSError(
                    f"the key in {key} is not that of the certificate in {cert}"
                ) from None
            what = (
                f"{cert} holds no certificate" if not _holds_cert(cert) else f"{key} holds no key"
            )
            raise TLSError(f"{what} that can be used (PEM)") from None

    # -- choosing -------------------------------------------------------------------------------

    def _choose(
        self, connection: ssl.SSLObject | ssl.SSLSocket, name: str | None, _: ssl.SSLContext
    ) -> None:
        """Called by OpenSSL for every handshake, with the host name that the client gave."""
        contexts = self._contexts
        chosen = contexts[""]
        if name is not None and len(contexts) > 1:
            name = name.lower()
            chosen = contexts.get(name) or contexts.get(f"*.{name.partition('.')[2]}") or chosen
        connection.context = chosen


def _host(name: str) -> str:
    host = name.strip().rstrip(".").lower()
    if not host or "*" in host.removeprefix("*.") or host == "*.":
        raise TLSError(f'certs={{"{name}": ...}}: expected a host name or "*." and one')
    return host.encode("idna").decode() if not host.isascii() else host


def _stamp(file: Path) -> tuple[int, ...] | None:
    try:
        found = os.stat(file)
    except OSError:
        return None
    return found.st_mtime_ns, found.st_size, found.st_ino


def _readable(file: Path) -> None:
    try:
        with open(file, "rb"):
            pass
    except FileNotFoundError:
        raise TLSError(f"{os.fspath(file)} does not exist") from None
    except OSError as error:
        raise TLSError(f"{os.fspath(file)} cannot be read: {error.strerror}") from None


def _holds_cert(file: str) -> bool:
    with open(file, "rb") as content:
        return b"-----BEGIN CERTIFICATE-----" in content.read()

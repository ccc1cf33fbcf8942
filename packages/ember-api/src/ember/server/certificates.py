"""Makes the TLS configuration of a server from the `ssl_...` options of `app.run`."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from ember.protocol.server.tls import ServerTLS


def certificates(options: Any) -> ServerTLS | None:
    """The TLS configuration of `options` (server.Options); None without TLS. Raises `TLSError`."""
    if options.ssl_certfile is None:
        return None
    from ember.protocol.server.tls import ServerTLS

    return ServerTLS(
        options.ssl_certfile,
        options.ssl_keyfile,
        options.ssl_keyfile_password,
        ca_certs=options.ssl_ca_certs,
        client_cert=options.ssl_client_cert,
        certs=options.ssl_certs,
    )

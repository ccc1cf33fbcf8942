"""`SubConnection`: an exchange of a codec that has several on one connection at once.

Each has a connection of its own inside of the one that carries them: its own deadlines, its own
slow reader, the body of its own request. The codec translates: it feeds a request in the form of
HTTP/1.1, and puts what is sent, in that form too, into its frames. So there is one place that
knows how a request is answered, and a codec knows frames alone.
"""

from __future__ import annotations

from ember._build import PURE

TYPE_CHECKING = False
if TYPE_CHECKING or PURE:
    from ember.protocol.server.pure.subconnection import SubConnection as SubConnection
else:
    from ember.protocol.server._subconnection import SubConnection

__all__ = ["SubConnection"]

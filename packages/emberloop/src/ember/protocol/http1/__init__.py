"""HTTP/1.1 on the wire, as both ends read it."""

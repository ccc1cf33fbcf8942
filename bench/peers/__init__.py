"""The other servers: how each is installed, started and asked for the same answers."""

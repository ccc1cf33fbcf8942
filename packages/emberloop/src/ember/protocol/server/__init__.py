"""Sockets, connections, exchanges and their limits: what serves an application."""

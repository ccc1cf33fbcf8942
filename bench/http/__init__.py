"""Servers over TCP: CPU time per request, beside the floor and the peers."""

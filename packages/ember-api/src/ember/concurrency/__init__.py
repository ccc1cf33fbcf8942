"""Threads, background tasks, and waiting for what may never come."""

"""Threads, background tasks, and interruptible waiting."""

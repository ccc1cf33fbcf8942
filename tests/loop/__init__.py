"""CPython's own asyncio tests, run on this loop: `python -m tests.loop`."""

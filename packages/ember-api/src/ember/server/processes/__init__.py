"""Supervises child processes: the core of the workers' supervisor and of `ember dev`.

It starts a child, reads what the child reports, asks it to end, kills it if it misses a deadline,
and says how it ended. What a child is for, and what follows its end, is up to the user of the core.
"""

"""A handler and a loop that wait for a database."""

"""Differential fuzzing of the parser: `python -m fuzz`, for as long as SECONDS says (60)."""

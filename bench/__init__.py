"""Measurements of Ember: `python -m bench --help`; method in docs/internals/benchmarks.md."""

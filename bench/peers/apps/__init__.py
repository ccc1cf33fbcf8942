"""One file per peer: the answers of bench/cases.py, written as its documentation shows."""

"""The protocol in plain Python: the stand-in where nothing was compiled, and the compiled one's
oracle."""

"""The stand-ins where nothing was compiled, and what the compiled ones are compared with."""

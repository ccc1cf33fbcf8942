"""Minutes of hostile traffic, signals and reloads against a server of several workers."""

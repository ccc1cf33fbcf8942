"""Small whole applications that show Ember at work; each runs with `python -m examples.NAME`."""

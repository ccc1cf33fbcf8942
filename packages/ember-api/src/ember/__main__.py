"""`python -m ember`: the same as `ember`."""

from ember.cli import main

main(prog_name="ember")

"""Loads the fixtures that the tests of all packages share."""

pytest_plugins = ["tests.support.plugin"]

"""A planted type error: `make check` fails when mypy does not report it, so mypy really looked."""

from __future__ import annotations

from ember.limits import ServerLimits

limits: ServerLimits = "not limits"

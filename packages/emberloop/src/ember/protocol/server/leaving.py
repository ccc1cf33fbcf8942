"""What both builds hold to when a peer ends its side, and when one connection has much to do."""

from __future__ import annotations

#: Seconds that a handler goes on before a peer that has ended its side is asked whether it is
#: still there.
PROBE_AFTER = 0.05
#: Turns of the loop that a handler has to end, where the end of the peer counts as its leaving.
PROBE_TURNS = 2
#: Seconds of a turn that one connection may take when more of it waits; then others come first.
BUDGET = 0.00005

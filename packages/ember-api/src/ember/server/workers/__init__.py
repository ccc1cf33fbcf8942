"""Several processes that serve one application: the workers, their scoreboard, the supervisor."""

from ember.server.workers.scoreboard import METRICS_REGION_SIZE as METRICS_REGION_SIZE
from ember.server.workers.scoreboard import Scoreboard as Scoreboard
from ember.server.workers.scoreboard import Slot as Slot
from ember.server.workers.scoreboard import State as State

__all__ = ["METRICS_REGION_SIZE", "Scoreboard", "Slot", "State"]

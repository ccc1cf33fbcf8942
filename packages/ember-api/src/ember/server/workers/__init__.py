"""Several processes that serve one application: the board they share, and who watches them."""

from ember.server.workers.board import AREA_SIZE as AREA_SIZE
from ember.server.workers.board import Board as Board
from ember.server.workers.board import Slot as Slot
from ember.server.workers.board import State as State

__all__ = ["AREA_SIZE", "Board", "Slot", "State"]

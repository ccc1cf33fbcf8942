"""Several processes that serve one application: the board they share, and who watches them."""

from ember.workers.board import AREA_SIZE as AREA_SIZE
from ember.workers.board import Board as Board
from ember.workers.board import Slot as Slot
from ember.workers.board import State as State

__all__ = ["AREA_SIZE", "Board", "Slot", "State"]

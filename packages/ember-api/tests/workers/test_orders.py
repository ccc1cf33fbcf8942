"""What a worker makes of the orders on its line."""

from __future__ import annotations

import asyncio
import socket

import pytest
from ember import Ember
from ember.server.options import Options
from ember.server.processes.orders import Order
from ember.server.workers.context import WorkerContext
from ember.server.workers.scoreboard import Scoreboard
from ember.server.workers.worker import AppServer


@pytest.mark.parametrize(
    ("orders", "hurries"),
    [([Order.STOP], False), ([Order.STOP, Order.STOP], False), ([Order.STOP, Order.ABORT], True)],
)
@pytest.mark.parametrize("together", [True, False])
def test_whoever_is_told_to_drop_what_it_has_hurries(
    orders: list[Order], hurries: bool, together: bool
) -> None:
    """Also when it reads both orders at once, since its loop stood still."""

    async def main() -> None:
        ours, theirs = socket.socketpair()
        with ours, theirs:
            context = WorkerContext(Scoreboard(1), 0, [], ours)
            worker = AppServer(Ember(), Options(), context)
            worker._stop, worker._hurry = asyncio.Event(), asyncio.Event()
            said = [order.value for order in orders]
            for data in [b"".join(said)] if together else said:
                theirs.send(data)
                worker._on_message(context)
            worker._guard.release()  # or the process that tests would have to end in time
            assert worker._stop.is_set()
            assert worker._hurry.is_set() is hurries

    asyncio.run(main())

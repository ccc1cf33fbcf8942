"""The connections to Redis: none outlives the client that made it."""

from __future__ import annotations

import asyncio
from typing import Any

import pytest
from ember.cache.backends.redis import RedisBackend

from tests.support.stores import Service


def test_a_connection_that_is_being_made_while_its_client_is_closed_is_closed_too(
    redis_service: Service, monkeypatch: pytest.MonkeyPatch
) -> None:
    """As in an outage: one operation fails and closes the client, another one is connecting."""

    async def main() -> None:
        made: list[asyncio.StreamWriter] = []
        there, go_on = asyncio.Event(), asyncio.Event()
        connect = asyncio.open_connection

        async def slowly(*args: Any, **options: Any) -> Any:
            reader, writer = await connect(*args, **options)
            made.append(writer)
            there.set()
            await go_on.wait()
            return reader, writer

        monkeypatch.setattr(asyncio, "open_connection", slowly)
        backend = RedisBackend(f"redis://127.0.0.1:{redis_service.port}", "closed:", 4, 120.0)
        operation = asyncio.create_task(backend.lock("key", 1.0))
        await there.wait()
        await backend.close()
        go_on.set()
        assert await operation
        assert len(made) == 1
        assert made[0].transport.is_closing()
        assert await backend.lock("another key", 1.0), "a new client is made"
        await backend.close()
        assert [writer.transport.is_closing() for writer in made] == [True, True]

    asyncio.run(main())

"""Streams tokens of a language model as server-sent events, in the format of OpenAI's API."""

from __future__ import annotations

import secrets
import time
from collections.abc import AsyncIterable, AsyncIterator, Mapping
from typing import Any, Protocol

from ember.responses.conversion import encode_json
from ember.responses.sse import ServerSentEvent, SSEResponse, encode_item

_DONE = b"data: [DONE]\n\n"


class Bucket(Protocol):
    """Limits the rate of a stream: `await bucket.acquire(1)` returns when one more is allowed."""

    async def acquire(self, tokens: int, /) -> object: ...


class SSEWriter:
    """Encodes the frames of token streams."""

    @staticmethod
    def encode_token(
        token: str, *, id: str = "chatcmpl-0", model: str = "", created: int = 0
    ) -> bytes:
        """One token, as a `chat.completion.chunk`. Raises TypeError if it is not a str."""
        if not isinstance(token, str):
            raise TypeError(f"a token is a str, not {type(token).__name__}")
        return _chunk(id, model, created, {"content": token}, None)

    @staticmethod
    def encode_event(
        data: object = None,
        event: str | None = None,
        id: str | int | None = None,
        retry: int | None = None,
    ) -> bytes:
        """Any other event. The arguments and errors are those of ServerSentEvent."""
        return ServerSentEvent(data, event, id, retry).encode()

    @staticmethod
    def encode_done() -> bytes:
        """The end of a token stream."""
        return _DONE


def _chunk(
    id: str, model: str, created: int, delta: Mapping[str, str], finish_reason: str | None
) -> bytes:
    choice = {"index": 0, "delta": delta, "finish_reason": finish_reason}
    frame = {
        "id": id,
        "object": "chat.completion.chunk",
        "created": created,
        "model": model,
        "choices": [choice],
    }
    return b"data: " + encode_json(frame) + b"\n\n"


class TokenStreamResponse(SSEResponse):
    """Streams the tokens of an async iterable of str, each in a frame, then `data: [DONE]`.

    - `model`: the name of the model in the frames.
    - `id`: the id of the completion in the frames; default: a random one.
    - `ping_interval`: see SSEResponse.

    An incomplete stream never ends with `[DONE]`: if the iterable raises, the connection is
    aborted; if the server stops, the last frame is an `error`, which clients raise.
    """

    def __init__(
        self,
        iterable: AsyncIterable[str],
        status_code: int = 200,
        headers: Mapping[str, str] | None = None,
        *,
        model: str = "",
        id: str | None = None,
        ping_interval: float | None = 15.0,
    ) -> None:
        self._id = id or f"chatcmpl-{secrets.token_hex(12)}"
        self._model = model
        self._created = int(time.time())
        stopping = {"error": {"message": "the server is stopping", "type": "server_error"}}
        super().__init__(
            iterable,
            status_code,
            headers,
            ping_interval=ping_interval,
            last_event=ServerSentEvent(stopping),
        )

    def _encode(self, item: Any) -> bytes:
        return SSEWriter.encode_token(item, id=self._id, model=self._model, created=self._created)

    def _end(self) -> bytes:
        return _chunk(self._id, self._model, self._created, {}, "stop") + _DONE


async def sse_stream(
    iterable: AsyncIterable[object], token_bucket: Bucket | None = None
) -> AsyncIterator[bytes]:
    """The items of `iterable` as encoded events, then `data: [DONE]`; for a StreamingResponse.

    With `token_bucket`, it calls `await token_bucket.acquire(1)` before each item.
    """
    async for item in iterable:
        if token_bucket is not None:
            await token_bucket.acquire(1)
        yield encode_item(item)
    yield _DONE

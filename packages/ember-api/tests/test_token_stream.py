"""Token streams: read by OpenAI's own client, slowed down by a bucket, broken when they break."""

from __future__ import annotations

import asyncio
import json
import logging
from collections.abc import AsyncIterator

import pytest
from ember import (
    Ember,
    Request,
    SSEWriter,
    StreamingResponse,
    TokenStreamResponse,
    sse_stream,
)

from tests.support.server import Incomplete, ServeFixture

GET = "GET / HTTP/1.1\r\nHost: a\r\n\r\n"
TOKENS = ["Hello", ",", " wörld", "\n", '"quoted"', ""]


async def words() -> AsyncIterator[str]:
    for token in TOKENS:
        yield token
        await asyncio.sleep(0)


def test_the_openai_client_reads_it(serve: ServeFixture) -> None:
    openai = pytest.importorskip("openai")
    app = Ember()
    asked = []

    @app.post("/v1/chat/completions")
    async def complete(request: Request) -> TokenStreamResponse:
        asked.append(await request.json())
        return TokenStreamResponse(words(), model="tiny")

    with (
        openai.OpenAI(base_url=f"{serve(app).url}/v1", api_key="none", max_retries=0) as client,
        client.chat.completions.create(
            model="tiny", messages=[{"role": "user", "content": "Hi"}], stream=True
        ) as stream,
    ):
        chunks = list(stream)
    assert asked[0]["stream"] is True
    assert [c.choices[0].delta.content for c in chunks] == [*TOKENS, None]
    assert [c.choices[0].finish_reason for c in chunks] == [None] * len(TOKENS) + ["stop"]
    assert {c.model for c in chunks} == {"tiny"}
    assert len({c.id for c in chunks}) == 1
    assert chunks[0].created > 1_700_000_000


def test_every_token_is_a_frame_and_the_last_one_is_done(serve: ServeFixture) -> None:
    app = Ember()

    @app.get("/")
    async def tokens() -> TokenStreamResponse:
        return TokenStreamResponse(words(), id="fixed")

    answer = serve(app).get("/")
    assert answer.header("content-type") == "text/event-stream"
    frames = answer.body.decode().split("\n\n")
    assert frames[-2:] == ["data: [DONE]", ""]
    data = [json.loads(frame.removeprefix("data: ")) for frame in frames[1:-2]]
    assert [one["choices"][0]["delta"].get("content") for one in data] == [*TOKENS, None]
    assert {one["id"] for one in data} == {"fixed"}


@pytest.mark.parametrize("wrong", [False, True], ids=["it raises", "no str"])
def test_a_stream_that_breaks_is_not_done(
    serve: ServeFixture, caplog: pytest.LogCaptureFixture, wrong: bool
) -> None:
    app = Ember()

    async def broken() -> AsyncIterator[str]:
        yield "one"
        if wrong:
            yield 2  # type: ignore[misc]
        raise RuntimeError("the model is gone")

    @app.get("/")
    async def tokens() -> TokenStreamResponse:
        return TokenStreamResponse(broken())

    with serve(app).connect() as client, caplog.at_level(logging.ERROR):
        client.send(GET)
        client.recv_head()
        received = []
        with pytest.raises((Incomplete, ConnectionResetError)):
            received.extend(iter(client.recv_chunk, b""))
    assert b"[DONE]" not in b"".join(received)
    assert ("a token is a str, not int" if wrong else "the model is gone") in caplog.text


def test_a_server_that_stops_says_so_in_the_stream(serve: ServeFixture) -> None:
    openai = pytest.importorskip("openai")
    app = Ember()

    async def endless() -> AsyncIterator[str]:
        while True:
            yield "more"
            await asyncio.Event().wait()

    @app.post("/v1/chat/completions")
    async def complete() -> TokenStreamResponse:
        return TokenStreamResponse(endless())

    running = serve(app)
    with openai.OpenAI(base_url=f"{running.url}/v1", api_key="none", max_retries=0) as client:
        stream = client.chat.completions.create(model="m", messages=[], stream=True)
        assert next(stream).choices[0].delta.content == "more"

        async def stop() -> None:
            from ember.responses.sse import stop_streams

            stop_streams()

        running.call(stop())
        with pytest.raises(openai.APIError, match="the server is stopping"):
            next(stream)
        stream.close()


def test_a_bucket_goes_before_each_item(serve: ServeFixture) -> None:
    taken = []

    class Bucket:
        async def acquire(self, tokens: int) -> None:
            taken.append(tokens)
            await asyncio.sleep(0)

    app = Ember()

    @app.get("/")
    async def stream() -> StreamingResponse:
        return StreamingResponse(sse_stream(words(), Bucket()), content_type="text/event-stream")

    body = serve(app).get("/").body.decode()
    assert body.startswith("data: Hello\n\ndata: ,\n\n")
    assert body.endswith("\n\ndata: [DONE]\n\n")
    assert taken == [1] * len(TOKENS)


def test_the_writer_makes_single_frames() -> None:
    frame = SSEWriter.encode_token("é\n", id="c", model="m", created=7)
    assert frame.endswith(b"\n\n")
    assert frame.count(b"\n") == 2
    assert json.loads(frame.removeprefix(b"data: ")) == {
        "id": "c",
        "object": "chat.completion.chunk",
        "created": 7,
        "model": "m",
        "choices": [{"index": 0, "delta": {"content": "é\n"}, "finish_reason": None}],
    }
    assert (
        SSEWriter.encode_event({"a": 1}, event="e", id=3) == b'event: e\nid: 3\ndata: {"a":1}\n\n'
    )
    assert SSEWriter.encode_done() == b"data: [DONE]\n\n"

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator
from contextlib import aclosing

import grpc
import pytest
import pytest_asyncio
from grpc_health.v1 import health_pb2

from siren_client import (
    AsyncSirenClient,
    Control,
    Final,
    Partial,
    Reason,
    ServingStatus,
    SirenError,
    Started,
)

WAIT_S = 20.0

pytestmark = pytest.mark.asyncio


@pytest_asyncio.fixture
async def client(echo) -> AsyncIterator[AsyncSirenClient]:
    async with AsyncSirenClient(echo.target) as client:
        yield client


async def endless() -> AsyncIterator[bytes]:
    """Yield one item, then wait as a silent microphone does."""
    yield b"ab"
    await asyncio.Event().wait()


async def collect(results, into: list | None = None) -> list:
    collected = [] if into is None else into
    async for result in results:
        collected.append(result)
    return collected


def texts(results) -> list[str]:
    return [result.text for result in results if isinstance(result, Final)]


async def is_over(echo) -> bool:
    return await asyncio.to_thread(echo.service.is_over.wait, WAIT_S)


async def test_results_come_in_order(client):
    async def audio():
        yield b"abcd"
        yield b"ef"

    started, *results = await collect(client.stream(audio(), model="m"))
    assert isinstance(started, Started)
    assert started.model == "m"
    assert results == [
        Partial(text="4 bytes", stable_len=0, seq=1, audio_processed_s=1.0),
        Partial(text="6 bytes", stable_len=0, seq=2, audio_processed_s=2.0),
        Final(text="6 bytes", seq=2, start_s=0.0, end_s=2.0),
    ]


async def test_controls_and_plain_iterables(client, echo):
    audio = [b"ab", Control.FINALIZE, b"lost", Control.RESET, b"c", Control.END, b"never sent"]
    assert texts(await collect(client.stream(audio))) == ["2 bytes", "1 bytes"]
    seqs = [request.audio.seq for request in echo.service.requests if request.HasField("audio")]
    assert seqs == [1, 2, 3]


async def test_a_slow_reader_gets_everything(client):
    is_sent = asyncio.Event()

    async def audio():
        for _ in range(500):
            yield b"ab"
        is_sent.set()

    results = client.stream(audio())
    seen = [await anext(results)]
    await is_sent.wait()
    seen += await collect(results)
    assert [result.seq for result in seen if isinstance(result, Partial)] == list(range(1, 501))


async def test_closing_the_iterator_cancels_the_call(client, echo):
    tasks = asyncio.all_tasks()
    async with aclosing(client.stream(endless())) as results:
        await anext(results)
    assert await is_over(echo)
    assert echo.service.was_cancelled
    left = {task for task in asyncio.all_tasks() - tasks if "_Feed" in repr(task)}
    assert left == set()


async def test_cancelling_the_reader_cancels_the_call(client, echo):
    has_started = asyncio.Event()

    async def read():
        async for _ in client.stream(endless()):
            has_started.set()

    reader = asyncio.create_task(read())
    await has_started.wait()
    reader.cancel()
    with pytest.raises(asyncio.CancelledError):
        await reader
    assert await is_over(echo)
    assert echo.service.was_cancelled


@pytest.mark.parametrize("n_items", [0, 1])
async def test_an_error_of_the_audio_cancels_the_call_and_is_raised(client, echo, n_items):
    error = OSError("microphone unplugged")

    async def audio():
        for _ in range(n_items):
            yield b"ab"
        raise error

    with pytest.raises(OSError, match="unplugged") as caught:
        await collect(client.stream(audio()))
    assert caught.value is error


async def test_an_error_of_grpc_in_the_audio_stays_what_it_is(client):
    error = grpc.RpcError("another server's")

    async def audio():
        yield b"ab"
        raise error

    with pytest.raises(grpc.RpcError) as caught:
        await collect(client.stream(audio()))
    assert caught.value is error


async def test_audio_that_was_cancelled_does_not_hang(client):
    async def audio():
        yield b"ab"
        raise asyncio.CancelledError

    with pytest.raises(asyncio.CancelledError):
        await collect(client.stream(audio()))


async def test_an_item_that_is_no_audio_is_raised(client):
    with pytest.raises(TypeError, match="str"):
        await collect(client.stream([b"ab", "cd"]))


@pytest.mark.parametrize("audio", [b"abcd", "abcd", 7])
async def test_what_is_no_stream_is_refused_at_once(client, audio):
    with pytest.raises(TypeError):
        client.stream(audio)


async def test_results_before_an_error_of_the_server_come_first(client):
    async def audio():
        yield b"ab"
        yield Control.FINALIZE
        await asyncio.Event().wait()

    seen = []
    with pytest.raises(SirenError) as caught:
        await collect(client.stream(audio(), model="fail"), into=seen)
    assert texts(seen) == ["2 bytes"]
    assert caught.value.reason is Reason.OVERLOADED
    assert caught.value.retry_after_s == 2.5


async def test_a_flood_of_results_before_an_error_comes_whole(client):
    seen = []
    with pytest.raises(SirenError, match="no session is free"):
        await collect(client.stream([], model="flood"), into=seen)
    assert texts(seen) == [f"{number} bytes" for number in range(1000)]


async def test_a_timeout_is_a_siren_error(client):
    with pytest.raises(SirenError) as caught:
        await collect(client.stream(endless(), timeout_s=0.2))
    assert caught.value.status is grpc.StatusCode.DEADLINE_EXCEEDED


async def test_a_timeout_ends_a_stream_whose_server_is_gone(client, echo):
    results = client.stream(endless(), timeout_s=1.0)
    await anext(results)
    await asyncio.to_thread(echo.stop)
    with pytest.raises(SirenError) as caught:
        await collect(results)
    assert caught.value.status is grpc.StatusCode.DEADLINE_EXCEEDED


async def test_a_stream_without_a_token_for_its_next_call_ends_with_that(echo):
    tokens = iter(["first"])
    async with AsyncSirenClient(echo.target, token=lambda: next(tokens)) as client:
        results = client.stream(endless())
        await anext(results)
        await asyncio.to_thread(echo.stop)
        with pytest.raises(SirenError) as caught:
            await collect(results)
    assert caught.value.reason is Reason.AUTH_FAILED


async def test_closing_the_client_cancels_its_streams(echo):
    client = AsyncSirenClient(echo.target)
    results = client.stream(endless())
    await anext(results)
    reading = asyncio.create_task(collect(results))
    await asyncio.to_thread(echo.service.is_received.wait, WAIT_S)
    await client.close()
    with pytest.raises(SirenError) as caught:
        await reading
    assert caught.value.status is grpc.StatusCode.CANCELLED


async def test_unary_calls(client, echo):
    assert (await client.recognize(b"abcd", chunk_frames=2)).text == "4 bytes"
    assert [model.id for model in await client.list_models()] == ["echo"]
    with pytest.raises(SirenError, match="OVERLOADED"):
        await client.recognize(b"ab", model="fail")


async def test_token_travels(echo):
    async with AsyncSirenClient(echo.target, token="secret") as client:
        await collect(client.stream([]))
    assert echo.service.metadata["authorization"] == "Bearer secret"


async def test_health(client, echo):
    assert await client.health() is ServingStatus.SERVING
    echo.health.set("", health_pb2.HealthCheckResponse.NOT_SERVING)
    assert await client.health() is ServingStatus.NOT_SERVING
    assert await client.health("other.Service") is ServingStatus.SERVICE_UNKNOWN


async def test_no_server_is_unavailable():
    async with AsyncSirenClient("127.0.0.1:1") as client:
        with pytest.raises(SirenError) as caught:
            await client.health()
        assert caught.value.status is grpc.StatusCode.UNAVAILABLE

"""A read that gRPC has begun is never cancelled: it would not free what it set aside for it."""

from __future__ import annotations

import asyncio

import pytest
from siren.v1 import speech_pb2 as pb

from tests.support.history.play import Aborted, Context
from tests.support.history.world import World
from tests.support.reads import AUDIO, END, Reads, Request

CONFIG = Request(config=pb.StreamingConfig())
RESUMABLE = Request(config=pb.StreamingConfig(resumable=True))


async def play(world: World, reads: Reads) -> str:
    """Run a call to its end; return the reason it ended with."""
    try:
        async for _ in world.service.StreamingRecognize(reads, Context()):  # type: ignore[arg-type]
            pass
    except Aborted as error:
        return error.reason
    return "OK"


async def assert_left_alone(reads: Reads, caplog: pytest.LogCaptureFixture) -> None:
    assert reads.is_waiting.is_set()
    await asyncio.sleep(0)
    assert not reads.was_cancelled
    reads.is_over.set()
    await asyncio.wait_for(reads.is_done.wait(), 10)
    await asyncio.sleep(0)
    assert not caplog.records


async def test_of_a_call_that_ended_itself(world: World, caplog: pytest.LogCaptureFixture) -> None:
    reads = Reads([CONFIG, AUDIO, END])
    assert await play(world, reads) == "OK"
    await assert_left_alone(reads, caplog)


EITHER = pytest.mark.parametrize("config", [CONFIG, RESUMABLE], ids=["plain", "resumable"])


async def begin(
    world: World, config: pb.StreamingRecognizeRequest
) -> tuple[Reads, asyncio.Task[str]]:
    """Run a call until it waits for its client."""
    reads = Reads([config, AUDIO])
    call = asyncio.create_task(play(world, reads))
    await asyncio.wait_for(reads.is_waiting.wait(), 10)
    return reads, call


@EITHER
async def test_of_a_call_that_the_server_ends(
    world: World, caplog: pytest.LogCaptureFixture, config: pb.StreamingRecognizeRequest
) -> None:
    reads, call = await begin(world, config)
    await world.service.drain(grace_s=0, hurry=asyncio.Event())
    assert await asyncio.wait_for(call, 10) == "SHUTTING_DOWN"
    await assert_left_alone(reads, caplog)


@EITHER
async def test_of_a_call_whose_client_is_gone(
    world: World, caplog: pytest.LogCaptureFixture, config: pb.StreamingRecognizeRequest
) -> None:
    reads, call = await begin(world, config)
    call.cancel()
    await asyncio.wait([call])
    await assert_left_alone(reads, caplog)


async def test_of_a_client_that_is_gone_before_it_said_anything(
    world: World, caplog: pytest.LogCaptureFixture
) -> None:
    reads = Reads([])
    call = asyncio.create_task(play(world, reads))
    await asyncio.wait_for(reads.is_waiting.wait(), 10)
    call.cancel()
    await asyncio.wait([call])
    await assert_left_alone(reads, caplog)

"""Streams that have no call: what of them is given back, and when."""

from __future__ import annotations

import asyncio
from collections.abc import Callable

from siren.v1 import speech_pb2 as pb

from tests.support.history.play import Context
from tests.support.history.world import World
from tests.support.reads import AUDIO, END, Reads, Request


async def until(is_so: Callable[[], bool]) -> None:
    async def wait() -> None:
        while not is_so():  # noqa: ASYNC110 (nobody tells)
            await asyncio.sleep(0.005)

    await asyncio.wait_for(wait(), 10)


async def begin(world: World, config: pb.StreamingConfig) -> pb.StreamStarted:
    """Begin a stream, and lose its call; return what it was told."""
    results = world.service.StreamingRecognize(Reads([Request(config=config)]), Context())  # type: ignore[arg-type]
    started = await anext(results)
    await results.aclose()  # type: ignore[attr-defined]
    return started.started


async def test_a_drain_does_not_wait_for_who_may_come_back(world: World) -> None:
    assert (await begin(world, pb.StreamingConfig(resumable=True))).resume_token
    assert world.service.n_parked == 1
    await world.service.drain(grace_s=60, hurry=asyncio.Event())
    assert world.service.counts == {"streams": 0, "resumable": 0}
    await until(lambda: world.engine.n_sessions == 0)


async def test_a_stream_of_several_transcripts_cannot_be_resumed(world: World) -> None:
    separate = pb.StreamingConfig(
        resumable=True, channel_count=2, channel_mode=pb.CHANNEL_MODE_SEPARATE
    )
    assert (await begin(world, separate)).resume_token == ""
    assert world.service.counts == {"streams": 0, "resumable": 0}
    mixed = pb.StreamingConfig(resumable=True, channel_count=2, channel_mode=pb.CHANNEL_MODE_MIX)
    assert (await begin(world, mixed)).resume_token != ""


async def test_a_stream_that_ends_without_a_call_gives_its_session_back(world: World) -> None:
    """Long before its results are given up: they are kept without one."""
    reads = Reads([Request(config=pb.StreamingConfig(resumable=True)), AUDIO, END])
    results = world.service.StreamingRecognize(reads, Context())  # type: ignore[arg-type]
    started = (await anext(results)).started
    await asyncio.wait_for(reads.is_waiting.wait(), 10)  # the end was read
    await results.aclose()  # type: ignore[attr-defined]
    await until(lambda: world.engine.n_sessions == 0)
    assert world.service.counts == {"streams": 0, "resumable": 1}
    assert world.service.n_parked == 0

    again = Request(resume=pb.Resume(token=started.resume_token, last_result=0))
    told = [
        response.WhichOneof("response")
        async for response in world.service.StreamingRecognize(Reads([again]), Context())  # type: ignore[arg-type]
    ]
    assert told[-1] == "final"

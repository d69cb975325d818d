"""A client that reads nothing of a stream that waits for nothing else gives its session back."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator

import pytest
from siren.v1 import speech_pb2 as pb

from tests.support.history.play import Context
from tests.support.history.world import World, assert_empty, open_world

Request = pb.StreamingRecognizeRequest
END = Request(control=pb.Control(action=pb.Control.ACTION_END))


async def requests(*, ends: bool) -> AsyncIterator[pb.StreamingRecognizeRequest]:
    yield Request(config=pb.StreamingConfig())
    if ends:
        yield END
    while True:  # as long as it speaks it is not idle
        await asyncio.sleep(0.05)
        yield Request(audio=pb.AudioChunk(data=bytes(320)))


async def never_read(world: World, *, ends: bool) -> None:
    """Take a call's first response, for which its client makes no room."""
    async for _ in world.service.StreamingRecognize(requests(ends=ends), Context()):  # type: ignore[arg-type]
        await asyncio.Event().wait()


@pytest.mark.parametrize("ends", [True, False])
async def test_it_is_given_up_behind_its_end_and_not_while_it_speaks(ends: bool) -> None:
    async with open_world(n_slots=2, max_samples=None, idle_timeout_s=0.3) as world:
        call = asyncio.create_task(never_read(world, ends=ends))
        done, _ = await asyncio.wait([call], timeout=10 if ends else 1)
        assert bool(done) is ends
        call.cancel()
        await asyncio.wait([call])
        await assert_empty(world)

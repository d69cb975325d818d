"""A message of many minutes keeps nobody from ending its stream."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Callable, Coroutine
from typing import Any

import pytest
from siren.v1 import speech_pb2 as pb

from siren_grpc.domain.principal import ANONYMOUS
from siren_grpc.server.service import SpeechService
from tests.support.history.play import Aborted, Context
from tests.support.history.world import World

Request = pb.StreamingRecognizeRequest
SECONDS = 1800
AUDIO = Request(audio=pb.AudioChunk(data=b"\1\0" * (16_000 * SECONDS), seq=1))


async def requests(config: pb.StreamingConfig) -> AsyncIterator[pb.StreamingRecognizeRequest]:
    yield Request(config=config)
    yield AUDIO
    await asyncio.Event().wait()


async def drain(service: SpeechService) -> None:
    await service.drain(grace_s=0, hurry=asyncio.Event())


async def revoke(service: SpeechService) -> None:
    service.revoke(frozenset({ANONYMOUS.name}))


@pytest.mark.parametrize("is_resumable", [False, True])
@pytest.mark.parametrize(("end", "reason"), [(drain, "SHUTTING_DOWN"), (revoke, "AUTH_FAILED")])
async def test_what_is_not_decoded_yet_is_not_heard(
    world: World,
    end: Callable[[SpeechService], Coroutine[Any, Any, None]],
    reason: str,
    is_resumable: bool,
) -> None:
    config = pb.StreamingConfig(resumable=is_resumable)
    finals: list[pb.FinalResult] = []
    ending: asyncio.Task[None] | None = None

    async def play() -> None:
        nonlocal ending
        async for response in world.service.StreamingRecognize(requests(config), Context()):  # type: ignore[arg-type]
            if response.HasField("partial"):  # some of it has been heard
                ending = ending or asyncio.create_task(end(world.service))
            elif response.HasField("final"):
                finals.append(response.final)

    with pytest.raises(Aborted) as aborted:
        await play()
    assert ending is not None
    await ending
    assert aborted.value.reason == reason
    heard_s = finals[-1].end_time.ToTimedelta().total_seconds()
    assert 0 < heard_s < SECONDS
    assert finals[-1].seq == 0  # of a message half heard its client sends all again

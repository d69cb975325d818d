"""Several sessions that are one to their stream, with real threads: what is told of all of them."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator

import numpy as np
import pytest

from siren_grpc.audio.channels import ChannelMode, ChannelPlan
from siren_grpc.audio.decode import Encoding
from siren_grpc.audio.source import AudioSpec
from siren_grpc.domain.endpointing import EndpointDetector, EndpointRules
from siren_grpc.domain.results import (
    Final,
    OfChannel,
    Reconfigured,
    SpeechEvent,
    SpeechEventKind,
    StreamEnded,
)
from siren_grpc.domain.work import StreamOptions
from siren_grpc.engine.separate import SeparateSession
from siren_grpc.engine.session import EngineLimits
from siren_grpc.session.ingress import IngressConfig
from siren_grpc.session.separate import SeparateIngress
from tests.support.builders import LANE, make_geometry
from tests.support.history.backend import HistoryBackend
from tests.support.local_engine import LocalEngine

RULES = EndpointRules(EndpointDetector.DECODER, min_silence_ms=300, is_single=True)
OPTIONS = StreamOptions(RULES)


@pytest.fixture
async def engine() -> AsyncIterator[LocalEngine]:
    """An engine whose model hears sound in what is not zero."""
    engine = LocalEngine(EngineLimits(max_backlog_s=10.0, max_unsent_results=1000))
    engine.start()
    engine.add_model(HistoryBackend(n_slots=2, max_batch=2))
    yield engine
    await asyncio.to_thread(engine.stop, timeout_s=60)


class Pair:
    """Two channels; a word is said on the first, and then another on the second."""

    @classmethod
    async def open(cls, engine: LocalEngine) -> Pair:
        pair = cls()
        sessions = [await engine.open(LANE, options=OPTIONS) for _ in range(2)]
        pair.ingress = SeparateIngress(
            IngressConfig(
                audio=AudioSpec(Encoding.LINEAR16, 16_000, ChannelPlan(2, ChannelMode.SEPARATE)),
                geometry=make_geometry(),
                preview_samples=0,
                padding_samples=0,
                max_samples=None,
                options=OPTIONS,
            )
        )
        pair.session = SeparateSession(sessions, pair.ingress.channels)
        return pair

    async def say(self, channel: int) -> None:
        sound = np.zeros((24_000, 2), "<i2")
        sound[:8000, channel] = 1000
        for work in self.ingress.audio_pieces(sound.tobytes(), 0):
            await self.session.submit(work)

    async def take_until(self, kind: type) -> list[object]:
        results: list[object] = []
        while True:
            result = await asyncio.wait_for(self.session.take(), 60)
            results.append(result)
            if isinstance(result.result if isinstance(result, OfChannel) else result, kind):
                return results


async def test_an_update_is_acknowledged_behind_the_first_channels_end(engine: LocalEngine) -> None:
    pair = await Pair.open(engine)
    await pair.say(0)
    ended = (await pair.take_until(Final))[-1]
    assert isinstance(ended, OfChannel)
    assert ended.channel == 0
    for interval_ms in (100, 200):
        await pair.session.submit(
            pair.ingress.reconfigure(StreamOptions(RULES, partial_interval_ms=interval_ms))
        )
    await pair.say(1)
    await pair.session.submit(pair.ingress.end())
    results = await pair.take_until(StreamEnded)
    updates = [result for result in results if isinstance(result, Reconfigured)]
    assert [update.options.partial_interval_ms for update in updates] == [100, 200]
    assert results[-1] == StreamEnded()
    pair.session.close()


async def test_what_the_server_has_to_say_is_of_no_channel(engine: LocalEngine) -> None:
    """Of the stream: it is told once, also when the first channel has nothing more to tell."""
    pair = await Pair.open(engine)
    told = []
    for channel in (0, 1):
        event = SpeechEvent(SpeechEventKind.SERVER_DRAINING, channel, grace_s=1.0)
        pair.session.tell(event)
        told.append(OfChannel(0, event))
        await pair.say(channel)
        if channel == 0:
            heard = await pair.take_until(Final)
    await pair.session.submit(pair.ingress.end())
    heard += await pair.take_until(StreamEnded)
    assert [
        result
        for result in heard
        if isinstance(result, OfChannel)
        and isinstance(result.result, SpeechEvent)
        and result.result.kind is SpeechEventKind.SERVER_DRAINING
    ] == told
    pair.session.close()

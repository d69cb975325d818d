"""Promise 2 behind hard endpoints: audio that is heard again is accounted for again."""

from __future__ import annotations

import asyncio

import pytest
from siren.v1 import speech_pb2 as pb

from siren_grpc.server import reader
from tests.support.history.checker import check
from tests.support.history.generate import Trouble
from tests.support.history.play import play
from tests.support.history.record import AUDIO, END, Op, Script
from tests.support.history.world import open_world


@pytest.mark.parametrize("n_bytes", [320, 1111, 9000])
def test_seq_is_exact_where_audio_is_heard_again(
    n_bytes: int, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Chunks of 560 ms with a token at both ends: an endpoint in each, and a rewind."""
    monkeypatch.setattr(reader, "_END_LINGER_S", 0.0)
    config = pb.StreamingConfig(
        chunk_frames=7, endpointing=pb.EndpointingConfig(min_silence_ms=300, state="STATE_HARD")
    )
    pcm = bytes(range(1, 251)) * 280
    cuts = [pcm[at : at + n_bytes] for at in range(0, len(pcm), n_bytes)]
    ops = [Op(AUDIO, data, seq) for seq, data in enumerate(cuts, 1)]
    script = Script(config.SerializeToString(), (*ops, Op(END)), frozenset({"OK"}))

    async def run():
        async with open_world(n_slots=1, max_samples=None) as world:
            return await play(world.service, script, Trouble(), seed=1)

    history = asyncio.run(run())
    assert sum(final.cause == "SILENCE" for final in history.told("final")) >= 3
    assert check(history) == []

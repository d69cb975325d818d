"""Who sends faster than the server recognises is held back, not stored."""

from __future__ import annotations

import asyncio
from pathlib import Path

import grpc.aio
import pytest
from siren.v1 import speech_pb2_grpc

from tests.support.audio import read_wav
from tests.support.server import SirenServer
from tests.support.wire import TIMEOUT_S, audio, config

pytestmark = pytest.mark.e2e

_MEGABYTE = 1 << 20
_DEMO = Path(__file__).parents[2] / "siren_grpc/assets/demo.wav"
_N_MESSAGES = 12
_MOST_AHEAD = 3
"""Messages: one is read, one is on its way, and less than another waits to be recognised."""


async def test_a_fast_sender_is_held_back(running_server: SirenServer) -> None:
    """However fast it sends: gRPC would let it send more and more ahead, and keep room for it."""
    recording = read_wav(_DEMO)
    speech = (recording.pcm * (1 + _MEGABYTE // len(recording.pcm)))[:_MEGABYTE]
    n_heard_samples = 0

    async def read(call: grpc.aio.StreamStreamCall) -> None:
        nonlocal n_heard_samples
        async for response in call:
            if response.HasField("partial"):
                heard = response.partial.audio_processed
                n_heard_samples = heard.ToMicroseconds() * recording.sample_rate_hertz // 1_000_000

    async with grpc.aio.insecure_channel(running_server.target) as channel:
        stub = speech_pb2_grpc.SpeechServiceStub(channel)
        call = stub.StreamingRecognize(timeout=TIMEOUT_S)
        await call.write(config(sample_rate_hertz=recording.sample_rate_hertz))
        reading = asyncio.create_task(read(call))
        ahead = []
        for i in range(_N_MESSAGES):
            await call.write(audio(speech))
            ahead.append((i + 1) * _MEGABYTE - 2 * n_heard_samples)
        call.cancel()
        await asyncio.wait([reading])
    assert n_heard_samples > 0
    assert max(ahead) < _MOST_AHEAD * _MEGABYTE

"""A recording as the messages of a stream, so that one is recognised just like the other."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator

from siren.v1 import speech_pb2 as pb

_MESSAGE_BYTES = 1 << 16
"""Decoding so much takes milliseconds; other streams' messages wait no longer."""


async def requests_of(audio: bytes) -> AsyncIterator[pb.StreamingRecognizeRequest]:
    """Yield a recording's audio in messages; behind the last its stream is half-closed.

    The event loop sees to others between two messages.
    """
    for start in range(0, len(audio), _MESSAGE_BYTES):
        data = audio[start : start + _MESSAGE_BYTES]
        yield pb.StreamingRecognizeRequest(audio=pb.AudioChunk(data=data))
        await asyncio.sleep(0)

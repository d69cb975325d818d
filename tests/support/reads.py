"""Reads of a call as gRPC does them: the last one ends with the call."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Sequence

from siren.v1 import speech_pb2 as pb

Request = pb.StreamingRecognizeRequest
AUDIO = Request(audio=pb.AudioChunk(data=bytes(3200)))
END = Request(control=pb.Control(action=pb.Control.ACTION_END))


class Reads:
    """The requests of a call: some, and then a read that ends when the call has."""

    def __init__(self, requests: Sequence[pb.StreamingRecognizeRequest] = ()) -> None:
        self._requests = list(requests)
        self.is_waiting = asyncio.Event()
        self.is_over = asyncio.Event()
        self.is_done = asyncio.Event()
        self.was_cancelled = False

    def __aiter__(self) -> AsyncIterator[pb.StreamingRecognizeRequest]:
        return self

    async def __anext__(self) -> pb.StreamingRecognizeRequest:
        if self._requests:
            return self._requests.pop(0)
        self.is_waiting.set()
        try:
            await self.is_over.wait()
        except asyncio.CancelledError:
            self.was_cancelled = True
            raise
        self.is_done.set()
        raise RuntimeError("the call is finished")  # as gRPC says it then

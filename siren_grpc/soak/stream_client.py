"""The client of a long stream: sends as fast as it goes, and keeps the words it is told."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator
from typing import Any

from google.protobuf.duration_pb2 import Duration
from siren.v1 import speech_pb2 as pb
from siren.v1 import speech_pb2_grpc

from siren_grpc.soak.known_words import Word

_ENDPOINTING = pb.EndpointingConfig(min_silence_ms=500, state=pb.EndpointingConfig.STATE_SOFT)
"""The model's state is never reset: it grows as old as the stream."""


def config(decoder: str | None) -> pb.StreamingRecognizeRequest:
    """Return the first message."""
    asked = pb.StreamingConfig(words=True, endpointing=_ENDPOINTING)
    if decoder is not None:
        asked.decoder = pb.Decoder.Value(f"DECODER_{decoder.upper()}")
    return pb.StreamingRecognizeRequest(config=asked)


def _seconds(duration: Duration) -> float:
    return duration.ToNanoseconds() / 1e9


class StreamClient:
    """One stream. Belongs to one event loop."""

    def __init__(self, stub: speech_pb2_grpc.SpeechServiceStub, decoder: str | None) -> None:
        """Open it. decoder: rnnt or ctc; None for the server's."""
        self._decoder = decoder
        opening: Any = stub.StreamingRecognize  # the stubs know no call without an iterator
        self._call: Any = opening()
        self.words: list[Word] = []
        """Those of finals that were not taken yet."""
        self.n_finals = 0
        self.last_cause = ""
        self.heard_s = 0.0
        """End of the last final."""
        self.faults: list[str] = []
        self._reading = asyncio.create_task(self._read())

    async def start(self) -> None:
        """Send the config."""
        await self._call.write(config(self._decoder))

    async def send(self, pcm: bytes) -> None:
        """Send 16 kHz 16-bit PCM, as soon as flow control lets it.

        Raises grpc.aio.AioRpcError, or asyncio.InvalidStateError when the stream ended by itself.
        """
        if self._call.done():
            await self._reading  # raises what the stream ended with
            raise asyncio.InvalidStateError("the stream ended by itself")
        await self._call.write(pb.StreamingRecognizeRequest(audio=pb.AudioChunk(data=pcm)))

    async def finish(self) -> None:
        """Half-close and wait for the end. Raises grpc.aio.AioRpcError."""
        await self._call.done_writing()
        await self._reading

    def cancel(self) -> None:
        """Give it up."""
        self._call.cancel()
        self._reading.cancel()

    async def _read(self) -> None:
        responses: AsyncIterator[pb.StreamingRecognizeResponse] = aiter(self._call)
        async for response in responses:
            if not response.HasField("final"):
                continue
            final = response.final
            start_s, end_s = _seconds(final.start_time), _seconds(final.end_time)
            if start_s < self.heard_s or end_s < start_s:
                self._fault(
                    f"a final from {start_s:.2f} to {end_s:.2f} s behind {self.heard_s:.2f}"
                )
            self.n_finals += 1
            self.heard_s = end_s
            self.last_cause = pb.FinalResult.Cause.Name(final.cause)
            self.words += [Word(word.text, _seconds(word.start_time)) for word in final.words]

    def _fault(self, text: str) -> None:
        if len(self.faults) < 20:
            self.faults.append(text)


async def words_alone(
    stub: speech_pb2_grpc.SpeechServiceStub, pcm: bytes, decoder: str | None
) -> list[Word]:
    """Return a recording's words by itself: how it is known where they are.

    Raises grpc.aio.AioRpcError.
    """
    client = StreamClient(stub, decoder)
    await client.start()
    await client.send(pcm)
    await client.finish()
    return client.words

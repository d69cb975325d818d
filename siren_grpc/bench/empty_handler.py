"""A server that speaks the protocol and recognises nothing: what gRPC costs by itself.

Run as `python -m siren_grpc.bench.empty_handler CHUNK_MS`. It answers each complete chunk of
16 kHz 16-bit audio with a partial, and each FINALIZE and the end with a final, at once.
"""

from __future__ import annotations

import asyncio
import signal
import sys
from collections.abc import AsyncIterator
from typing import Any

import grpc
import grpc.aio
from google.protobuf.duration_pb2 import Duration
from siren.v1 import speech_pb2 as pb

_BYTES_PER_MS = 32
_SERVICE = pb.DESCRIPTOR.services_by_name["SpeechService"].full_name


def _position(n_bytes: int) -> Duration:
    milliseconds = n_bytes // _BYTES_PER_MS
    return Duration(seconds=milliseconds // 1000, nanos=milliseconds % 1000 * 1_000_000)


class EmptyHandler:
    """Counts bytes."""

    def __init__(self, chunk_ms: int) -> None:
        """Answer every so many milliseconds of audio."""
        self._chunk_bytes = chunk_ms * _BYTES_PER_MS

    async def stream(
        self, requests: AsyncIterator[pb.StreamingRecognizeRequest], context: Any
    ) -> AsyncIterator[pb.StreamingRecognizeResponse]:
        """Answer a stream without recognising."""
        received = answered = 0
        yield pb.StreamingRecognizeResponse(started=pb.StreamStarted(session_id="empty"))
        async for request in requests:
            if request.HasField("audio"):
                received += len(request.audio.data)
                if received - answered >= self._chunk_bytes:
                    answered += self._chunk_bytes
                    partial = pb.PartialResult(text="-", audio_processed=_position(answered))
                    yield pb.StreamingRecognizeResponse(partial=partial)
            elif request.HasField("control"):
                yield pb.StreamingRecognizeResponse(final=pb.FinalResult())
        yield pb.StreamingRecognizeResponse(final=pb.FinalResult())

    def methods(self) -> grpc.GenericRpcHandler:
        """Return the one method it has."""
        handler = grpc.stream_stream_rpc_method_handler(
            self.stream,
            request_deserializer=pb.StreamingRecognizeRequest.FromString,
            response_serializer=pb.StreamingRecognizeResponse.SerializeToString,
        )
        return grpc.method_handlers_generic_handler(_SERVICE, {"StreamingRecognize": handler})


async def serve(chunk_ms: int) -> None:
    """Serve until SIGTERM."""
    server = grpc.aio.server()
    server.add_generic_rpc_handlers((EmptyHandler(chunk_ms).methods(),))
    port = server.add_insecure_port("127.0.0.1:0")
    await server.start()
    print(f"listening on 127.0.0.1:{port}\nempty handler: serving nothing", file=sys.stderr)
    sys.stderr.flush()
    stopped = asyncio.Event()
    asyncio.get_running_loop().add_signal_handler(signal.SIGTERM, stopped.set)
    await stopped.wait()
    await server.stop(0)


if __name__ == "__main__":
    asyncio.run(serve(int(sys.argv[1])))

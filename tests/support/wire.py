"""Talking to a server in the protocol's own messages: what a client nobody here wrote would do."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator
from dataclasses import dataclass, field

import grpc
from google.rpc import error_details_pb2
from grpc_status import rpc_status
from siren.v1 import speech_pb2 as pb
from siren.v1 import speech_pb2_grpc

FINALIZE = pb.StreamingRecognizeRequest(control=pb.Control(action=pb.Control.ACTION_FINALIZE))
RESET = pb.StreamingRecognizeRequest(control=pb.Control(action=pb.Control.ACTION_RESET))
END = pb.StreamingRecognizeRequest(control=pb.Control(action=pb.Control.ACTION_END))
TIMEOUT_S = 120


def config(**fields: object) -> pb.StreamingRecognizeRequest:
    """Return a first message."""
    return pb.StreamingRecognizeRequest(config=pb.StreamingConfig(**fields))  # type: ignore[arg-type]


def audio(data: bytes, seq: int = 0) -> pb.StreamingRecognizeRequest:
    """Return an audio message."""
    return pb.StreamingRecognizeRequest(audio=pb.AudioChunk(data=data, seq=seq))


def cut(data: bytes, sizes: Iterable[int]) -> Iterator[bytes]:
    """Cut bytes into messages of the sizes given; the last takes what is left."""
    start = 0
    for size in sizes:
        if start >= len(data):
            return
        yield data[start : start + size]
        start += size
    if start < len(data):
        yield data[start:]


def every(size: int, data: bytes) -> Iterator[bytes]:
    """Cut bytes into messages of one size."""
    return (data[i : i + size] for i in range(0, len(data), size))


@dataclass
class Exchange:
    """What a server answered to one stream."""

    responses: list[pb.StreamingRecognizeResponse] = field(default_factory=list)
    error: grpc.RpcError | None = None

    def of(self, kind: str) -> list:
        """Return the messages of one kind: started, partial, final or event."""
        return [getattr(r, kind) for r in self.responses if r.WhichOneof("response") == kind]

    @property
    def finals(self) -> list[str]:
        """The text of each final."""
        return [final.text for final in self.of("final")]

    @property
    def text(self) -> str:
        """The text of the only final; fails when the stream failed or had several."""
        if self.error is not None:
            raise AssertionError(f"the stream failed: {self.error}")
        (final,) = self.finals
        return final


@dataclass(frozen=True)
class Failure:
    """A gRPC error with its details."""

    code: grpc.StatusCode
    message: str
    reason: str
    domain: str
    retry_after_s: float | None
    fields: tuple[str, ...]


def failure(error: grpc.RpcError | None) -> Failure:
    """Unpack the rich status of an error."""
    if error is None:
        raise AssertionError("the call did not fail")
    status = rpc_status.from_call(error)
    if status is None:
        raise AssertionError(f"no rich status in {error}")
    reason, domain, retry, fields = "", "", None, ()
    for detail in status.details:
        for kind in (
            error_details_pb2.ErrorInfo,
            error_details_pb2.RetryInfo,
            error_details_pb2.BadRequest,
        ):
            message = kind()
            if not detail.Is(kind.DESCRIPTOR):
                continue
            detail.Unpack(message)
            if kind is error_details_pb2.ErrorInfo:
                reason, domain = message.reason, message.domain
            elif kind is error_details_pb2.RetryInfo:
                retry = message.retry_delay.ToTimedelta().total_seconds()
            else:
                fields = tuple(v.field for v in message.field_violations)
    return Failure(error.code(), error.details() or "", reason, domain, retry, fields)


class Wire:
    """One channel to a server."""

    def __init__(self, target: str, *, token: str = "", is_apart: bool = False) -> None:
        """Connect; close with `close`.

        token: shown by each stream. is_apart: on a connection that no other channel shares.
        """
        options = [("grpc.use_local_subchannel_pool", 1)] if is_apart else None
        self._channel = grpc.insecure_channel(target, options=options)
        self._metadata = (("authorization", f"Bearer {token}"),) if token else ()
        self.stub = speech_pb2_grpc.SpeechServiceStub(self._channel)

    def exchange(
        self,
        requests: Iterable[pb.StreamingRecognizeRequest],
        on_response: Callable[[pb.StreamingRecognizeResponse], None] = lambda _: None,
        *,
        timeout_s: float = TIMEOUT_S,
    ) -> Exchange:
        """Run one stream to its end."""
        exchange = Exchange()
        try:
            call = self.stub.StreamingRecognize(
                iter(requests), timeout=timeout_s, metadata=self._metadata
            )
            for response in call:
                exchange.responses.append(response)
                on_response(response)
        except grpc.RpcError as error:
            exchange.error = error
        return exchange

    def recognise(
        self, pcm: bytes, messages: Iterable[bytes] | None = None, **fields: object
    ) -> Exchange:
        """Stream audio, numbered from 1, and half-close."""
        cuts = every(3200, pcm) if messages is None else messages
        numbered = (audio(data, seq) for seq, data in enumerate(cuts, 1))
        return self.exchange(request for part in ([config(**fields)], numbered) for request in part)

    def close(self) -> None:
        """Close the channel."""
        self._channel.close()

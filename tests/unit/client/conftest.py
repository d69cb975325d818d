"""An honest transport double: it counts bytes and claims no recognition."""

from __future__ import annotations

import threading
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor

import grpc
import pytest
from google.protobuf import any_pb2, duration_pb2
from google.rpc import error_details_pb2, status_pb2
from grpc_health.v1 import health, health_pb2, health_pb2_grpc
from grpc_status import rpc_status
from siren.v1 import speech_pb2 as pb
from siren.v1 import speech_pb2_grpc

WAIT_S = 20.0
"""Bound of waits that end at once when the code is right."""


def seconds(value: int) -> duration_pb2.Duration:
    return duration_pb2.Duration(seconds=value)


class EchoService(speech_pb2_grpc.SpeechServiceServicer):
    """Answers each stretch of audio with a partial naming the bytes of its utterance.

    A final names them again. The model id chooses an act besides: `fail` fails after
    the first final it was asked for, `flood` sends 1000 and then fails, whatever comes.
    """

    def __init__(self) -> None:
        self.requests: list[pb.StreamingRecognizeRequest] = []
        self.metadata: dict[str, str | bytes] = {}
        self.recognized: pb.RecognizeRequest | None = None
        self.is_received = threading.Event()
        self.is_over = threading.Event()
        self.is_complete = False
        self.is_loaded = True
        self.n_refusals = 0
        """How many streams are still to be refused as by a server that is full."""
        self._lock = threading.Lock()

    def _is_refused(self) -> bool:
        with self._lock:
            is_refused = self.n_refusals > 0
            self.n_refusals -= is_refused
            return is_refused

    @property
    def was_cancelled(self) -> bool:
        """Whether the stream was over before the service had said everything."""
        return self.is_over.is_set() and not self.is_complete

    def StreamingRecognize(self, request_iterator, context):
        self.metadata = dict(context.invocation_metadata())
        context.add_callback(self.is_over.set)
        if self._is_refused():
            rpc_status_abort(context)
        n_bytes = 0
        seq = 0
        model = ""
        for request in request_iterator:
            self.requests.append(request)
            self.is_received.set()
            kind = request.WhichOneof("request")
            if kind == "config":
                model = request.config.model
                yield pb.StreamingRecognizeResponse(started=self._started(request.config))
                if model == "flood":
                    for number in range(1000):
                        yield self._final(number, 0)
                    rpc_status_abort(context)
            elif kind == "audio":
                n_bytes += len(request.audio.data)
                seq = request.audio.seq or seq
                text = f"{n_bytes} bytes"
                yield pb.StreamingRecognizeResponse(
                    partial=pb.PartialResult(
                        text=text, stable_len=0, seq=seq, audio_processed=seconds(seq)
                    )
                )
            elif request.control.action == pb.Control.ACTION_FINALIZE:
                yield self._final(n_bytes, seq)
                n_bytes = 0
                if model == "fail":
                    rpc_status_abort(context)
            elif request.control.action == pb.Control.ACTION_RESET:
                n_bytes = 0
            else:
                break
        yield self._final(n_bytes, seq)
        self.is_complete = True

    def Recognize(self, request, context):
        self.recognized = request
        if request.config.model == "fail":
            rpc_status_abort(context)
        final = self._final(len(request.audio), 0).final
        return pb.RecognizeResponse(started=self._started(request.config), results=[final])

    def ListModels(self, request, context):
        self.metadata = dict(context.invocation_metadata())
        look_ahead = pb.LookAhead(chunk_frames=7, latency_ms=560, is_default=True)
        model = pb.Model(
            id="echo",
            family="byte-counter",
            language_codes=["en-US"],
            sample_rate_hertz=16000,
            look_aheads=[look_ahead],
            decoders=[pb.DECODER_RNNT],
            is_default=True,
        )
        return pb.ListModelsResponse(models=[model] if self.is_loaded else [])

    @staticmethod
    def _started(config: pb.StreamingConfig) -> pb.StreamStarted:
        return pb.StreamStarted(
            session_id="echo-1",
            model=config.model or "echo",
            encoding=config.encoding or pb.AUDIO_ENCODING_LINEAR16,
            sample_rate_hertz=config.sample_rate_hertz or 16000,
            chunk_frames=config.chunk_frames or 7,
            latency_ms=560,
        )

    @staticmethod
    def _final(n_bytes: int, seq: int) -> pb.StreamingRecognizeResponse:
        return pb.StreamingRecognizeResponse(
            final=pb.FinalResult(
                text=f"{n_bytes} bytes", seq=seq, start_time=seconds(0), end_time=seconds(seq)
            )
        )


def rpc_status_abort(context: grpc.ServicerContext) -> None:
    context.abort_with_status(rpc_status.to_status(overloaded_status()))


def overloaded_status() -> status_pb2.Status:
    return rich_status(
        grpc.StatusCode.RESOURCE_EXHAUSTED,
        "no session is free",
        error_details_pb2.ErrorInfo(reason="OVERLOADED", domain="siren"),
        error_details_pb2.RetryInfo(
            retry_delay=duration_pb2.Duration(seconds=2, nanos=500_000_000)
        ),
    )


def rich_status(code: grpc.StatusCode, message: str, *details) -> status_pb2.Status:
    packed = []
    for detail in details:
        wrapped = any_pb2.Any()
        wrapped.Pack(detail)
        packed.append(wrapped)
    return status_pb2.Status(code=code.value[0], message=message, details=packed)


class EchoServer:
    """A running server with an `EchoService` and the standard health service."""

    def __init__(self) -> None:
        self.service = EchoService()
        self.health = health.HealthServicer()
        self.health.set("", health_pb2.HealthCheckResponse.SERVING)
        self._pool = ThreadPoolExecutor(8)
        self._server = grpc.server(self._pool)
        speech_pb2_grpc.add_SpeechServiceServicer_to_server(self.service, self._server)
        health_pb2_grpc.add_HealthServicer_to_server(self.health, self._server)
        port = self._server.add_insecure_port("127.0.0.1:0")
        self.target = f"127.0.0.1:{port}"
        self._server.start()

    def stop(self) -> None:
        self._server.stop(None).wait(WAIT_S)
        self._pool.shutdown()


@pytest.fixture
def echo() -> Iterator[EchoServer]:
    server = EchoServer()
    yield server
    server.stop()


@pytest.fixture
def make_rich_status():
    return rich_status

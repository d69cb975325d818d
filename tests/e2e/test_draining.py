"""How streams leave a server that stops, or an old connection, and what goes over the wire."""

from __future__ import annotations

import json
import queue
import signal
import threading
import time
from collections.abc import Iterator

import grpc
import psutil
import pytest
from grpc_health.v1 import health_pb2, health_pb2_grpc
from siren.v1 import speech_pb2 as pb
from siren.v1 import speech_pb2_grpc

from siren_client import Control, Final, Partial, Resumed, SirenClient, SpeechEvent, SpeechEventType
from tests.support.faulty_proxy import (
    GOAWAY,
    HEADERS,
    PING,
    RST_STREAM,
    WINDOW_UPDATE,
    FaultyProxy,
)
from tests.support.server import SirenServer, serving
from tests.support.slow_server import PROGRAM
from tests.support.wire import END, FINALIZE, Wire, audio, config, failure

pytestmark = pytest.mark.e2e

SERVING = health_pb2.HealthCheckResponse.SERVING
NOT_SERVING = health_pb2.HealthCheckResponse.NOT_SERVING
HALF_SECOND = bytes(16_000)
WAIT_S = 60


@pytest.fixture(scope="module")
def other() -> Iterator[SirenServer]:
    """The server that stays: two sessions, connections grow no older than a second."""
    with serving(
        *("--max-sessions=2", "--max-connection-age-s=1", "--max-batch=2"),
        program=PROGRAM,
    ) as server:
        yield server


class Talk:
    """A stream whose messages a test sends one by one."""

    def __init__(self, target: str, **fields: object) -> None:
        self._channel = grpc.insecure_channel(target)
        self._messages: queue.Queue[pb.StreamingRecognizeRequest | None] = queue.Queue()
        self._messages.put(config(**fields))
        stub = speech_pb2_grpc.SpeechServiceStub(self._channel)
        self.call = stub.StreamingRecognize(iter(self._messages.get, None), timeout=WAIT_S)

    def send(self, *messages: pb.StreamingRecognizeRequest) -> None:
        for message in messages:
            self._messages.put(message)

    def has_sent_all(self) -> bool:
        return self._messages.empty()

    def read(self, kind: str) -> pb.StreamingRecognizeResponse:
        """Read on to the next response of a kind."""
        return next(r for r in self.call if r.WhichOneof("response") == kind)

    def end(self) -> list[pb.StreamingRecognizeResponse]:
        """End the audio, and return what follows; raises what the stream ends with."""
        self.send(END)
        self._messages.put(None)
        rest = list(self.call)
        self._channel.close()
        return rest


def health(target: str, name: str) -> int:
    with grpc.insecure_channel(target) as channel:
        request = health_pb2.HealthCheckRequest(service=name)
        stub = health_pb2_grpc.HealthStub(channel)
        return stub.Check(request, timeout=30, wait_for_ready=True).status


def wait_until(happened) -> None:
    until = time.monotonic() + WAIT_S
    while not happened():
        assert time.monotonic() < until
        time.sleep(0.02)


def test_a_server_leaves_in_order_and_its_streams_are_told(other: SirenServer) -> None:
    delay_s = 3
    with serving(
        *(f"--drain-delay-s={delay_s}", "--shutdown-grace-s=50"),
        program=PROGRAM,
    ) as server:
        proxy = FaultyProxy(server.target)
        running = Talk(proxy.target)
        running.send(audio(HALF_SECOND))
        running.read("partial")
        began = time.monotonic()
        server.signal(signal.SIGTERM)
        wait_until(lambda: health(server.target, "") == NOT_SERVING)
        # The delay: who does not know yet is taken.
        late = Talk(server.target)
        late.read("started")
        assert time.monotonic() - began < delay_s, "too slow a machine for this test"
        assert GOAWAY not in {kind for kind, _ in proxy.frames_down}

        told = running.read("event").event
        assert time.monotonic() - began >= delay_s
        assert told.type == pb.SpeechEvent.TYPE_SERVER_DRAINING
        assert 40 < told.grace_left.ToMilliseconds() / 1000 <= 50
        assert told.time.ToMilliseconds() == 500
        wait_until(lambda: (GOAWAY, 0) in proxy.frames_down)
        # Whoever comes now is sent elsewhere, in words; a probe finds the recogniser alive.
        assert health(server.target, "liveness") == SERVING
        assert health(server.target, "") == NOT_SERVING
        wire = Wire(server.target)
        refused = failure(wire.exchange([config()]).error)
        assert (refused.reason, refused.code) == ("SHUTTING_DOWN", grpc.StatusCode.UNAVAILABLE)
        # Streams run to their ends, and then so does the server.
        running.send(audio(HALF_SECOND))
        assert running.end()[-1].final.end_time.ToMilliseconds() == 1000
        assert late.end()[-1].final.cause == pb.FinalResult.CAUSE_END
        assert server.wait(timeout_s=30) == 0
        assert time.monotonic() - began < 30, "not the whole grace"
        assert "Traceback" not in server.log
        assert "Failed to add port" not in server.log
        wire.close()
        proxy.close()


@pytest.mark.parametrize("has_other", [True, pytest.param(False, marks=pytest.mark.long)])
def test_a_client_moves_between_two_utterances(other: SirenServer, has_other: bool) -> None:
    """To another server if there is one; else it stays as long as it may."""
    with serving("--shutdown-grace-s=50", program=PROGRAM) as server:
        proxy = FaultyProxy(server.target)
        is_told, may_go_on = threading.Event(), threading.Event()

        def speak() -> Iterator[bytes | Control]:
            yield HALF_SECOND
            assert is_told.wait(WAIT_S)
            yield HALF_SECOND
            yield Control.FINALIZE
            assert may_go_on.wait(WAIT_S)
            yield HALF_SECOND

        results = []
        with SirenClient(proxy.target) as client:
            for result in client.stream(speak()):
                results.append(result)
                if isinstance(result, Partial) and not is_told.is_set():
                    if has_other:
                        proxy.upstream = other.target
                    server.signal(signal.SIGTERM)
                    wait_until(lambda: (GOAWAY, 0) in proxy.frames_down)
                    is_told.set()
                if isinstance(result, Resumed if has_other else Final):
                    may_go_on.set()
        resumed = [i for i, result in enumerate(results) if isinstance(result, Resumed)]
        finals = [i for i, result in enumerate(results) if isinstance(result, Final)]
        assert [(results[i].start_s, results[i].end_s) for i in finals] == [(0.0, 1.0), (1.0, 1.5)]
        events = {result.type for result in results if isinstance(result, SpeechEvent)}
        assert SpeechEventType.SERVER_DRAINING not in events
        if has_other:
            assert len(resumed) == 1
            assert finals[0] < resumed[0] < finals[1]
            assert results[resumed[0]].is_replay
        else:
            assert not resumed
        assert server.wait(timeout_s=30) == 0
        proxy.close()


def test_an_old_connection_takes_no_new_streams_and_keeps_those_it_has(other: SirenServer) -> None:
    proxy = FaultyProxy(other.target)
    talk = Talk(proxy.target)
    talk.read("started")
    wait_until(lambda: (GOAWAY, 0) in proxy.frames_down)
    talk.send(audio(HALF_SECOND))
    assert talk.end()[-1].final.end_time.ToMilliseconds() == 500
    proxy.close()


RETRY = {
    "methodConfig": [
        {
            "name": [{"service": "siren.v1.SpeechService"}],
            "retryPolicy": {
                "maxAttempts": 4,
                "initialBackoff": "0.01s",
                "maxBackoff": "0.01s",
                "backoffMultiplier": 1,
                "retryableStatusCodes": ["RESOURCE_EXHAUSTED", "UNAVAILABLE"],
            },
        }
    ]
}


def test_a_refused_stream_is_opened_again_by_grpc_itself(other: SirenServer) -> None:
    holding = [Talk(other.target) for _ in range(2)]
    for talk in holding:
        talk.read("started")
    proxy = FaultyProxy(other.target)
    with grpc.insecure_channel(proxy.target) as plain:
        stub = speech_pb2_grpc.SpeechServiceStub(plain)
        call = stub.StreamingRecognize(iter([config()]), timeout=WAIT_S)
        with pytest.raises(grpc.RpcError):
            next(call)
        assert failure(call).reason == "OVERLOADED"
        trailers = dict(call.trailing_metadata())
        assert trailers["grpc-retry-pushback-ms"] == str(round(failure(call).retry_after_s * 1000))
        stream = max(number for _, number in proxy.frames_down)
        # A refusal that is quicker than the client's half-close resets the stream behind it.
        told = [
            kind
            for kind, number in proxy.frames_down
            if number == stream and kind not in (WINDOW_UPDATE, RST_STREAM)
        ]
        assert told == [HEADERS], "trailers only: gRPC retries nothing that had response headers"
    proxy.close()

    proxy = FaultyProxy(other.target)
    options = [("grpc.service_config", json.dumps(RETRY)), ("grpc.enable_retries", 1)]
    with grpc.insecure_channel(proxy.target, options=options) as channel:
        stub = speech_pb2_grpc.SpeechServiceStub(channel)
        call = stub.StreamingRecognize(iter([config(), END]), timeout=WAIT_S)
        wait_until(lambda: any(kind == HEADERS for kind, _ in proxy.frames_down))
        refused_at = time.monotonic()
        for talk in holding:
            talk.end()
        kinds = [response.WhichOneof("response") for response in call]
        assert kinds == ["started", "final"]
        # As the server asked for, not as the client's policy would have it: 10 ms.
        assert time.monotonic() - refused_at > 0.7
    proxy.close()


def wait_idle(process: psutil.Process) -> None:
    """Wait until a process has nothing to do: what it was sent waits in sockets no more."""
    worked_s = -1.0
    while (now_s := sum(process.cpu_times()[:2])) - worked_s > 0.02:
        worked_s = now_s
        time.sleep(0.5)


def test_who_does_not_read_costs_no_memory(other: SirenServer) -> None:
    """A partial is the whole hypothesis: an utterance without end makes quadratically many."""
    n_steps = 6000
    chunk = bytes(1280)  # 160 ms of 8 kHz mu-law
    (front_end,) = psutil.Process(other.pid).children()
    talk = Talk(
        other.target, sample_rate_hertz=8000, encoding=pb.AUDIO_ENCODING_MULAW, chunk_frames=2
    )
    talk.read("started")
    for _ in range(500):
        talk.send(audio(chunk))
    time.sleep(0.5)
    before = front_end.memory_info().rss
    for seq in range(1, n_steps):
        talk.send(audio(chunk, seq))
    talk.send(FINALIZE)
    wait_until(talk.has_sent_all)
    wait_idle(front_end)
    answers = talk.end()
    grown = front_end.memory_info().rss - before
    texts = [len(a.partial.text) for a in answers if a.WhichOneof("response") == "partial"]
    would_be = n_steps * len(answers[-2].final.text) // 2
    assert would_be > 50_000_000
    assert sum(texts) < would_be / 5, "conflated, but for what the connection's two ends hold"
    assert grown < 15_000_000


@pytest.mark.long
def test_clients_may_ping_every_ten_seconds() -> None:
    """GRPC's default allows a ping in five minutes, and ends the connection at the third before."""
    server = SirenServer(program=PROGRAM)
    options = [
        ("grpc.keepalive_time_ms", 10_000),
        ("grpc.http2.max_pings_without_data", 0),
        ("grpc.keepalive_permit_without_calls", 1),
    ]
    try:
        proxy = FaultyProxy(server.wait_serving())
        with grpc.insecure_channel(proxy.target, options=options) as channel:
            said: queue.Queue[pb.StreamingRecognizeRequest | None] = queue.Queue()
            said.put(config())
            stub = speech_pb2_grpc.SpeechServiceStub(channel)
            call = stub.StreamingRecognize(iter(said.get, None), timeout=WAIT_S)
            assert next(call).HasField("started")
            time.sleep(52)
            said.put(None)
            assert [response.WhichOneof("response") for response in call] == ["final"]
        assert sum(kind == PING for kind, _ in proxy.frames_down) >= 4, "answers to its pings"
        assert GOAWAY not in {kind for kind, _ in proxy.frames_down}
        proxy.close()
    finally:
        server.close()

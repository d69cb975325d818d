"""The server's life as an operator and Kubernetes see it."""

from __future__ import annotations

import json
import re
import signal
import threading
from collections.abc import Iterator
from contextlib import closing

import grpc
import pytest
from grpc_health.v1 import health_pb2, health_pb2_grpc
from siren.v1 import speech_pb2 as pb

from tests.support.audio import spoken_digits
from tests.support.server import SIREN, SirenServer
from tests.support.wire import Wire, audio, config, failure

pytestmark = pytest.mark.e2e

NAMES = ("", "siren.v1.SpeechService")
NOT_SERVING = health_pb2.HealthCheckResponse.NOT_SERVING
SERVING = health_pb2.HealthCheckResponse.SERVING


def statuses(target: str) -> set[int]:
    with grpc.insecure_channel(target) as channel:
        stub = health_pb2_grpc.HealthStub(channel)
        return {
            stub.Check(
                health_pb2.HealthCheckRequest(service=name), timeout=30, wait_for_ready=True
            ).status
            for name in NAMES
        }


def test_a_server_lives_and_stops_in_order() -> None:
    """Not ready until warmed up; then SIGTERM mid-stream gives the final, then SHUTTING_DOWN."""
    recording = spoken_digits()[0]
    with closing(SirenServer("--shutdown-grace-s=0.5", program=(str(SIREN),))) as server:
        target = server.target
        assert statuses(target) == {NOT_SERVING}
        wire = Wire(target)
        early = failure(wire.exchange([config()]).error)
        assert early.reason == "OVERLOADED"
        assert early.retry_after_s is not None
        assert not wire.stub.ListModels(pb.ListModelsRequest(), timeout=60).models

        server.wait_serving()
        assert statuses(target) == {SERVING}
        alone = wire.recognise(recording.pcm, sample_rate_hertz=recording.sample_rate_hertz).text

        heard, release = threading.Event(), threading.Event()

        def requests() -> Iterator[pb.StreamingRecognizeRequest]:
            yield config(sample_rate_hertz=recording.sample_rate_hertz)
            yield audio(recording.pcm, 1)
            release.wait(60)

        def hear(response: pb.StreamingRecognizeResponse) -> None:
            # A result says that the one audio message has arrived; sending it does not.
            if response.WhichOneof("response") != "started":
                heard.set()

        exchanges = []
        client = threading.Thread(target=lambda: exchanges.append(wire.exchange(requests(), hear)))
        client.start()
        assert heard.wait(60)
        server.signal(signal.SIGTERM)
        client.join(60)
        release.set()
        assert exchanges[0].finals == [alone]
        error = failure(exchanges[0].error)
        assert (error.reason, error.code) == ("SHUTTING_DOWN", grpc.StatusCode.UNAVAILABLE)
        assert error.retry_after_s is not None
        assert server.wait() == 0
        assert "stopped" in server.log
        assert "Traceback" not in server.log
        assert "[NeMo" not in server.log  # what it says is in the log's own form, or nowhere
        wire.close()


def test_ctrl_c_while_loading_stops_at_once() -> None:
    with closing(SirenServer(program=(str(SIREN),))) as server:
        server.wait_for(re.compile("listening on"))
        server.signal(signal.SIGINT)
        assert server.wait() == 0
        assert "Traceback" not in server.log


@pytest.mark.parametrize(
    ("arguments", "code", "says"),
    [
        (["--model", "/nowhere/model.nemo"], 1, "no checkpoint at /nowhere/model.nemo"),
        (["--chunk-frames", "5"], 1, "it offers 2, 7, 14"),
        (["--max-batch", "0"], 2, "max_batch"),
        (["--config", "/nowhere/siren.toml"], 2, "no settings file"),
    ],
)
def test_a_server_that_cannot_serve_says_why(arguments: list[str], code: int, says: str) -> None:
    with closing(SirenServer(*arguments)) as server:
        assert server.wait(timeout_s=240) == code
        assert says in server.log
        assert "Traceback" not in server.log
        # Only what cannot be known before is told when the model is loaded, seconds later.
        assert ("importing NeMo" in server.log) == ("--chunk-frames" in arguments)


def test_a_json_log_is_json_to_its_last_line() -> None:
    with closing(SirenServer("--log-format=json", "--model=/no/such.nemo")) as server:
        assert server.wait() == 1
        lines = [json.loads(line) for line in server.log.splitlines()]
    assert "/no/such.nemo" in lines[-1]["message"]
    assert lines[-1]["level"] == "critical"


def test_a_taken_port_is_an_error(running_server: SirenServer) -> None:
    port = running_server.target.rpartition(":")[2]
    with closing(SirenServer("--port", port)) as server:
        assert server.wait(timeout_s=120) == 1
        assert f"cannot listen on 127.0.0.1:{port}" in server.log

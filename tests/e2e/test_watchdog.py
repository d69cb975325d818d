"""A recogniser that hangs or dies: what clients, probes and the log are told, and how it ends."""

from __future__ import annotations

import re
import signal
import threading
import time
from collections.abc import Iterator
from contextlib import closing
from pathlib import Path

import grpc
import psutil
import pytest
from grpc_health.v1 import health_pb2, health_pb2_grpc
from siren.v1 import speech_pb2 as pb

from siren_grpc.server.engine_watchdog import STUCK_STATUS
from tests.support.server import SirenServer
from tests.support.slow_server import PROGRAM
from tests.support.wire import FINALIZE, Exchange, Wire, audio, config, failure

pytestmark = pytest.mark.e2e

NOT_SERVING = health_pb2.HealthCheckResponse.NOT_SERVING
SERVING = health_pb2.HealthCheckResponse.SERVING


def health(target: str, name: str) -> int:
    with grpc.insecure_channel(target) as channel:
        request = health_pb2.HealthCheckRequest(service=name)
        return health_pb2_grpc.HealthStub(channel).Check(request, timeout=30).status


def wait_for_health(target: str, name: str, status: int) -> None:
    until = time.monotonic() + 30
    while health(target, name) != status:
        assert time.monotonic() < until
        time.sleep(0.05)


class Speaker:
    """A stream that sends half a second of audio and waits."""

    def __init__(self, wire: Wire) -> None:
        self._release = threading.Event()
        self.exchange: Exchange | None = None
        self._thread = threading.Thread(target=self._run, args=(wire,), daemon=True)
        self._thread.start()

    def _run(self, wire: Wire) -> None:
        self.exchange = wire.exchange(self._requests())

    def _requests(self) -> Iterator[pb.StreamingRecognizeRequest]:
        yield config()
        yield audio(bytes(16_000))
        self._release.wait(60)

    def wait(self) -> Exchange:
        self._thread.join(30)
        self._release.set()
        assert self.exchange is not None
        return self.exchange


@pytest.fixture
def block(tmp_path: Path) -> Path:
    return tmp_path / "block"


@pytest.fixture
def server(block: Path, request: pytest.FixtureRequest) -> Iterator[SirenServer]:
    server = SirenServer(
        *("--stuck-step-s=1", f"--stuck-exit-s={request.param}", "--preview-ms=0"),
        program=PROGRAM,
        SLOW_BLOCK=str(block),
    )
    yield server
    server.close()


@pytest.mark.parametrize("server", [3], indirect=True)
def test_a_process_with_a_stuck_step_says_so_and_ends_itself(
    server: SirenServer, block: Path
) -> None:
    wire = Wire(server.wait_serving())
    assert health(server.target, "liveness") == SERVING
    block.touch()
    error = failure(Speaker(wire).wait().error)
    assert (error.reason, error.code) == ("SHUTTING_DOWN", grpc.StatusCode.UNAVAILABLE)
    assert error.retry_after_s is not None
    assert "stuck" in error.message
    wait_for_health(server.target, "liveness", NOT_SERVING)
    assert health(server.target, "") == NOT_SERVING
    began = time.monotonic()
    assert failure(wire.exchange([config()]).error).reason == "SHUTTING_DOWN"
    assert time.monotonic() - began < 0.5, "not behind the step"
    # If the step ends after all, so does the alarm.
    block.unlink()
    wait_for_health(server.target, "liveness", SERVING)
    assert health(server.target, "") == SERVING
    assert wire.exchange([config(), audio(bytes(16_000))]).error is None
    block.touch()
    assert failure(Speaker(wire).wait().error).reason == "SHUTTING_DOWN"
    assert server.wait(timeout_s=30) == STUCK_STATUS
    assert "tests/support/slow_server.py" in server.log, "the stack of the stuck step"
    wire.close()


@pytest.mark.long
@pytest.mark.parametrize("server", [60], indirect=True)
def test_a_stuck_server_that_is_asked_to_stop_does_not_wait_for_its_step(
    server: SirenServer, block: Path
) -> None:
    wire = Wire(server.wait_serving())
    block.touch()
    assert failure(Speaker(wire).wait().error).reason == "SHUTTING_DOWN"
    server.signal(signal.SIGTERM)
    assert server.wait(timeout_s=30) == STUCK_STATUS
    wire.close()


@pytest.mark.long
@pytest.mark.parametrize("server", [2], indirect=True)
def test_a_process_of_which_nothing_is_heard_is_ended_by_its_front_end(
    server: SirenServer,
) -> None:
    """Stopped, as an interpreter is that something keeps; the signal to end waits for it."""
    wire = Wire(server.wait_serving())
    speaker = Speaker(wire)
    engine = psutil.Process(server.pid)
    engine.suspend()
    assert failure(speaker.wait().error).reason == "SHUTTING_DOWN"
    wait_for_health(server.target, "liveness", NOT_SERVING)
    server.wait_for(re.compile("ending the engine's process, of which nothing is heard"))
    engine.resume()
    assert server.wait(timeout_s=30) == -signal.SIGABRT
    assert "Fatal Python error: Aborted" in server.log
    wire.close()


def test_a_recogniser_that_dies_while_a_model_is_loaded_ends_the_server(tmp_path: Path) -> None:
    """Not when the load is over: its streams would hang for as long."""
    settings, second = tmp_path / "siren.toml", tmp_path / "second.nemo"
    load, death = tmp_path / "load", tmp_path / "death"
    settings.touch()
    second.touch()
    with closing(
        SirenServer(
            *("--config", str(settings), "--preview-ms=0"),
            program=PROGRAM,
            SLOW_LOAD=str(load),
            SLOW_DEATH=str(death),
        )
    ) as server:
        wire = Wire(server.wait_serving())
        load.touch()
        settings.write_text(f"models = ['{second}']\n")
        server.signal(signal.SIGHUP)
        server.wait_for(re.compile(f"loading {re.escape(str(second))}"))
        death.touch()
        assert wire.exchange([config(), audio(bytes(16_000)), FINALIZE]).error is not None
        assert server.wait(timeout_s=30) == 1
        assert "the recogniser died" in server.log
        wire.close()

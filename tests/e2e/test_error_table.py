"""Every reason of the contract's error table is really received by a client over gRPC."""

from __future__ import annotations

import signal
import sys
import threading
from collections.abc import Callable, Iterator
from pathlib import Path

import grpc
import numpy as np
import psutil
import pytest
from siren.v1 import speech_pb2 as pb

from siren_grpc.domain.errors import Reason
from tests.support.faulty_server import POISON
from tests.support.server import SirenServer
from tests.support.wire import Failure, Wire, audio, config, failure

pytestmark = pytest.mark.e2e

FLAGS = ("--max-sessions=2", "--idle-timeout-s=1", "--max-session-s=1.5", "--shutdown-grace-s=60")
TOKEN = "brief-one-two-three-four-five-six-seven"
FLOAT32 = pb.AUDIO_ENCODING_FLOAT32
SOURCES = Path(__file__).parents[2] / "siren_grpc"


class Table:
    """A server with tight limits and a device that can fail."""

    def __init__(self) -> None:
        program = (sys.executable, "-m", "tests.support.faulty_server")
        self.server = SirenServer(*FLAGS, program=program, SIREN_TOKENS=f"table={TOKEN}")
        self.wire = Wire(self.server.wait_serving(), token=TOKEN)
        self._release = threading.Event()
        self._errors: list[grpc.RpcError] = []

    def fails(self, *requests: pb.StreamingRecognizeRequest) -> Failure:
        return failure(self.wire.exchange(requests).error)

    def hold_a_stream(self) -> threading.Thread:
        """Begin a stream that sends now and then, so that it is not idle, and return its thread."""
        started = threading.Event()

        def requests() -> Iterator[pb.StreamingRecognizeRequest]:
            yield config()
            while not self._release.wait(0.2):
                yield audio(b"")

        def run() -> None:
            exchange = self.wire.exchange(requests(), lambda _: started.set())
            if exchange.error is not None:
                self._errors.append(exchange.error)

        thread = threading.Thread(target=run, daemon=True)
        thread.start()
        assert started.wait(60)
        return thread

    def release(self) -> None:
        self._release.set()

    def last_error(self) -> Failure:
        (error,) = self._errors
        return failure(error)

    def close(self) -> None:
        self.release()
        self.wire.close()
        self.server.close()
        for process in self.orphans:
            process.wait(30)

    orphans: tuple[psutil.Process, ...] = ()


def stranger(table: Table) -> Failure:
    wire = Wire(table.server.target, token=TOKEN[::-1])
    try:
        return failure(wire.exchange([config()]).error)
    finally:
        wire.close()


def idle(table: Table) -> Failure:
    release = threading.Event()

    def requests() -> Iterator[pb.StreamingRecognizeRequest]:
        yield config()
        release.wait(60)

    try:
        return failure(table.wire.exchange(requests()).error)
    finally:
        release.set()


def poisoned(table: Table) -> Failure:
    sound = np.full(16_000, POISON, "<f4").tobytes()
    return table.fails(config(encoding=FLOAT32), audio(sound))


def overloaded(table: Table) -> Failure:
    threads = []
    try:
        for _ in range(100):  # until both sessions are held: others may just be closing
            threads.append(table.hold_a_stream())
            if table.wire.exchange([config()]).error is not None:
                return table.fails(config())
    finally:
        table.release()
        for thread in threads:
            thread.join(60)
        table._release = threading.Event()
        table._errors.clear()
    raise AssertionError("the server never was full")


def shutting_down(table: Table) -> Failure:
    table.hold_a_stream()
    table.server.signal(signal.SIGTERM)
    for _ in range(1000):
        exchange = table.wire.exchange([config()])
        if exchange.error is not None:
            return failure(exchange.error)
    raise AssertionError("the server never began to drain")


def internal(table: Table) -> Failure:
    """Kill the process that has the models, while the one that has the call drains."""
    table.orphans = tuple(psutil.Process(table.server.pid).children())
    table.server.signal(signal.SIGKILL)
    for _ in range(600):
        if table._errors:
            break
        threading.Event().wait(0.05)
    return table.last_error()


# In this order: the last two end the server. A reason that is added to the enum needs a line here.
SCENARIOS: dict[Reason, Callable[[Table], Failure]] = {
    Reason.AUTH_FAILED: stranger,
    Reason.INVALID_MESSAGE: lambda table: table.fails(config(), config()),
    Reason.INVALID_CONFIG: lambda table: table.fails(config(chunk_frames=3)),
    Reason.INVALID_AUDIO: lambda table: table.fails(config(), audio(b"\0")),
    Reason.MODEL_NOT_FOUND: lambda table: table.fails(config(model="nobody/nothing")),
    Reason.SESSION_TOO_LONG: lambda table: table.fails(config(), audio(bytes(96_000))),
    Reason.MODEL_ERROR: poisoned,
    Reason.IDLE_TIMEOUT: idle,
    Reason.OVERLOADED: overloaded,
    Reason.SHUTTING_DOWN: shutting_down,
    Reason.INTERNAL_ERROR: internal,
}
NEVER_SENT = {
    # Reserved by the contract: while a stream's audio waits the server reads no more of it.
    Reason.AUDIO_TOO_FAST: "AudioTooFast("
}
CODES = {
    Reason.AUTH_FAILED: grpc.StatusCode.UNAUTHENTICATED,
    Reason.OVERLOADED: grpc.StatusCode.RESOURCE_EXHAUSTED,
    Reason.MODEL_NOT_FOUND: grpc.StatusCode.NOT_FOUND,
    Reason.IDLE_TIMEOUT: grpc.StatusCode.DEADLINE_EXCEEDED,
    Reason.SESSION_TOO_LONG: grpc.StatusCode.OUT_OF_RANGE,
    Reason.SHUTTING_DOWN: grpc.StatusCode.UNAVAILABLE,
    Reason.MODEL_ERROR: grpc.StatusCode.INTERNAL,
    Reason.INTERNAL_ERROR: grpc.StatusCode.INTERNAL,
}


def test_every_reason_has_a_scenario() -> None:
    assert set(SCENARIOS) | set(NEVER_SENT) == set(Reason)
    assert not set(SCENARIOS) & set(NEVER_SENT)


def test_reasons_without_one_are_raised_nowhere() -> None:
    for path in SOURCES.rglob("*.py"):
        text = path.read_text(encoding="utf-8")
        for call in NEVER_SENT.values():
            assert f"raise {call}" not in text, path
            assert f"= {call}" not in text, path


def test_every_reason_is_received() -> None:
    table = Table()
    try:
        for reason, scenario in SCENARIOS.items():
            found = scenario(table)
            assert found.reason == reason.value, found
            assert found.domain == "siren"
            assert found.message
            assert found.code is CODES.get(reason, grpc.StatusCode.INVALID_ARGUMENT)
            assert (found.retry_after_s is not None) == (
                reason in (Reason.OVERLOADED, Reason.SHUTTING_DOWN)
            )
            if reason is Reason.MODEL_ERROR:
                # Of the stream that was hit only, and its cause stays in the server's log.
                assert "CUDA" not in found.message
                assert "CUDA error" in table.server.log
                assert table.wire.exchange([config()]).error is None
    finally:
        table.close()

"""The processes of a server: what they share, and what happens when one of them dies."""

from __future__ import annotations

import signal
import threading
import time
from collections.abc import Iterator

import grpc
import psutil
import pytest
from siren.v1 import speech_pb2 as pb

from tests.support.audio import spoken_digits
from tests.support.server import SirenServer, serving
from tests.support.wire import Wire, audio, config, failure

pytestmark = pytest.mark.e2e


def front_ends(server: SirenServer) -> list[psutil.Process]:
    return psutil.Process(server.pid).children()


def hanging_stream(wire: Wire) -> tuple[threading.Thread, list[grpc.RpcError]]:
    """Start a stream that has been heard and then waits."""
    recording = spoken_digits()[0]
    heard, errors = threading.Event(), []

    def requests() -> Iterator[pb.StreamingRecognizeRequest]:
        yield config(sample_rate_hertz=recording.sample_rate_hertz)
        yield audio(recording.pcm, 1)
        time.sleep(60)

    def hear(response: pb.StreamingRecognizeResponse) -> None:
        if response.WhichOneof("response") != "started":
            heard.set()

    def run() -> None:
        errors.append(wire.exchange(requests(), hear).error)

    thread = threading.Thread(target=run, daemon=True)
    thread.start()
    assert heard.wait(60)
    return thread, errors


def test_front_ends_share_the_port_and_the_models() -> None:
    with serving("--front-ends=3", "--max-sessions=64") as server:
        target = server.target
        assert len(front_ends(server)) == 3
        recordings = spoken_digits()
        texts: dict[str, set[str]] = {recording.name: set() for recording in recordings}

        def recognise() -> None:
            wire = Wire(target)  # a connection of its own
            for recording in recordings:
                text = wire.recognise(
                    recording.pcm, sample_rate_hertz=recording.sample_rate_hertz
                ).text
                texts[recording.name].add(text)
            wire.close()

        clients = [threading.Thread(target=recognise) for _ in range(12)]
        for client in clients:
            client.start()
        for client in clients:
            client.join(120)
        assert all(len(found) == 1 for found in texts.values())
        port = int(target.rpartition(":")[2])
        used = {
            connection.pid
            for connection in psutil.net_connections("tcp")
            if connection.laddr and connection.laddr.port == port
        }
        assert {process.pid for process in front_ends(server)} <= used
        other = SirenServer(f"--port={port}", "--front-ends=2")
        assert other.wait(timeout_s=120) == 1
        assert f"cannot listen on 127.0.0.1:{port}" in other.log
        other.close()
        server.signal(signal.SIGTERM)
        assert server.wait() == 0
        assert "Traceback" not in server.log


def test_streams_hear_that_the_engines_process_is_gone() -> None:
    with serving() as server:
        wire = Wire(server.target)
        thread, errors = hanging_stream(wire)
        (front_end,) = front_ends(server)
        server.signal(signal.SIGKILL)
        thread.join(30)
        error = failure(errors[0])
        assert (error.reason, error.code) == ("INTERNAL_ERROR", grpc.StatusCode.INTERNAL)
        front_end.wait(30)
        wire.close()


def test_a_server_whose_front_end_dies_ends_to_be_replaced() -> None:
    with serving() as server:
        wire = Wire(server.target)
        thread, errors = hanging_stream(wire)
        (front_end,) = front_ends(server)
        front_end.kill()
        thread.join(30)
        assert errors[0].code() == grpc.StatusCode.UNAVAILABLE
        assert server.wait(timeout_s=60) == 1
        assert "a front end died" in server.log
        assert "Traceback" not in server.log
        wire.close()


def test_ctrl_c_of_a_terminal_reaches_every_process_and_all_stop_in_order() -> None:
    with serving("--shutdown-grace-s=0.2") as server:
        wire = Wire(server.target)
        thread, errors = hanging_stream(wire)
        for process in (*front_ends(server), psutil.Process(server.pid)):
            process.send_signal(signal.SIGINT)
        thread.join(30)
        assert failure(errors[0]).reason == "SHUTTING_DOWN"
        assert server.wait(timeout_s=60) == 0
        assert "Traceback" not in server.log
        wire.close()

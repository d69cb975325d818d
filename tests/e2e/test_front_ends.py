"""The processes of a server: what they share, and what happens when one of them dies."""

from __future__ import annotations

import re
import signal
import threading
import time
from collections.abc import Iterator
from pathlib import Path

import grpc
import psutil
import pytest
from siren.v1 import speech_pb2 as pb

from siren_client import Final, Reconnect, SirenClient
from siren_grpc.server.security.tokens import new_token, to_line
from tests.support.audio import spoken_digits
from tests.support.server import SirenServer, serving
from tests.support.wire import Exchange, Wire, audio, config, every, failure

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


def replaced(server: SirenServer, dead: psutil.Process) -> psutil.Process:
    """Kill a front end, and return the one that serves in its place."""
    others = set(front_ends(server)) - {dead}
    dead.kill()
    dead.wait(30)
    server.wait_for(re.compile(f"front_end_{n_made(server) + 1} serves in the place of"))
    (new,) = set(front_ends(server)) - others
    return new


def n_connections(front_end: psutil.Process) -> int:
    """Return how many clients are connected to a front end."""
    return sum(c.status == psutil.CONN_ESTABLISHED for c in front_end.net_connections("tcp"))


def n_made(server: SirenServer) -> int:
    """Return how many front ends the server has had so far, as long as it had one at a time."""
    return 1 + server.log.count("serves in the place of")


def test_a_front_end_that_dies_is_replaced_and_the_engine_goes_on() -> None:
    recording = spoken_digits()[0]
    with serving() as server:
        wire = Wire(server.target)
        thread, errors = hanging_stream(wire)
        (front_end,) = front_ends(server)
        new = replaced(server, front_end)
        thread.join(30)
        assert errors[0].code() == grpc.StatusCode.UNAVAILABLE
        assert new.pid != front_end.pid
        assert "front_end_1 died (SIGKILL); starting another" in server.log
        found = Wire(server.target).recognise(
            recording.pcm, sample_rate_hertz=recording.sample_rate_hertz
        )
        assert found.text
        assert len(re.findall("loaded siren-mini-en", server.log)) == 1
        assert "Traceback" not in server.log
        server.signal(signal.SIGTERM)
        assert server.wait() == 0
        wire.close()


def test_a_front_end_is_replaced_once_the_file_it_needs_is_mended(tmp_path: Path) -> None:
    tokens = tmp_path / "tokens"
    line = to_line(new_token("phone")[1])
    tokens.write_text(line + "\n")
    with serving("--front-ends=2", f"--tokens-file={tokens}") as server:
        first, other = front_ends(server)
        tokens.write_text(line + "\nbroken\n")
        first.kill()
        server.wait_for(re.compile("no other front end can be started: .*line 2"))
        assert other.is_running()
        assert psutil.Process(server.pid).is_running()
        tokens.write_text(line + "\n")
        server.wait_for(re.compile("front_end_[0-9]+ serves in the place of"))
        assert len(front_ends(server)) == 2


def test_a_stream_outlives_its_front_end() -> None:
    recording = spoken_digits()[0]
    pieces = list(every(3200, recording.pcm))
    patient = Reconnect(deadline_s=60, first_delay_s=0.05, max_delay_s=0.5)
    has_begun = threading.Event()
    with serving() as server, SirenClient(server.target) as client:

        def heard(audio: Iterator[bytes]) -> list[str]:
            stream = client.stream(
                audio, sample_rate_hertz=recording.sample_rate_hertz, reconnect=patient
            )
            finals = []
            for result in stream:
                has_begun.set()
                if isinstance(result, Final):
                    finals.append(result.text)
            return finals

        def disturbed() -> Iterator[bytes]:
            for i, piece in enumerate(pieces):
                if i == len(pieces) // 2:
                    assert has_begun.wait(60)
                    replaced(server, *front_ends(server))
                yield piece

        undisturbed = heard(iter(pieces))
        assert "".join(undisturbed)
        has_begun.clear()
        assert heard(disturbed()) == undisturbed


def test_streams_of_the_other_front_ends_go_on() -> None:
    recording = spoken_digits()[0]
    has_died, has_begun = threading.Event(), threading.Barrier(9)
    with serving("--front-ends=2") as server:
        wire = Wire(server.target)
        alone = wire.recognise(recording.pcm, sample_rate_hertz=recording.sample_rate_hertz)
        wire.close()  # its connection is not to be counted

        def requests() -> Iterator[pb.StreamingRecognizeRequest]:
            yield config(sample_rate_hertz=recording.sample_rate_hertz)
            for i, piece in enumerate(every(3200, recording.pcm), 1):
                if i == 5:
                    assert has_died.wait(60)
                yield audio(piece, i)

        def begin(response: pb.StreamingRecognizeResponse) -> None:
            if response.HasField("started"):
                has_begun.wait(60)

        def run(wire: Wire) -> None:
            found.append(wire.exchange(requests(), begin))

        wires = [Wire(server.target, is_apart=True) for _ in range(8)]
        found: list[Exchange] = []
        streams = [threading.Thread(target=run, args=[wire]) for wire in wires]
        for stream in streams:
            stream.start()
        has_begun.wait(60)
        victim = front_ends(server)[0]
        n_lost = n_connections(victim)
        victim.kill()
        server.wait_for(re.compile("front_end_3 serves in the place of"))
        has_died.set()
        for stream in streams:
            stream.join(60)
        went_on = [exchange.text for exchange in found if exchange.error is None]
        lost = [exchange.error.code() for exchange in found if exchange.error is not None]
        assert set(went_on) <= {alone.text}
        assert set(lost) <= {grpc.StatusCode.UNAVAILABLE}
        assert (len(went_on), len(lost)) == (len(wires) - n_lost, n_lost)


@pytest.mark.slow
def test_a_front_end_that_hangs_is_replaced() -> None:
    recording = spoken_digits()[0]
    with serving("--stuck-step-s=1", "--stuck-exit-s=1") as server:
        (front_end,) = front_ends(server)
        front_end.suspend()
        server.wait_for(re.compile("front_end_2 serves in the place of front_end_1"))
        assert "ending front_end_1, of which nothing is heard" in server.log
        found = Wire(server.target).recognise(
            recording.pcm, sample_rate_hertz=recording.sample_rate_hertz
        )
        assert found.text


def test_a_server_whose_front_ends_keep_dying_ends_to_be_replaced() -> None:
    with serving() as server:
        (front_end,) = front_ends(server)
        for _ in range(3):
            front_end = replaced(server, front_end)
        front_end.kill()
        assert server.wait(timeout_s=60) == 1
        assert "a front end died (SIGKILL), and 3 more within 60 s" in server.log
        assert "Traceback" not in server.log


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

"""Clients that die and networks that fail: no session stuck, nothing lost, nothing left open."""

from __future__ import annotations

import asyncio
import subprocess
import sys
import threading
import time
from collections.abc import Callable, Iterator

import pytest
from hyperframe.frame import SettingsFrame

from siren_client import Final, Reconnect, SirenClient
from siren_grpc.abuse.bad_calls import STREAM, audio, config, control
from siren_grpc.abuse.http2 import Http2, message
from siren_grpc.abuse.outcome import Kind
from siren_grpc.abuse.session_count import all_sessions_free
from siren_grpc.observe.processes import family_use
from tests.support.audio import spoken_digits
from tests.support.faulty_proxy import FaultyProxy
from tests.support.server import SirenServer, serving
from tests.support.wire import every

pytestmark = pytest.mark.e2e

SESSIONS = 8
IDLE_S = 2
PATIENT = Reconnect(deadline_s=60, first_delay_s=0.05, max_delay_s=0.5)
RECORDING = min(spoken_digits(), key=lambda recording: len(recording.pcm))
_CLIENT = """
import sys, time
from siren_client import SirenClient
def audio():
    yield bytes(3200)
    print("begun", flush=True)
    time.sleep(60)
with SirenClient(sys.argv[1]) as client:
    list(client.stream(audio()))
"""


@pytest.fixture(scope="module")
def server() -> Iterator[SirenServer]:
    with serving(
        f"--max-sessions={SESSIONS}",
        f"--idle-timeout-s={IDLE_S}",
        "--resume-grace-s=1",
        "--max-unsent-results=8",
    ) as server:
        yield server


@pytest.fixture
def proxy(server: SirenServer) -> Iterator[FaultyProxy]:
    proxy = FaultyProxy(server.target)
    yield proxy
    proxy.close()


@pytest.fixture(autouse=True)
def nothing_left(server: SirenServer) -> Iterator[None]:
    """Each test leaves the server as it was: descriptors, sessions, and no fault in its log."""
    before = family_use(server.pid).fds
    yield
    assert asyncio.run(all_sessions_free(server.target, SESSIONS, deadline_s=30)) is None
    for _ in range(200):
        if (now := family_use(server.pid).fds) <= before:
            break
        time.sleep(0.1)
    assert now <= before
    for fault in ("Traceback", " ERROR ", "Task was destroyed"):
        assert fault not in server.log


def recognised(target: str, while_sending: Callable[[int], object] = lambda i: None) -> list:
    """Stream the recording with FINALIZE in its middle, however often the connection breaks."""
    pieces = list(every(3200, RECORDING.pcm))

    def items() -> Iterator[bytes]:
        for i, piece in enumerate(pieces):
            while_sending(i)
            yield piece

    with SirenClient(target) as client:
        results = client.stream(
            items(), sample_rate_hertz=RECORDING.sample_rate_hertz, reconnect=PATIENT
        )
        return [(r.text, r.seq, r.end_s) for r in results if isinstance(r, Final)]


@pytest.fixture(scope="module")
def undisturbed(server: SirenServer) -> list:
    found = recognised(server.target)
    assert found[0][0]
    return found


@pytest.mark.parametrize(
    "fault",
    [
        pytest.param(lambda proxy: proxy.shape(delay_s=0.05), id="50 ms of latency"),
        pytest.param(lambda proxy: proxy.shape(piece_bytes=7), id="seven bytes at a time"),
        pytest.param(lambda proxy: proxy.shape(bytes_per_s=60_000), id="a slow line"),
        pytest.param(lambda proxy: proxy.break_within(), id="reset within a frame"),
        pytest.param(lambda proxy: proxy.half_close(to_client=True), id="half open"),
        pytest.param(
            lambda proxy: (proxy.stall(), threading.Timer(0.7, proxy.flow).start()), id="a stall"
        ),
    ],
)
def test_a_failing_network_changes_no_final(
    proxy: FaultyProxy, undisturbed: list, fault: Callable[[FaultyProxy], object]
) -> None:
    def while_sending(i: int) -> None:
        if i % 9 == 4:
            fault(proxy)

    assert recognised(proxy.target, while_sending) == undisturbed


def test_clients_that_are_killed_leave_nothing(server: SirenServer) -> None:
    clients = [
        subprocess.Popen(
            [sys.executable, "-c", _CLIENT, server.target], stdout=subprocess.PIPE, text=True
        )
        for _ in range(3)
    ]
    for client in clients:
        assert client.stdout is not None
        assert client.stdout.readline() == "begun\n"
        client.kill()
        client.wait()
        client.stdout.close()


@pytest.mark.parametrize("finals", [0, 40], ids=["sends nothing", "asks for finals"])
def test_clients_that_read_nothing_hold_no_session(server: SirenServer, finals: int) -> None:
    """They answer pings, so that the connection lives; the window they give is 0."""

    async def run() -> None:
        connections, reading = [], []
        for _ in range(SESSIONS - 1):
            closed = {SettingsFrame.INITIAL_WINDOW_SIZE: 0}
            connection = await Http2.connect(server.target, settings=closed)
            stream = connection.begin(STREAM)
            for request in (config(), *[audio(bytes(320)), control(1)] * finals):
                connection.data(stream, message(request.SerializeToString()))
            connections.append(connection)
            reading.append(asyncio.create_task(connection.ends(0, deadline_s=30)))
        free = await all_sessions_free(server.target, SESSIONS, deadline_s=20)
        assert not any(task.done() and task.result().kind is Kind.CLOSED for task in reading)
        for task in reading:
            task.cancel()
        for connection in connections:
            await connection.vanish()
        assert free is None

    asyncio.run(run())

"""`Recognize`: the same words as a stream's, beside live streams, and nothing behind its back."""

from __future__ import annotations

import re
import signal
import threading
import time
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor

import grpc
import pytest
from siren.v1 import speech_pb2 as pb

from tests.support.audio import Recording, spoken_digits
from tests.support.server import SirenServer, serving
from tests.support.wire import FINALIZE, Exchange, Wire, audio, config, failure

pytestmark = pytest.mark.e2e

SPOKEN = [r for r in spoken_digits() if r.sample_rate_hertz == 16000]
HALF_AN_HOUR = pb.RecognizeRequest(
    config=pb.StreamingConfig(encoding=pb.AUDIO_ENCODING_MULAW, sample_rate_hertz=8000),
    audio=b"\xff" * (8000 * 1800),
)


def request_of(recording: Recording, times: int = 1) -> pb.RecognizeRequest:
    return pb.RecognizeRequest(
        config=pb.StreamingConfig(sample_rate_hertz=recording.sample_rate_hertz),
        audio=recording.pcm * times,
    )


def spoken_live(recording: Recording) -> Iterator[pb.StreamingRecognizeRequest]:
    """Speak at the pace of speech, a tenth of a second a message."""
    yield config(sample_rate_hertz=recording.sample_rate_hertz)
    began = time.monotonic()
    size = recording.sample_rate_hertz // 10 * 2
    for n, start in enumerate(range(0, len(recording.pcm), size), 1):
        threading.Event().wait(max(0.0, began + n / 10 - time.monotonic()))
        yield audio(recording.pcm[start : start + size], n)


def test_recordings_beside_live_streams_change_no_word_of_either(wire: Wire) -> None:
    alone = [wire.recognise(r.pcm, sample_rate_hertz=16000).text for r in SPOKEN]
    long_alone = [wire.recognise(r.pcm * 12, sample_rate_hertz=16000).text for r in SPOKEN]
    with ThreadPoolExecutor(16) as pool:
        live = [pool.submit(wire.exchange, spoken_live(r)) for r in SPOKEN]
        recorded = [
            pool.submit(wire.stub.Recognize, request_of(r, 12), timeout=120) for r in SPOKEN * 2
        ]
        assert [future.result().text for future in live] == alone
        finals = [[f.text for f in future.result().results] for future in recorded]
    assert finals == [[text] for text in long_alone * 2]
    assert all(len(text.split()) > 20 for text in long_alone)


def test_an_empty_recording_gets_its_final(wire: Wire) -> None:
    response = wire.stub.Recognize(pb.RecognizeRequest(), timeout=60)
    assert [final.text for final in response.results] == [""]
    assert response.started.session_id


@pytest.fixture
def single() -> Iterator[tuple[SirenServer, Wire]]:
    """A server for one session, which takes long messages and is soon stopped."""
    with serving(
        *("--max-sessions", "1", "--threads", "1", "--max-message-mb", "32"),
        *("--max-session-s", "3600", "--shutdown-grace-s", "0.2"),
    ) as server:
        wire = Wire(server.target)
        yield server, wire
        wire.close()


def session_begun(server: SirenServer, n: int) -> str:
    """Wait until the n-th recording has begun, and return its session id."""
    pattern = re.compile(r"session (\w+): recording")
    server.wait_for(pattern)
    while len(found := pattern.findall(server.log)) < n:
        threading.Event().wait(0.01)
    return found[n - 1]


def when_free(ask: Callable[[], Exchange]) -> Exchange:
    """Ask until the only slot is free; cancelling is not waited for by anybody."""
    for _ in range(500):
        exchange = ask()
        if exchange.error is None or failure(exchange.error).reason != "OVERLOADED":
            return exchange
        threading.Event().wait(0.01)
    raise AssertionError("the slot was never freed")


def test_a_recording_nobody_waits_for_any_more_is_dropped(
    single: tuple[SirenServer, Wire],
) -> None:
    server, wire = single
    recording = SPOKEN[0]
    cancelled = wire.stub.Recognize.future(HALF_AN_HOUR)
    first = session_begun(server, 1)
    cancelled.cancel()
    streamed = when_free(lambda: wire.recognise(recording.pcm, sample_rate_hertz=16000))

    with pytest.raises(grpc.RpcError) as caught:
        wire.stub.Recognize(HALF_AN_HOUR, timeout=1.0)
    assert caught.value.code() is grpc.StatusCode.DEADLINE_EXCEEDED
    second = session_begun(server, 2)
    again = when_free(lambda: wire.recognise(recording.pcm, sample_rate_hertz=16000))
    assert streamed.text == again.text == wire.stub.Recognize(request_of(recording)).results[0].text
    for session_id in (first, second):
        assert f"session {session_id}: ended" not in server.log, "it ran to its end"
    assert "Traceback" not in server.log


def test_a_stopping_server_says_so_to_recordings(single: tuple[SirenServer, Wire]) -> None:
    server, wire = single
    running = wire.stub.Recognize.future(HALF_AN_HOUR, timeout=60)
    session_begun(server, 1)
    server.signal(signal.SIGTERM)
    with pytest.raises(grpc.RpcError) as caught:
        running.result()
    error = failure(caught.value)
    assert (error.reason, error.code) == ("SHUTTING_DOWN", grpc.StatusCode.UNAVAILABLE)
    assert error.retry_after_s is not None
    assert server.wait() == 0
    assert "Traceback" not in server.log


def test_the_last_sessions_are_kept_for_live_streams() -> None:
    """Of eight sessions seven may be recordings'."""
    with serving("--max-sessions", "8", "--threads", "1", "--max-message-mb", "32") as server:
        wire = Wire(server.target)
        recordings = [wire.stub.Recognize.future(HALF_AN_HOUR, timeout=120) for _ in range(7)]
        session_begun(server, 7)
        with pytest.raises(grpc.RpcError) as caught:
            wire.stub.Recognize(request_of(SPOKEN[0]), timeout=60)
        refused = failure(caught.value)
        assert refused.reason == "OVERLOADED"
        assert "kept for live streams" in refused.message
        exchange = wire.exchange(
            [config(sample_rate_hertz=16000), audio(SPOKEN[0].pcm), FINALIZE, audio(b"")]
        )
        assert exchange.error is None
        assert len(exchange.finals) == 2
        assert not any(recording.done() for recording in recordings), "it waited for none of them"
        for recording in recordings:
            recording.cancel()
        wire.close()

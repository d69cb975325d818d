from __future__ import annotations

import gc
import queue
import threading
from collections.abc import Iterator

import grpc
import pytest
from grpc_health.v1 import health_pb2
from siren.v1 import speech_pb2 as pb

from siren_client import (
    AudioEncoding,
    Control,
    Final,
    Partial,
    Reason,
    Reconnect,
    ServingStatus,
    SirenClient,
    SirenError,
    Started,
)
from siren_client._feed_blocking import BlockingFeed
from siren_client.unbroken import UnbrokenStream

WAIT_S = 20.0


@pytest.fixture
def client(echo) -> Iterator[SirenClient]:
    with SirenClient(echo.target) as client:
        yield client


def endless(stop: threading.Event) -> Iterator[bytes]:
    """Yield one item, then wait as a silent microphone does."""
    yield b"ab"
    stop.wait(WAIT_S)


def collect(results, *, into: list) -> None:
    for result in results:
        into.append(result)


def texts(results) -> list[str]:
    return [result.text for result in results if isinstance(result, Final)]


def test_results_come_in_order(client, echo):
    started, *results = client.stream([b"abcd", b"ef"], model="m", sample_rate_hertz=8000)
    assert echo.service.is_over.wait(WAIT_S)
    assert not echo.service.was_cancelled
    assert isinstance(started, Started)
    assert (started.model, started.sample_rate_hertz) == ("m", 8000)
    assert started.encoding is AudioEncoding.LINEAR16
    assert results == [
        Partial(text="4 bytes", stable_len=0, seq=1, audio_processed_s=1.0),
        Partial(text="6 bytes", stable_len=0, seq=2, audio_processed_s=2.0),
        Final(text="6 bytes", seq=2, start_s=0.0, end_s=2.0),
    ]


def test_controls_take_effect_between_the_audio(client, echo):
    audio = [b"ab", Control.FINALIZE, b"lost", Control.RESET, b"c", Control.END, b"never sent"]
    assert texts(client.stream(audio)) == ["2 bytes", "1 bytes"]
    kinds = [request.WhichOneof("request") for request in echo.service.requests]
    assert kinds == ["config", "audio", "control", "audio", "control", "audio", "control"]
    seqs = [request.audio.seq for request in echo.service.requests if request.HasField("audio")]
    assert seqs == [1, 2, 3]


def test_a_stream_without_audio_ends(client):
    assert texts(client.stream([])) == ["0 bytes"]


def test_audio_that_depends_on_results(client):
    items: queue.Queue[bytes | Control] = queue.Queue()
    items.put(b"a")
    finals = []
    for result in client.stream(iter(items.get, None)):
        if isinstance(result, Partial):
            items.put(b"a" if result.seq < 20 else Control.END)
        elif isinstance(result, Final):
            finals.append(result.seq)
    assert finals == [20]


def test_a_slow_reader_gets_everything(client):
    is_sent = threading.Event()

    def audio():
        for _ in range(500):
            yield b"ab"
        is_sent.set()

    results = client.stream(audio())
    assert is_sent.wait(WAIT_S)
    seqs = [result.seq for result in results if isinstance(result, Partial)]
    assert seqs == list(range(1, 501))


def test_close_cancels_the_call_and_ends_the_iteration(client, echo):
    stop = threading.Event()
    with client.stream(endless(stop)) as results:
        next(results)
    assert echo.service.is_over.wait(WAIT_S)
    assert echo.service.was_cancelled
    assert list(results) == []
    results.close()
    stop.set()


def test_close_from_another_thread_wakes_the_reader(client, echo):
    stop = threading.Event()
    results = client.stream(endless(stop))
    seen: list[object] = []
    reader = threading.Thread(target=lambda: seen.extend(results))
    reader.start()
    assert echo.service.is_received.wait(WAIT_S)
    results.close()
    reader.join(WAIT_S)
    assert not reader.is_alive()
    stop.set()


def test_a_dropped_stream_is_cancelled(client, echo):
    stop = threading.Event()
    for _ in client.stream(endless(stop)):
        break
    gc.collect()
    assert echo.service.is_over.wait(WAIT_S)
    assert echo.service.was_cancelled
    stop.set()


def test_no_thread_is_left_behind(client, echo):
    before = set(threading.enumerate())
    stop = threading.Event()
    with client.stream(endless(stop)) as results:
        next(results)
    stop.set()
    assert texts(client.stream([b"ab"])) == ["2 bytes"]
    for thread in set(threading.enumerate()) - before:
        if not thread.name.startswith("ThreadPoolExecutor"):  # the double's own
            thread.join(WAIT_S)
            assert not thread.is_alive(), thread


def test_nothing_is_no_audio(client):
    with pytest.raises(TypeError, match="NoneType"):
        list(client.stream([b"ab", None, b"cd"]))


def test_an_error_of_the_audio_is_raised_though_the_connection_broke_meanwhile(client):
    fails = threading.Event()

    def failing() -> Iterator[bytes]:
        fails.wait(WAIT_S)
        raise OSError("microphone unplugged")
        yield

    feed = BlockingFeed(failing(), UnbrokenStream(pb.StreamingConfig(), Reconnect()))
    cancelled = []
    first = feed.requests(lambda: cancelled.append("first"))
    next(first)
    started = pb.StreamingRecognizeResponse(started=pb.StreamStarted(resume_token="t"))
    feed.receive(started, now=0.0)
    drawing = threading.Thread(target=lambda: list(first))
    drawing.start()
    broken = SirenError(grpc.StatusCode.UNAVAILABLE, "the connection broke")
    feed.fail(broken, now=1.0, jitter=0.0)
    second = feed.requests(lambda: cancelled.append("second"))
    assert next(second).resume.token == "t"
    feed.receive(started, now=2.0)
    fails.set()
    drawing.join(WAIT_S)
    assert list(second) == []
    assert isinstance(feed.error, OSError)
    assert "second" in cancelled


@pytest.mark.parametrize("error", [OSError("microphone unplugged"), KeyboardInterrupt()])
def test_an_error_of_the_audio_cancels_the_call_and_is_raised(client, echo, caplog, error):
    def audio():
        yield b"ab"
        assert echo.service.is_received.wait(WAIT_S)
        raise error

    results = client.stream(audio())
    with pytest.raises(type(error)) as caught:
        list(results)
    assert caught.value is error
    assert echo.service.is_over.wait(WAIT_S)
    assert echo.service.was_cancelled
    assert caplog.records == []


def test_an_error_before_any_audio_is_raised(client):
    def audio():
        raise OSError("no microphone")
        yield b""

    with pytest.raises(OSError, match="no microphone"):
        list(client.stream(audio()))


def test_an_item_that_is_no_audio_is_raised(client):
    with pytest.raises(TypeError, match="str"):
        list(client.stream([b"ab", "cd"]))


@pytest.mark.parametrize("audio", [b"abcd", "abcd", bytearray(2)])
def test_bytes_are_no_stream(client, audio):
    with pytest.raises(TypeError, match="recognize"):
        client.stream(audio)


def test_an_option_that_cannot_be_sent_is_raised_at_once(client):
    with pytest.raises(ValueError, match="aac"):
        client.stream([], encoding="aac")


def test_results_before_an_error_of_the_server_come_first(client):
    stop = threading.Event()

    def audio():
        yield b"ab"
        yield Control.FINALIZE
        stop.wait(WAIT_S)

    seen = []
    with pytest.raises(SirenError) as caught:
        collect(client.stream(audio(), model="fail"), into=seen)
    assert texts(seen) == ["2 bytes"]
    assert caught.value.reason is Reason.OVERLOADED
    assert caught.value.status is grpc.StatusCode.RESOURCE_EXHAUSTED
    assert caught.value.retry_after_s == 2.5
    stop.set()


def test_a_flood_of_results_before_an_error_comes_whole(client):
    seen = []
    with pytest.raises(SirenError, match="no session is free"):
        collect(client.stream([], model="flood"), into=seen)
    assert texts(seen) == [f"{number} bytes" for number in range(1000)]


def test_a_timeout_is_a_siren_error(client):
    stop = threading.Event()
    with pytest.raises(SirenError) as caught:
        list(client.stream(endless(stop), timeout_s=0.2))
    assert caught.value.status is grpc.StatusCode.DEADLINE_EXCEEDED
    stop.set()


def test_a_timeout_ends_a_stream_whose_server_is_gone(client, echo):
    stop = threading.Event()
    results = client.stream(endless(stop), timeout_s=1.0)
    next(results)
    echo.stop()
    with pytest.raises(SirenError) as caught:
        list(results)
    assert caught.value.status is grpc.StatusCode.DEADLINE_EXCEEDED
    stop.set()


def test_a_stream_without_a_token_for_its_next_call_ends_with_that(echo):
    tokens = iter(["first"])
    stop = threading.Event()
    with SirenClient(echo.target, token=lambda: next(tokens)) as client:
        results = client.stream(endless(stop))
        next(results)
        echo.stop()
        with pytest.raises(SirenError) as caught:
            list(results)
        assert caught.value.reason is Reason.AUTH_FAILED
        assert isinstance(caught.value.__cause__, StopIteration)
        assert list(results) == []
    stop.set()


def test_closing_the_client_cancels_its_streams(echo):
    stop = threading.Event()
    client = SirenClient(echo.target)
    results = client.stream(endless(stop))
    next(results)
    client.close()
    with pytest.raises(SirenError) as caught:
        list(results)
    assert caught.value.status is grpc.StatusCode.CANCELLED
    stop.set()


def test_recognize(client, echo):
    recognition = client.recognize(bytearray(b"abcd"), chunk_frames=2)
    assert recognition.text == "4 bytes"
    assert recognition.started.chunk_frames == 2
    assert echo.service.recognized == pb.RecognizeRequest(
        config=pb.StreamingConfig(chunk_frames=2), audio=b"abcd"
    )


@pytest.mark.parametrize("audio", ["talk.wav", [b"ab"]])
def test_a_recording_that_is_not_bytes_is_refused_with_what_to_write(client, audio):
    with pytest.raises(TypeError, match="read_bytes"):
        client.recognize(audio)


def test_recognize_raises_the_servers_error(client):
    with pytest.raises(SirenError, match="OVERLOADED: no session is free"):
        client.recognize(b"ab", model="fail")


def test_list_models(client):
    (model,) = client.list_models()
    assert (model.id, model.is_default) == ("echo", True)


def test_token_and_metadata_travel_with_every_call(echo):
    with SirenClient(echo.target, token="secret", metadata=[("x-tag", "7")]) as client:
        client.list_models()
        assert echo.service.metadata["authorization"] == "Bearer secret"
        echo.service.metadata = {}
        list(client.stream([]))
    assert echo.service.metadata["authorization"] == "Bearer secret"
    assert echo.service.metadata["x-tag"] == "7"


def test_health(client, echo):
    assert client.health() is ServingStatus.SERVING
    echo.health.set("siren.v1.SpeechService", health_pb2.HealthCheckResponse.NOT_SERVING)
    assert client.health("siren.v1.SpeechService") is ServingStatus.NOT_SERVING
    assert client.health("other.Service") is ServingStatus.SERVICE_UNKNOWN


def test_no_server_is_unavailable():
    with SirenClient("127.0.0.1:1") as client:
        with pytest.raises(SirenError) as caught:
            client.health()
        assert caught.value.status is grpc.StatusCode.UNAVAILABLE
        with pytest.raises(SirenError):
            list(client.stream([b"ab"]))

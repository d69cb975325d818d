"""The contract's error table over the wire: status, reason, message, details."""

from __future__ import annotations

import threading
from collections.abc import Callable, Iterable, Iterator

import grpc
import numpy as np
import pytest
from siren.v1 import speech_pb2 as pb

from siren_client import AsyncSirenClient, SirenError
from tests.support.audio import spoken_digits
from tests.support.server import SirenServer, serving
from tests.support.wire import END, FINALIZE, Exchange, Wire, audio, config, failure

pytestmark = pytest.mark.e2e

EMPTY = pb.StreamingRecognizeRequest()
UNKNOWN_ACTION = pb.StreamingRecognizeRequest(control=pb.Control())
NAN = np.array([0.1, np.nan], "<f4").tobytes()

INVALID = grpc.StatusCode.INVALID_ARGUMENT


@pytest.mark.parametrize(
    ("requests", "reason", "code", "says"),
    [
        pytest.param([], "INVALID_MESSAGE", INVALID, "without a config", id="nothing at all"),
        pytest.param(
            [audio(b"")], "INVALID_MESSAGE", INVALID, "must be a config", id="audio first"
        ),
        pytest.param(
            [FINALIZE], "INVALID_MESSAGE", INVALID, "must be a config", id="control first"
        ),
        pytest.param([EMPTY], "INVALID_MESSAGE", INVALID, "must be a config", id="empty first"),
        pytest.param(
            [config(), config()], "INVALID_MESSAGE", INVALID, "second config", id="second config"
        ),
        pytest.param(
            [config(), EMPTY], "INVALID_MESSAGE", INVALID, "set one of them", id="empty oneof"
        ),
        pytest.param(
            [config(), UNKNOWN_ACTION],
            "INVALID_MESSAGE",
            INVALID,
            "ACTION_FINALIZE",
            id="no action",
        ),
        pytest.param(
            [config(), END, audio(bytes(2))],
            "INVALID_MESSAGE",
            INVALID,
            "after ACTION_END",
            id="audio after END",
        ),
        pytest.param(
            [config(), audio(bytes(2), 5), audio(bytes(2), 5)],
            "INVALID_MESSAGE",
            INVALID,
            "5 after 5",
            id="seq repeated",
        ),
        pytest.param(
            [config(), audio(bytes(2), 5), audio(bytes(2), 4)],
            "INVALID_MESSAGE",
            INVALID,
            "4 after 5",
            id="seq backwards",
        ),
        pytest.param(
            [config(sample_rate_hertz=7999)], "INVALID_CONFIG", INVALID, "8000 to 48000", id="rate"
        ),
        pytest.param(
            [config(sample_rate_hertz=-1)],
            "INVALID_CONFIG",
            INVALID,
            "8000 to 48000",
            id="rate < 0",
        ),
        pytest.param(
            [config(chunk_frames=3)], "INVALID_CONFIG", INVALID, "use 2, 7, 14", id="look-ahead"
        ),
        pytest.param([config(encoding=99)], "INVALID_CONFIG", INVALID, "LINEAR16", id="encoding"),
        pytest.param([config(decoder=99)], "INVALID_CONFIG", INVALID, "DECODER_RNNT", id="decoder"),
        pytest.param(
            [config(language_code="xx")], "INVALID_CONFIG", INVALID, "use en", id="language"
        ),
        pytest.param(
            [config(model="nobody/nothing")],
            "MODEL_NOT_FOUND",
            grpc.StatusCode.NOT_FOUND,
            "siren-mini-en",
            id="model",
        ),
        pytest.param(
            [config(), audio(bytes(3))],
            "INVALID_AUDIO",
            INVALID,
            "within a sample",
            id="half sample",
        ),
        pytest.param(
            [config(encoding=pb.AUDIO_ENCODING_FLOAT32), audio(NAN)],
            "INVALID_AUDIO",
            INVALID,
            "NaN or infinity",
            id="NaN",
        ),
    ],
)
def test_bad_streams_are_told_what_was_wrong(
    wire: Wire,
    requests: list[pb.StreamingRecognizeRequest],
    reason: str,
    code: grpc.StatusCode,
    says: str,
) -> None:
    error = failure(wire.exchange(requests).error)
    assert (error.reason, error.domain, error.code) == (reason, "siren", code)
    assert says in error.message


def test_invalid_fields_are_listed(wire: Wire) -> None:
    error = failure(wire.exchange([config(chunk_frames=3)]).error)
    assert error.fields == ("config.chunk_frames",)
    several = {"request_id": " ", "sample_rate_hertz": 1, "chunk_frames": 3, "language_code": "xx"}
    fields = tuple(f"config.{field}" for field in several)
    streamed = failure(wire.exchange([config(**several)]).error)
    assert (streamed.reason, streamed.fields) == ("INVALID_CONFIG", fields)
    assert all(f"{field}: " in streamed.message for field in fields)
    with pytest.raises(grpc.RpcError) as caught:
        wire.stub.Recognize(pb.RecognizeRequest(config=pb.StreamingConfig(**several)), timeout=60)  # type: ignore[arg-type]
    assert failure(caught.value).fields == fields


def test_invalid_fields_of_an_update_are_listed(wire: Wire) -> None:
    rules = pb.EndpointingConfig(min_silence_ms=1, no_speech_ms=1)
    update = pb.ConfigUpdate(endpointing=rules, partial_interval_ms=-1)
    requests = [config(), pb.StreamingRecognizeRequest(update=update)]
    error = failure(wire.exchange(requests).error)
    assert error.fields == (
        "update.endpointing.min_silence_ms",
        "update.endpointing.no_speech_ms",
        "update.partial_interval_ms",
    )


def test_so_many_invalid_fields_that_no_status_holds_them_are_told_by_their_number(
    wire: Wire,
) -> None:
    phrases = [pb.Phrase(text="\U0001f3a4" * 201, boost=99)] * 1000
    masked = ["\U0001f3a4 \U0001f3a4" * 30] * 1000
    asked = config(
        language_code="\U0001f3a4" * 300,
        biasing=pb.BiasingConfig(phrases=phrases),
        text=pb.TextOptions(masked_words=masked),
    )
    error = failure(wire.exchange([asked]).error)
    assert error.reason == "INVALID_CONFIG"
    assert error.fields[0] == "config.language_code"
    assert error.message.endswith("(and 3000 more invalid fields)")


def test_a_known_language_with_another_region_is_taken(wire: Wire) -> None:
    exchange = wire.exchange([config(language_code="en-US")])
    assert exchange.error is None
    assert exchange.of("started")[0].language_code == "en"


def test_finals_already_earned_come_before_the_error(wire: Wire) -> None:
    recording = spoken_digits()[0]
    hertz = recording.sample_rate_hertz
    alone = wire.recognise(recording.pcm, sample_rate_hertz=hertz).text
    exchange = wire.exchange(
        [config(sample_rate_hertz=hertz), audio(recording.pcm), FINALIZE, config()]
    )
    assert exchange.finals == [alone]
    assert failure(exchange.error).reason == "INVALID_MESSAGE"


def test_recognize_reports_the_same_errors(wire: Wire) -> None:
    for request, reason in (
        (pb.RecognizeRequest(audio=b"123"), "INVALID_AUDIO"),
        (pb.RecognizeRequest(config=pb.StreamingConfig(model="no")), "MODEL_NOT_FOUND"),
        (pb.RecognizeRequest(config=pb.StreamingConfig(chunk_frames=1)), "INVALID_CONFIG"),
    ):
        with pytest.raises(grpc.RpcError) as caught:
            wire.stub.Recognize(request, timeout=60)
        assert failure(caught.value).reason == reason


def test_other_streams_carry_on_beside_a_bad_one(wire: Wire) -> None:
    recording = spoken_digits()[0]
    hertz = recording.sample_rate_hertz

    def requests() -> Iterator[pb.StreamingRecognizeRequest]:
        yield config(sample_rate_hertz=hertz)
        half = len(recording.pcm) // 4 * 2
        yield audio(recording.pcm[:half])
        assert failure(wire.exchange([config(), EMPTY]).error).reason == "INVALID_MESSAGE"
        yield audio(recording.pcm[half:])

    alone = wire.recognise(recording.pcm, sample_rate_hertz=hertz).text
    assert wire.exchange(requests()).text == alone


def exchange_when_free(
    wire: Wire, make_requests: Callable[[], Iterable[pb.StreamingRecognizeRequest]]
) -> Exchange:
    """Run a stream once the server's only slot is free: the last one's end is still on its way."""
    for _ in range(1000):
        exchange = wire.exchange(make_requests())
        if exchange.error is None or failure(exchange.error).reason != "OVERLOADED":
            return exchange
    raise AssertionError("the slot never came free")


class TestLimits:
    """A server with tight limits, and what its clients are told."""

    @pytest.fixture(scope="class")
    @classmethod
    def tight(cls) -> Iterator[Wire]:
        with serving(
            "--max-sessions=1", "--idle-timeout-s=0.5", "--max-session-s=1.5", "--preview-ms=0"
        ) as server:
            wire = Wire(server.target)
            yield wire
            wire.close()

    def test_one_stream_too_many_is_refused_and_may_retry(self, tight: Wire) -> None:
        inner = []

        def requests() -> Iterator[pb.StreamingRecognizeRequest]:
            yield config()
            inner.append(tight.exchange([config()]))

        assert exchange_when_free(tight, requests).finals == [""]
        error = failure(inner[-1].error)  # of the attempt at which the other one had the slot
        assert error.reason == "OVERLOADED"
        assert error.code is grpc.StatusCode.RESOURCE_EXHAUSTED
        assert error.retry_after_s is not None
        assert "all 1 sessions" in error.message

    def test_a_vanished_client_frees_its_slot(self, tight: Wire) -> None:
        release = threading.Event()

        def requests() -> Iterator[pb.StreamingRecognizeRequest]:
            yield config()
            release.wait(60)

        for _ in range(1000):
            call = tight.stub.StreamingRecognize(requests())
            try:
                first = next(call)
            except grpc.RpcError:  # the slot of the test before is not free yet
                continue
            break
        assert first.WhichOneof("response") == "started"
        call.cancel()
        release.set()
        # The cancellation and the next stream race on their way; the slot must come free.
        assert exchange_when_free(tight, lambda: [config()]).error is None

    def test_too_much_audio_gets_its_final_first(self, tight: Wire) -> None:
        exchange = exchange_when_free(tight, lambda: [config(), audio(bytes(32000 * 3))])
        assert exchange.finals == [""]
        assert exchange.of("final")[0].end_time.ToMilliseconds() == 1500
        error = failure(exchange.error)
        assert (error.reason, error.code) == ("SESSION_TOO_LONG", grpc.StatusCode.OUT_OF_RANGE)
        assert "1.5 s" in error.message

    def test_a_client_that_sends_nothing_is_let_go(self, tight: Wire) -> None:
        release = threading.Event()

        def requests() -> Iterator[pb.StreamingRecognizeRequest]:
            yield config()
            release.wait(60)

        try:
            error = failure(exchange_when_free(tight, requests).error)
        finally:
            release.set()
        assert (error.reason, error.code) == ("IDLE_TIMEOUT", grpc.StatusCode.DEADLINE_EXCEEDED)
        assert "0.5 s" in error.message


async def test_the_asyncio_client_tells_why_it_was_refused(running_server: SirenServer) -> None:
    """grpc.aio would say INTERNAL for a write that was under way: one refusal in ten."""
    reasons = set()
    async with AsyncSirenClient(running_server.target) as client:
        for _ in range(40):
            sound = (bytes(3200) for _ in range(200))
            with pytest.raises(SirenError) as caught:
                async for _ in client.stream(sound, chunk_frames=3, reconnect=None):
                    pass
            reasons.add(caught.value.reason)
    assert reasons == {"INVALID_CONFIG"}

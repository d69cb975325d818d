"""Each channel its own transcript, in one stream: what is promised holds for each."""

from __future__ import annotations

import random

import numpy as np
import pytest
from siren.v1 import speech_pb2 as pb

from tests.support.audio import Recording, spoken_digits
from tests.support.encode import encode
from tests.support.server import serving
from tests.support.wire import END, FINALIZE, RESET, Exchange, Wire, audio, config, cut, failure

pytestmark = pytest.mark.e2e

SPOKEN = [r for r in spoken_digits() if r.sample_rate_hertz == 16000]
VOICES: list[Recording] = SPOKEN[:2]
N_SAMPLES = max(len(r.samples) for r in VOICES)
SEPARATE = {"channel_mode": pb.CHANNEL_MODE_SEPARATE, "channel_count": 2}


def together() -> np.ndarray:
    """[n_samples, 2]: a voice on each channel, the shorter one followed by silence."""
    stereo = np.zeros((N_SAMPLES, 2), np.int16)
    for channel, recording in enumerate(VOICES):
        stereo[: len(recording.samples), channel] = recording.samples
    return stereo


STEREO = together()


def of_channel(exchange: Exchange, kind: str, channel: int) -> list:
    return [message for message in exchange.of(kind) if message.channel == channel]


def alone(wire: Wire, channel: int) -> Exchange:
    return wire.recognise(STEREO[:, channel].tobytes())


def assert_promises(exchange: Exchange, channel: int) -> None:
    stable, seq = "", 0
    for response in exchange.responses[1:]:
        kind = response.WhichOneof("response")
        message = getattr(response, kind)
        if kind == "event" or message.channel != channel:
            continue
        assert message.text.startswith(stable)
        assert message.seq >= seq
        seq = message.seq
        stable = message.text[: message.stable_len] if kind == "partial" else ""


@pytest.mark.parametrize("kind", ["LINEAR16", "FLAC"])
def test_each_channel_is_heard_as_it_is_alone(wire: Wire, kind: str) -> None:
    data = STEREO.tobytes() if kind == "LINEAR16" else encode("FLAC", STEREO, 16000)
    draw = random.Random(5)
    messages = list(cut(data, [int(10 ** draw.uniform(2, 3.5)) for _ in range(3000)]))
    exchange = wire.recognise(
        data, messages, encoding=pb.AudioEncoding.Value(f"AUDIO_ENCODING_{kind}"), **SEPARATE
    )
    assert exchange.error is None
    (started,) = exchange.of("started")
    assert (started.channel_count, started.channel_mode) == (2, pb.CHANNEL_MODE_SEPARATE)
    for channel, recording in enumerate(VOICES):
        (final,) = of_channel(exchange, "final", channel)
        (same,) = alone(wire, channel).of("final")
        assert final.text == same.text == recording.reference
        assert (final.end_time, final.seq) == (same.end_time, len(messages))
        assert of_channel(exchange, "partial", channel)
        assert len(of_channel(exchange, "event", channel)) == 2
        assert_promises(exchange, channel)


def test_controls_act_on_every_channel(wire: Wire) -> None:
    data = STEREO.tobytes()
    exchange = wire.exchange(
        [
            config(**SEPARATE),
            audio(data, 1),
            FINALIZE,
            audio(data[: len(data) // 8 * 4], 2),
            RESET,
            audio(data, 3),
            END,
        ]
    )
    assert exchange.error is None
    for channel, recording in enumerate(VOICES):
        finals = of_channel(exchange, "final", channel)
        assert [final.text for final in finals] == [recording.reference] * 2
        assert [final.seq for final in finals] == [1, 3]


@pytest.mark.parametrize("state", ["STATE_SOFT", "STATE_HARD"])
def test_endpoints_are_each_channels_own(wire: Wire, state: str) -> None:
    """One voice after the other, each on its channel: each ends by its own silence."""
    pause = np.zeros(24_000, np.int16)
    first, second = (r.samples for r in VOICES)
    gap = [np.zeros(len(first), np.int16), np.zeros(len(second), np.int16)]
    left = np.concatenate([first, pause, gap[1], pause])
    right = np.concatenate([gap[0], pause, second, pause])
    data = np.stack([left, right], axis=1).tobytes()
    rules = pb.EndpointingConfig(
        detector=pb.EndpointingConfig.DETECTOR_DECODER,
        min_silence_ms=600,
        state=pb.EndpointingConfig.State.Value(state),
    )
    messages = [data[i : i + 6400] for i in range(0, len(data), 6400)]
    exchange = wire.recognise(data, messages, endpointing=rules, **SEPARATE)
    assert exchange.error is None
    for channel, recording in enumerate(VOICES):
        said = [final for final in of_channel(exchange, "final", channel) if final.text]
        assert " ".join(final.text for final in said) == recording.reference
        assert said[-1].cause == pb.FinalResult.CAUSE_SILENCE
        assert_promises(exchange, channel)
    ends = [f.end_time.ToMilliseconds() for f in exchange.of("final") if f.text]
    assert ends == sorted(ends)


def test_an_update_is_acknowledged_once(wire: Wire) -> None:
    update = pb.StreamingRecognizeRequest(update=pb.ConfigUpdate(partial_interval_ms=200))
    exchange = wire.exchange([config(**SEPARATE), update, audio(STEREO.tobytes())])
    assert exchange.error is None
    assert len(exchange.of("updated")) == 1
    assert sorted(exchange.finals) == sorted(r.reference for r in VOICES)


def test_recognize_gives_each_channel(wire: Wire) -> None:
    request = pb.RecognizeRequest(config=pb.StreamingConfig(**SEPARATE), audio=STEREO.tobytes())
    response = wire.stub.Recognize(request, timeout=60)
    said = {result.channel: result.text for result in response.results}
    assert said == {channel: r.reference for channel, r in enumerate(VOICES)}


def test_audio_that_breaks_ends_every_channel_with_its_final(wire: Wire) -> None:
    data = encode("FLAC", STEREO, 16000)
    exchange = wire.recognise(data[: len(data) // 2], encoding=pb.AUDIO_ENCODING_AUTO, **SEPARATE)
    assert failure(exchange.error).reason == "INVALID_AUDIO"
    assert [len(of_channel(exchange, "final", channel)) for channel in (0, 1)] == [1, 1]


def test_a_file_with_other_channels_is_refused(wire: Wire) -> None:
    data = encode("FLAC", VOICES[0].samples, 16000)
    error = failure(wire.recognise(data, encoding=pb.AUDIO_ENCODING_FLAC, **SEPARATE).error)
    assert error.reason == "INVALID_AUDIO"
    assert "channel_count is 2, but the audio is FLAC of 16000 Hz and 1 channel" in error.message


def test_the_number_of_channels_must_be_said(wire: Wire) -> None:
    error = failure(wire.exchange([config(channel_mode=pb.CHANNEL_MODE_SEPARATE)]).error)
    assert (error.reason, error.fields) == ("INVALID_CONFIG", ("config.channel_count",))


def test_all_channels_get_a_session_or_none_does() -> None:
    with serving("--max-sessions", "3") as server:
        wire = Wire(server.target)
        error = failure(wire.exchange([config(channel_mode=3, channel_count=4)]).error)
        assert error.reason == "OVERLOADED"
        data = np.repeat(VOICES[0].samples, 3).astype("<i2").tobytes()
        for _ in range(2):  # none of the sessions above, nor of the first stream, is still taken
            exchange = wire.recognise(data, channel_mode=3, channel_count=3)
            assert exchange.finals == [VOICES[0].reference] * 3
            assert sorted(final.channel for final in exchange.of("final")) == [0, 1, 2]
        wire.close()

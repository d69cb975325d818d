from __future__ import annotations

import pytest
from google.protobuf.duration_pb2 import Duration
from siren.v1 import speech_pb2 as pb

from siren_grpc.audio.decode import Encoding
from siren_grpc.domain.endpointing import FinalCause
from siren_grpc.domain.errors import InvalidConfig
from siren_grpc.domain.types import (
    DecoderKind,
    Final,
    Lane,
    Partial,
    SpeechEvent,
    SpeechEventKind,
)
from siren_grpc.server import convert
from tests.support.builders import make_info

INFO = make_info()


def test_an_empty_config_takes_every_default() -> None:
    config = convert.to_config(pb.StreamingConfig(), INFO)
    assert config.encoding is Encoding.LINEAR16
    assert config.sample_rate_hertz == 16000
    assert config.language_code == "en"
    assert config.lane == Lane(7, DecoderKind.RNNT, "test-model")


@pytest.mark.parametrize("name", ["LINEAR16", "FLOAT32", "MULAW", "ALAW"])
def test_encodings(name: str) -> None:
    number = pb.AudioEncoding.Value(f"AUDIO_ENCODING_{name}")
    config = convert.to_config(pb.StreamingConfig(encoding=number), INFO)
    assert config.encoding.value == name
    assert convert.to_started("id", INFO, config).encoding == number


@pytest.mark.parametrize(
    ("fields", "field", "says"),
    [
        ({"encoding": 9}, "encoding", "AUDIO_ENCODING_LINEAR16, AUDIO_ENCODING_FLOAT32"),
        ({"sample_rate_hertz": 7999}, "sample_rate_hertz", "8000 to 48000"),
        ({"sample_rate_hertz": 48001}, "sample_rate_hertz", "8000 to 48000"),
        ({"sample_rate_hertz": -8000}, "sample_rate_hertz", "8000 to 48000"),
        ({"chunk_frames": 1}, "chunk_frames", "use 2, 7, or 0 for 7"),
        ({"chunk_frames": -2}, "chunk_frames", "use 2, 7"),
        ({"decoder": 9}, "decoder", "has no 9; use DECODER_RNNT, DECODER_CTC"),
        ({"language_code": "fr"}, "language_code", "use en, de-DE"),
        ({"language_code": "de"}, "language_code", "use en, de-DE"),
    ],
)
def test_a_bad_field_is_named_with_what_would_be_right(fields: dict, field: str, says: str) -> None:
    with pytest.raises(InvalidConfig) as caught:
        convert.to_config(pb.StreamingConfig(**fields), INFO)
    assert says in caught.value.message
    assert [v.field for v in caught.value.violations] == [f"config.{field}"]


def test_a_decoder_the_model_lacks_is_refused() -> None:
    info = make_info(decoders=(DecoderKind.CTC,))
    with pytest.raises(InvalidConfig, match="has no DECODER_RNNT; use DECODER_CTC"):
        convert.to_config(pb.StreamingConfig(decoder=pb.DECODER_RNNT), info)
    assert convert.to_config(pb.StreamingConfig(), info).lane.decoder is DecoderKind.CTC


@pytest.mark.parametrize(
    ("asked", "chosen"),
    [("en", "en"), ("en-US", "en"), ("EN-gb", "en"), ("de-de", "de-DE"), ("de-DE-1996", "de-DE")],
)
def test_languages_match_by_dropping_subtags(asked: str, chosen: str) -> None:
    config = convert.to_config(pb.StreamingConfig(language_code=asked), INFO)
    assert config.language_code == chosen


@pytest.mark.parametrize(
    ("n_samples", "seconds", "nanos"),
    [(0, 0, 0), (16000, 1, 0), (8001, 0, 500_062_500), (1, 0, 62_500)],
)
def test_durations(n_samples: int, seconds: int, nanos: int) -> None:
    duration = convert.to_duration(n_samples, 16000)
    assert (duration.seconds, duration.nanos) == (seconds, nanos)


def test_results_become_messages() -> None:
    reception = convert.Reception(16000, received_samples=40000, now=7.5)
    partial = convert.to_response(Partial("seven up", 5, 9, 16000), reception).partial
    assert (partial.text, partial.stable_len, partial.seq) == ("seven up", 5, 9)
    assert partial.audio_processed.seconds == 1
    assert partial.audio_received == Duration(seconds=2, nanos=500_000_000)
    settled = Final("seven", 9, 16000, 32000, FinalCause.SILENCE, heard_at=7.375)
    final = convert.to_response(settled, reception).final
    assert (final.text, final.start_time.seconds, final.end_time.seconds) == ("seven", 1, 2)
    assert final.audio_received == Duration(seconds=2, nanos=500_000_000)
    assert final.delay == Duration(nanos=125_000_000)
    assert final.cause == pb.FinalResult.CAUSE_SILENCE
    event = SpeechEvent(SpeechEventKind.SPEECH_ENDED, 8000)
    message = convert.to_response(event, reception).event
    assert message.type == pb.SpeechEvent.TYPE_SPEECH_ENDED
    assert message.time.nanos == 500_000_000


def test_a_model_is_described() -> None:
    model = convert.to_model(INFO, is_default=True)
    assert [(a.chunk_frames, a.latency_ms, a.is_default) for a in model.look_aheads] == [
        (2, 160, False),
        (7, 560, True),
    ]
    assert list(model.decoders) == [pb.DECODER_RNNT, pb.DECODER_CTC]
    assert model.is_default
    assert list(model.language_codes) == ["en", "de-DE"]

from __future__ import annotations

import pytest
from google.protobuf.duration_pb2 import Duration
from siren.v1 import speech_pb2 as pb

from siren_grpc.audio.decode import Encoding
from siren_grpc.domain.endpointing import FinalCause
from siren_grpc.domain.errors import InvalidConfig
from siren_grpc.domain.model import DecoderKind, Lane, ModelInfo, ModelOptions
from siren_grpc.domain.readings import Alternative
from siren_grpc.domain.results import (
    Final,
    OfChannel,
    Partial,
    SpeechEvent,
    SpeechEventKind,
    Word,
    WordDetail,
)
from siren_grpc.server import convert, itn
from siren_grpc.server.call_id import CallId
from siren_grpc.text.options import TextOptions
from tests.support.builders import make_info

INFO = make_info()


def test_an_empty_config_takes_every_default() -> None:
    config = convert.to_config(pb.StreamingConfig(), INFO)
    assert config.audio.encoding is Encoding.LINEAR16
    assert config.audio.sample_rate_hertz == 16000
    assert config.language_code == "en"
    assert config.lane == Lane(7, DecoderKind.RNNT, "test-model")


@pytest.mark.parametrize("name", ["LINEAR16", "FLOAT32", "MULAW", "ALAW"])
def test_encodings(name: str) -> None:
    number = pb.AudioEncoding.Value(f"AUDIO_ENCODING_{name}")
    config = convert.to_config(pb.StreamingConfig(encoding=number), INFO)
    assert config.audio.encoding.value == name
    assert convert.to_started(CallId(), INFO, config).encoding == number


@pytest.mark.parametrize(
    ("fields", "field", "says"),
    [
        ({"encoding": 99}, "encoding", "AUDIO_ENCODING_LINEAR16, AUDIO_ENCODING_FLOAT32"),
        ({"sample_rate_hertz": 7999}, "sample_rate_hertz", "8000 to 48000"),
        ({"sample_rate_hertz": 48001}, "sample_rate_hertz", "8000 to 48000"),
        ({"sample_rate_hertz": -8000}, "sample_rate_hertz", "8000 to 48000"),
        ({"chunk_frames": 1}, "chunk_frames", "use 2, 7, or 0 for 7"),
        ({"chunk_frames": -2}, "chunk_frames", "use 2, 7"),
        ({"decoder": 9}, "decoder", "has no 9; use DECODER_RNNT, DECODER_CTC"),
        ({"language_code": "fr"}, "language_code", "use en, de-DE"),
        ({"language_code": "de-AT"}, "language_code", "use en, de-DE"),
        ({"language_code": "d"}, "language_code", "use en, de-DE"),
        ({"language_code": "auto"}, "language_code", "use en, de-DE"),
    ],
)
def test_a_bad_field_is_named_with_what_would_be_right(fields: dict, field: str, says: str) -> None:
    with pytest.raises(InvalidConfig) as caught:
        convert.to_config(pb.StreamingConfig(**fields), INFO)
    assert says in caught.value.message
    assert [v.field for v in caught.value.violations] == [f"config.{field}"]


@pytest.mark.parametrize(
    ("asked", "chosen"),
    [
        ("", "auto"),
        ("AUTO", "auto"),
        ("en-US", "en-US"),
        ("en-AU", "en"),
        ("zh", "zh-CN"),
        ("zh-cn-pinyin", "zh-CN"),
    ],
)
def test_languages_are_matched(asked: str, chosen: str) -> None:
    info = make_info(language_codes=("auto", "en-US", "en", "zh-CN", "zh-TW"))
    config = convert.to_config(pb.StreamingConfig(language_code=asked), info)
    assert config.language_code == chosen
    assert config.model_options == ModelOptions(language_code=chosen)
    assert convert.to_started(CallId(), info, config).language_code == chosen


@pytest.mark.parametrize("asked", ["", "auto", "en", "de-AT", "zh-Hant-TW", "yue"])
def test_a_model_that_does_not_say_its_languages_takes_any_and_promises_none(asked: str) -> None:
    info = make_info(language_codes=("auto",))
    config = convert.to_config(pb.StreamingConfig(language_code=asked), info)
    assert config.language_code == "auto"
    assert convert.to_started(CallId(), info, config).language_code == "auto"


@pytest.mark.parametrize("asked", ["english!", "d", "e n", "de_AT", "en-"])
def test_what_is_no_language_code_is_refused_by_it_too(asked: str) -> None:
    with pytest.raises(InvalidConfig, match=r"does not recognise .* use auto, or leave it unset"):
        convert.to_config(
            pb.StreamingConfig(language_code=asked), make_info(language_codes=("auto",))
        )


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


RECEPTION = convert.Reception(16_000, received_samples=0, now=0.0)


@pytest.mark.parametrize("cause", FinalCause)
def test_each_cause_is_told_by_its_name(cause: FinalCause) -> None:
    final = convert.to_final(Final("", 0, 0, 0, cause), RECEPTION)
    assert pb.FinalResult.Cause.Name(final.cause) == f"CAUSE_{cause.name}"


@pytest.mark.parametrize("kind", SpeechEventKind)
def test_each_event_is_told_by_its_name(kind: SpeechEventKind) -> None:
    event = convert.to_response(SpeechEvent(kind, 0), RECEPTION).event
    assert pb.SpeechEvent.Type.Name(event.type) == f"TYPE_{kind.name}"
    assert not event.HasField("grace_left")


def test_an_event_tells_how_much_longer_the_stream_may_go_on() -> None:
    draining = SpeechEvent(SpeechEventKind.SERVER_DRAINING, 16_000, grace_s=0.0)
    event = convert.to_response(draining, RECEPTION).event
    assert event.HasField("grace_left")
    assert event.grace_left == Duration()


def test_results_tell_the_channel_they_are_of() -> None:
    for result in (
        Partial("", 0, 0, 0),
        Final("", 0, 0, 0),
        SpeechEvent(SpeechEventKind.SPEECH_ENDED, 0),
    ):
        response = convert.to_response(OfChannel(3, result), RECEPTION)
        kind = response.WhichOneof("response")
        assert kind is not None
        assert getattr(response, kind).channel == 3
        assert getattr(convert.to_response(result, RECEPTION), kind).channel == 0


def test_a_final_tells_where_to_resume_its_language_and_other_readings() -> None:
    final = Final(
        "seven",
        1,
        0,
        16_000,
        resume_samples=12_000,
        language_code="de-DE",
        alternatives=(Alternative("eleven", 0.25),),
    )
    message = convert.to_final(final, RECEPTION)
    assert message.resume_time.ToMilliseconds() == 750
    assert message.language_code == "de-DE"
    assert list(message.alternatives) == [pb.Alternative(text="eleven", probability=0.25)]
    assert not convert.to_final(Final("", 1, 0, 0), RECEPTION).HasField("resume_time")


def test_up_to_ten_alternatives_are_listed() -> None:
    for number in (0, 10):
        config = pb.StreamingConfig(max_alternatives=number)
        assert convert.to_config(config, INFO).alternatives == number
    for number in (-1, 11):
        with pytest.raises(InvalidConfig, match="to 10"):
            convert.to_config(pb.StreamingConfig(max_alternatives=number), INFO)


def test_a_model_is_described() -> None:
    model = convert.to_model(INFO, is_default=True)
    assert [(a.chunk_frames, a.latency_ms, a.is_default) for a in model.look_aheads] == [
        (2, 160, False),
        (7, 560, True),
    ]
    assert list(model.decoders) == [pb.DECODER_RNNT, pb.DECODER_CTC]
    assert model.is_default
    assert list(model.language_codes) == ["en", "de-DE"]
    assert (model.id, model.family) == ("test-model", "arithmetic")
    assert model.sample_rate_hertz == 16_000
    assert (list(model.aliases), list(model.biasing_decoders)) == ([], [])
    assert (model.has_end_token, model.has_vad) == (False, False)


def test_what_a_model_can_do_besides_is_told() -> None:
    info = make_info(
        end_tokens=frozenset({3}), hears_voice=True, biasing_decoders=(DecoderKind.CTC,)
    )
    model = convert.to_model(info, is_default=False, aliases=["fast"])
    assert not model.is_default
    assert list(model.aliases) == ["fast"]
    assert list(model.biasing_decoders) == [pb.DECODER_CTC]
    assert (model.has_end_token, model.has_vad) == (True, True)


def test_started_tells_what_was_chosen() -> None:
    call_id = CallId()
    call_id.take_request("order 7")
    asked = pb.StreamingConfig(
        decoder=pb.DECODER_CTC, chunk_frames=2, encoding=pb.AUDIO_ENCODING_MULAW
    )
    config = convert.to_config(asked, INFO)
    assert convert.to_started(call_id, INFO, config) == pb.StreamStarted(
        session_id=call_id.session,
        request_id="order 7",
        model="test-model",
        language_code="en",
        encoding=pb.AUDIO_ENCODING_MULAW,
        sample_rate_hertz=16_000,
        chunk_frames=2,
        latency_ms=160,
        decoder=pb.DECODER_CTC,
        channel_count=1,
        channel_mode=pb.CHANNEL_MODE_MIX,
    )


MASKS = frozenset({"damn"})


def test_text_options() -> None:
    text = pb.TextOptions(lower_case=True, masked_words=["Heck", "don't"], mask_profanity=True)
    config = convert.to_config(pb.StreamingConfig(text=text), INFO, server_masks=MASKS)
    assert config.text == TextOptions(
        is_lower_case=True, masked_words=frozenset({"Heck", "don't", "damn"})
    )


@pytest.mark.parametrize("language", ["en", "de-DE"])
def test_written_language(language: str, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(itn, "is_installed", lambda: True)
    text = pb.TextOptions(inverse_text_normalization=True)
    config = convert.to_config(pb.StreamingConfig(language_code=language, text=text), INFO)
    assert config.text.written_language == language[:2]


def test_under_auto_only_the_client_says_the_written_language(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr(itn, "is_installed", lambda: True)
    text = pb.TextOptions(inverse_text_normalization=True)
    unknown, several = (make_info(language_codes=codes) for codes in (("auto",), ("auto", "en")))
    asked = pb.StreamingConfig(language_code="en-US", text=text)
    assert convert.to_config(asked, unknown).text.written_language == "en"
    assert convert.to_config(asked, several).text.written_language == "en"
    for info in (unknown, several):
        with pytest.raises(InvalidConfig, match="there is none for auto"):
            convert.to_config(pb.StreamingConfig(text=text), info)
    assert not convert.to_config(pb.StreamingConfig(), unknown).text.written_language


@pytest.mark.parametrize(
    ("fields", "field", "says"),
    [
        ({"masked_words": ["a b"]}, "masked_words", "'a b' is not one word"),
        ({"masked_words": [""]}, "masked_words", "an empty word"),
        ({"masked_words": ["x" * 65]}, "masked_words", "64 is the most"),
        ({"masked_words": ["x"] * 1001}, "masked_words", "1000 is the most"),
        ({"mask_profanity": True}, "mask_profanity", "masked_words_file"),
        ({"inverse_text_normalization": True}, "inverse_text_normalization", "de, en, es, fr, pt"),
    ],
)
def test_text_options_that_cannot_be_had(
    fields: dict[str, object], field: str, says: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(itn, "is_installed", lambda: True)
    info = make_info(language_codes=("fi-FI",))
    config = pb.StreamingConfig(text=pb.TextOptions(**fields))  # type: ignore[arg-type]
    with pytest.raises(InvalidConfig, match=says) as caught:
        convert.to_config(config, info)
    assert [violation.field for violation in caught.value.violations] == [f"config.text.{field}"]


def test_a_server_without_grammars_says_how_to_get_them(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(itn, "is_installed", lambda: False)
    text = pb.TextOptions(inverse_text_normalization=True)
    with pytest.raises(InvalidConfig, match=r"pip install 'siren-grpc\[itn\]'"):
        convert.to_config(pb.StreamingConfig(text=text), INFO)
    with pytest.raises(ValueError, match=r"pip install 'siren-grpc\[itn\]'"):
        itn.check_languages(["en"])


def test_languages_to_load_at_start_are_checked(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(itn, "is_installed", lambda: True)
    itn.check_languages(["en", "de"])
    with pytest.raises(ValueError, match="no fi; use de, en, es, fr, pt"):
        itn.check_languages(["en", "fi"])


def test_a_final_written_otherwise_carries_what_was_spoken() -> None:
    final = Final("$25", 1, 0, 16000, spoken_text="twenty five dollars")
    message = convert.to_response(final, convert.Reception(16000, 0, 0.0)).final
    assert (message.text, message.spoken_text) == ("$25", "twenty five dollars")


@pytest.mark.parametrize(
    ("fields", "detail"),
    [
        ({}, WordDetail.NONE),
        ({"words": True}, WordDetail.FINALS),
        ({"words": True, "partial_words": True}, WordDetail.PARTIALS),
        ({"partial_words": True}, WordDetail.PARTIALS),
    ],
)
def test_words_are_listed_where_they_are_asked_for(fields: dict, detail: WordDetail) -> None:
    assert convert.to_config(pb.StreamingConfig(**fields), INFO).words is detail


def test_words_carry_their_times_and_what_is_known_of_their_confidence() -> None:
    words = (Word("seven", 16_000, 17_280, 0.75), Word("up", 17_280, 18_560, None, is_stable=False))
    reception = convert.Reception(16_000, 20_000, 0.0)
    final = convert.to_final(
        Final("seven up", 1, 0, 20_000, words=words, confidence=0.5), reception
    )
    seven, up = final.words
    assert (seven.text, seven.confidence, seven.is_stable) == ("seven", 0.75, True)
    assert seven.start_time == Duration(seconds=1)
    assert seven.end_time == up.start_time == Duration(seconds=1, nanos=80_000_000)
    assert (up.HasField("confidence"), up.is_stable) == (False, False)
    assert final.confidence == 0.5
    partial = convert.to_response(Partial("seven up", 5, 1, 20_000, words), reception).partial
    assert list(partial.words) == [seven, up]
    assert not convert.to_final(Final("", 1, 0, 0), reception).HasField("confidence")


@pytest.mark.parametrize(
    ("fields", "field", "says"),
    [
        ({"channel_count": 9}, "channel_count", "9 is out of range; use 0 to 8"),
        ({"channel_count": -1}, "channel_count", "use 0 to 8"),
        (
            {"channel_mode": 99},
            "channel_mode",
            "CHANNEL_MODE_MIX, CHANNEL_MODE_SELECT, CHANNEL_MODE_SEPARATE",
        ),
        ({"channel_count": 2, "channel": 1}, "channel", "CHANNEL_MODE_SELECT only"),
        ({"channel_count": 2, "channel_mode": 2, "channel": 2}, "channel", "use 0 to 1"),
        ({"channel_mode": 2, "channel": 1}, "channel", "use 0 to 0, or say channel_count"),
        ({"encoding": 5, "channel_mode": 2, "channel": 8}, "channel", "use 0 to 7"),
        ({"encoding": 7, "sample_rate_hertz": 96000}, "sample_rate_hertz", "what the audio says"),
        ({"channel_mode": pb.CHANNEL_MODE_SEPARATE}, "channel_count", "is needed for"),
    ],
)
def test_channels_are_checked(fields: dict, field: str, says: str) -> None:
    with pytest.raises(InvalidConfig) as caught:
        convert.to_config(pb.StreamingConfig(**fields), make_info())
    (violation,) = caught.value.violations
    assert violation.field == f"config.{field}"
    assert says in violation.description


def test_what_the_audio_is_to_say_is_started_as_unknown() -> None:
    flac = pb.StreamingConfig(encoding=pb.AUDIO_ENCODING_FLAC)
    raw = pb.StreamingConfig(channel_count=2, channel_mode=pb.CHANNEL_MODE_SELECT, channel=1)
    said = [
        convert.to_started(CallId(), INFO, convert.to_config(config, INFO))
        for config in (flac, raw)
    ]
    assert [(s.sample_rate_hertz, s.channel_count, s.channel_mode) for s in said] == [
        (0, 0, pb.CHANNEL_MODE_MIX),
        (16000, 2, pb.CHANNEL_MODE_SELECT),
    ]


Endpointing = pb.EndpointingConfig


def faults_of(info: ModelInfo = INFO, **fields: object) -> list[str]:
    """Return the fields that are told as invalid, without `config.`."""
    with pytest.raises(InvalidConfig) as caught:
        convert.to_config(pb.StreamingConfig(**fields), info)  # type: ignore[arg-type]
    for violation in caught.value.violations[:1]:
        assert f"{violation.field}: {violation.description}" in caught.value.message
    return [violation.field.removeprefix("config.") for violation in caught.value.violations]


def test_all_fields_that_are_bad_by_themselves_are_told_at_once(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr(itn, "is_installed", lambda: False)
    info = make_info(biasing_decoders=(DecoderKind.RNNT,), hears_voice=True)
    vad = Endpointing(
        detector="DETECTOR_VAD",
        state=9,  # type: ignore[arg-type]
        min_silence_ms=1,
        min_speech_ms=-1,
        speech_threshold=2,
        max_utterance_ms=1,
        no_speech_ms=1,
    )
    assert faults_of(
        info,
        encoding=99,
        sample_rate_hertz=1,
        channel_count=99,
        channel_mode=99,
        channel=-1,
        chunk_frames=99,
        decoder=99,
        language_code="fr",
        biasing=pb.BiasingConfig(
            boost=99, phrases=[pb.Phrase(text="a"), pb.Phrase(), pb.Phrase(text="b", boost=-1)]
        ),
        endpointing=vad,
        partial_interval_ms=-1,
        text=pb.TextOptions(
            masked_words=["a b", "c", ""], mask_profanity=True, inverse_text_normalization=True
        ),
        max_alternatives=99,
    ) == [
        *("encoding", "sample_rate_hertz", "channel_count", "channel_mode", "channel"),
        *("chunk_frames", "decoder", "language_code"),
        *("biasing.boost", "biasing.phrases[1].text", "biasing.phrases[2].boost"),
        *("endpointing.state", "endpointing.min_silence_ms", "endpointing.min_speech_ms"),
        *("endpointing.speech_threshold", "endpointing.max_utterance_ms"),
        *("endpointing.no_speech_ms", "partial_interval_ms"),
        *("text.masked_words", "text.masked_words", "text.mask_profanity"),
        *("text.inverse_text_normalization", "max_alternatives"),
    ]


PHRASES = pb.BiasingConfig(phrases=[pb.Phrase(text="a")])


@pytest.mark.parametrize(
    ("fields", "told"),
    [
        # Whether a decoder takes phrases, where it is no decoder; the phrases by themselves.
        ({"decoder": 9, "biasing": PHRASES}, ["decoder"]),
        (
            {"decoder": 9, "biasing": pb.BiasingConfig(phrases=[pb.Phrase()])},
            ["decoder", "biasing.phrases[0].text"],
        ),
        # Whether numbers can be written in a language, where it is none.
        (
            {"language_code": "fr", "text": pb.TextOptions(inverse_text_normalization=True)},
            ["language_code"],
        ),
        # How many channels there are when nothing says so, where the encoding would.
        ({"encoding": 99, "channel_mode": 2, "channel": 1}, ["encoding"]),
        ({"encoding": 99, "channel_mode": 2, "channel": 8}, ["encoding", "channel"]),
        ({"channel_count": 9, "channel_mode": 2, "channel": 3}, ["channel_count"]),
        # What a channel is for, where the mode would say it.
        ({"channel_mode": 9, "channel_count": 2, "channel": 1}, ["channel_mode"]),
        ({"channel_mode": 3, "channel": 1}, ["channel_count", "channel"]),
        # What a detector takes, where it is none.
        ({"endpointing": Endpointing(detector=9, min_speech_ms=5)}, ["endpointing.detector"]),  # type: ignore[arg-type]
        (
            {"endpointing": Endpointing(detector="DETECTOR_END_TOKEN", speech_threshold=0.5)},
            ["endpointing.detector"],
        ),
        (
            {"endpointing": Endpointing(speech_threshold=7, min_speech_ms=-1, min_silence_ms=1)},
            [
                "endpointing.min_silence_ms",
                "endpointing.min_speech_ms",
                "endpointing.speech_threshold",
            ],
        ),
    ],
)
def test_what_follows_from_another_bad_field_is_not_told_on_top(
    fields: dict, told: list[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(itn, "is_installed", lambda: True)
    assert faults_of(make_info(biasing_decoders=()), **fields) == told


def test_a_rate_beside_an_unknown_encoding_is_told_for_any() -> None:
    with pytest.raises(InvalidConfig) as caught:
        convert.to_config(pb.StreamingConfig(encoding=99, sample_rate_hertz=1), INFO)  # type: ignore[arg-type]
    assert caught.value.violations[1].description == "1 is out of range; use 8000 to 48000"


def test_of_many_bad_phrases_the_first_are_listed_and_the_others_counted() -> None:
    phrases = [pb.Phrase(text=" ", boost=99)] * 1000
    info = make_info(biasing_decoders=(DecoderKind.RNNT,))
    with pytest.raises(InvalidConfig) as caught:
        convert.to_config(
            pb.StreamingConfig(biasing=pb.BiasingConfig(phrases=phrases), max_alternatives=99), info
        )
    found = caught.value
    assert found.violations[0].field == "config.biasing.phrases[0].text"
    assert found.violations[1].field == "config.biasing.phrases[0].boost"
    assert len(found.violations) + found.n_unlisted == 2001
    assert found.message.endswith("(and 2000 more invalid fields)")

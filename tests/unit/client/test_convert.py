from __future__ import annotations

import pytest
from google.protobuf.duration_pb2 import Duration
from siren.v1 import speech_pb2 as pb

from siren_client import convert
from siren_client.types import (
    AudioEncoding,
    Control,
    Decoder,
    Final,
    LookAhead,
    Model,
    Partial,
    Recognition,
    SpeechEvent,
    SpeechEventType,
    Started,
    Word,
)


def test_no_options_make_an_empty_config():
    assert convert.to_config() == pb.StreamingConfig()


def test_every_option_reaches_its_field():
    config = convert.to_config(
        model="m",
        language_code="en-US",
        encoding="mulaw",
        sample_rate_hertz=8000,
        chunk_frames=2,
        decoder=Decoder.CTC,
        lower_case=True,
        inverse_text_normalization=True,
        mask=["damn"],
        mask_profanity=True,
        words=True,
        partial_words=True,
    )
    assert config == pb.StreamingConfig(
        text=pb.TextOptions(
            lower_case=True,
            inverse_text_normalization=True,
            masked_words=["damn"],
            mask_profanity=True,
        ),
        model="m",
        language_code="en-US",
        encoding=pb.AUDIO_ENCODING_MULAW,
        sample_rate_hertz=8000,
        chunk_frames=2,
        decoder=pb.DECODER_CTC,
        words=True,
        partial_words=True,
    )


def test_phrases_reach_the_config_with_their_boosts():
    config = convert.to_config(phrases=["siren", ("nine", 4.5)], phrase_boost=2.0)
    assert config.biasing == pb.BiasingConfig(
        phrases=[pb.Phrase(text="siren"), pb.Phrase(text="nine", boost=4.5)], boost=2.0
    )
    assert not convert.to_config(phrases=[]).HasField("biasing")


def test_a_single_string_is_no_list_of_phrases():
    with pytest.raises(TypeError, match="siren"):
        convert.to_config(phrases="siren")


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"encoding": "aac"}, "'aac' is not one of 'linear16', 'float32', 'mulaw', 'alaw', 'auto'"),
        ({"channel_mode": "both"}, "'both' is not one of 'mix', 'select', 'separate'"),
        ({"decoder": "beam"}, "'beam' is not one of 'rnnt', 'ctc'"),
        ({"chunk_frames": 2**31}, "2147483648"),
    ],
)
def test_an_option_that_cannot_be_sent_is_refused(options, message):
    with pytest.raises(ValueError, match=message):
        convert.to_config(**options)


def test_one_string_is_no_list_of_words_to_mask():
    with pytest.raises(TypeError, match=r"such as \['damn'\]"):
        convert.to_config(mask="damn")


def test_a_final_has_its_spoken_text():
    final = convert.from_final(pb.FinalResult(text="$25", spoken_text="twenty five dollars"))
    assert (final.text, final.spoken_text) == ("$25", "twenty five dollars")


def test_an_unknown_option_is_refused():
    with pytest.raises(TypeError, match="sample_rate"):
        convert.to_config(sample_rate=16000)


@pytest.mark.parametrize("name", [value.name for value in pb.AudioEncoding.DESCRIPTOR.values][1:])
def test_every_encoding_of_the_protocol_is_known(name):
    member = AudioEncoding[name.removeprefix("AUDIO_ENCODING_")]
    assert convert.to_config(encoding=member).encoding == pb.AudioEncoding.Value(name)


@pytest.mark.parametrize("name", [value.name for value in pb.Decoder.DESCRIPTOR.values][1:])
def test_every_decoder_of_the_protocol_is_known(name):
    member = Decoder[name.removeprefix("DECODER_")]
    assert convert.to_config(decoder=member).decoder == pb.Decoder.Value(name)


@pytest.mark.parametrize("name", pb.Control.Action.keys()[1:])
def test_every_control_of_the_protocol_is_known(name):
    request = convert.to_control_request(Control[name.removeprefix("ACTION_")])
    assert request.control.action == pb.Control.Action.Value(name)


@pytest.mark.parametrize("name", pb.SpeechEvent.Type.keys()[1:])
def test_every_event_of_the_protocol_is_known(name):
    event = convert.from_event(pb.SpeechEvent(type=pb.SpeechEvent.Type.Value(name)))
    assert event is not None
    assert event.type is SpeechEventType[name.removeprefix("TYPE_")]


def test_started():
    message = pb.StreamStarted(
        session_id="s",
        model="m",
        language_code="en-US",
        encoding=pb.AUDIO_ENCODING_ALAW,
        sample_rate_hertz=8000,
        chunk_frames=14,
        latency_ms=1120,
        decoder=pb.DECODER_RNNT,
    )
    assert convert.from_response(pb.StreamingRecognizeResponse(started=message)) == Started(
        session_id="s",
        model="m",
        language_code="en-US",
        encoding=AudioEncoding.ALAW,
        sample_rate_hertz=8000,
        chunk_frames=14,
        latency_ms=1120,
        decoder=Decoder.RNNT,
    )


def test_partial_splits_at_a_code_point():
    message = pb.PartialResult(
        text="naïve 🎵 song",
        stable_len=7,
        seq=3,
        audio_processed=Duration(seconds=1, nanos=250_000_000),
    )
    partial = convert.from_response(pb.StreamingRecognizeResponse(partial=message))
    assert partial == Partial(text="naïve 🎵 song", stable_len=7, seq=3, audio_processed_s=1.25)
    assert (partial.stable, partial.tail) == ("naïve 🎵", " song")


def test_final_and_event():
    final = pb.FinalResult(
        text="seven up", seq=9, start_time=Duration(nanos=500_000_000), end_time=Duration(seconds=2)
    )
    event = pb.SpeechEvent(type=pb.SpeechEvent.TYPE_SPEECH_ENDED, time=Duration(seconds=1))
    assert convert.from_response(pb.StreamingRecognizeResponse(final=final)) == Final(
        text="seven up", seq=9, start_s=0.5, end_s=2.0
    )
    assert convert.from_response(pb.StreamingRecognizeResponse(event=event)) == SpeechEvent(
        type=SpeechEventType.SPEECH_ENDED, time_s=1.0
    )


def test_what_a_later_server_may_send_is_left_out():
    assert convert.from_response(pb.StreamingRecognizeResponse()) is None
    event = pb.StreamingRecognizeResponse()
    event.event.MergeFromString(b"\x08\x63")  # type: 99
    assert convert.from_response(event) is None
    started = pb.StreamStarted.FromString(b"\x20\x63\x40\x63")  # encoding and decoder: 99
    assert convert.from_started(started).encoding is None
    assert convert.from_started(started).decoder is None


def test_model():
    message = pb.Model(
        id="m",
        family="f",
        language_codes=["en", "de"],
        sample_rate_hertz=16000,
        look_aheads=[
            pb.LookAhead(chunk_frames=2, latency_ms=160),
            pb.LookAhead(chunk_frames=7, latency_ms=560, is_default=True),
        ],
        decoders=[pb.DECODER_RNNT, pb.DECODER_CTC],
        biasing_decoders=[pb.DECODER_CTC],
        is_default=True,
    )
    message.MergeFromString(b"\x32\x01\x63")  # a decoder 99 besides
    assert convert.from_list_models_response(pb.ListModelsResponse(models=[message])) == [
        Model(
            id="m",
            family="f",
            language_codes=("en", "de"),
            sample_rate_hertz=16000,
            look_aheads=(
                LookAhead(chunk_frames=2, latency_ms=160, is_default=False),
                LookAhead(chunk_frames=7, latency_ms=560, is_default=True),
            ),
            decoders=(Decoder.RNNT, Decoder.CTC),
            biasing_decoders=(Decoder.CTC,),
            is_default=True,
        )
    ]


def test_text_of_a_recognition_leaves_silence_out():
    finals = [pb.FinalResult(text=text) for text in ("one two", "", "three")]
    recognition = convert.from_recognize_response(pb.RecognizeResponse(results=finals))
    assert isinstance(recognition, Recognition)
    assert [final.text for final in recognition.finals] == ["one two", "", "three"]
    assert recognition.text == "one two three"


def test_a_request_id_goes_there_and_back() -> None:
    assert convert.to_config(request_id="order 7").request_id == "order 7"
    started = convert.from_started(pb.StreamStarted(request_id="order 7", sample_rate_hertz=16000))
    assert started.request_id == "order 7"


def test_words_are_read_with_their_times_and_confidence():
    message = pb.WordInfo(
        text="seven",
        start_time=Duration(seconds=3, nanos=440_000_000),
        end_time=Duration(seconds=3, nanos=520_000_000),
        confidence=0.9712,
        is_stable=True,
    )
    seven = Word(text="seven", start_s=3.44, end_s=3.52, confidence=0.9712, is_stable=True)
    bare = Word(text="up", start_s=0.0, end_s=0.0, confidence=None, is_stable=False)
    words = [message, pb.WordInfo(text="up")]
    final = convert.from_final(pb.FinalResult(words=words, confidence=0.5))
    assert (final.words, final.confidence) == ((seven, bare), 0.5)
    assert convert.from_final(pb.FinalResult()).confidence is None
    assert convert.from_partial(pb.PartialResult(words=words)).words == (seven, bare)

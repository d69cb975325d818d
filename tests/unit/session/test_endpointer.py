"""Where utterances end, in samples of 1 ms each."""

from __future__ import annotations

import pytest

from siren_grpc.domain.endpointing import EndpointDetector, EndpointRules, FinalCause
from siren_grpc.session.endpointer import Endpoint, Endpointer, Finding, SpeechStart, TokenPlace
from siren_grpc.session.voice_activity import VoiceChange

HERTZ = 1000
Sound = tuple[int, str]


def make(detector: EndpointDetector = EndpointDetector.DECODER, **rules: object) -> Endpointer:
    values: dict[str, object] = {"min_silence_ms": 500} | rules
    return Endpointer(
        EndpointRules(detector, **values),  # type: ignore[arg-type]
        HERTZ,
        start_samples=0,
    )


def hear(endpointer: Endpointer, until: int, *sounds: Sound) -> list[Finding]:
    """Each sound is a place and what is there: a word, its continuation, <end>, on or off."""
    tokens = [
        TokenPlace(at, starts_word=what == "word", is_end=what == "end")
        for at, what in sounds
        if what in ("word", "more", "end")
    ]
    voice = [VoiceChange(at, what == "on") for at, what in sounds if what in ("on", "off")]
    return endpointer.advance(tokens, voice, until)


def ends(findings: list[Finding]) -> list[tuple[int, FinalCause, int]]:
    return [(f.at_samples, f.cause, f.n_tokens) for f in findings if isinstance(f, Endpoint)]


def test_without_rules_nothing_ends() -> None:
    endpointer = Endpointer(None, HERTZ, start_samples=0)
    assert hear(endpointer, 100_000, (100, "word")) == [SpeechStart(100)]
    assert endpointer.speech_end(100_000) == 100


def test_silence_behind_speech_ends_the_utterance_at_a_position_not_at_a_chunk() -> None:
    endpointer = make()
    assert hear(endpointer, 900, (300, "word"), (500, "more")) == [SpeechStart(300)]
    assert hear(endpointer, 1800) == [Endpoint(1000, FinalCause.SILENCE, 0, 500)]
    assert hear(endpointer, 9000) == []


def test_an_utterance_may_end_and_the_next_begin_within_one_chunk() -> None:
    found = hear(make(), 2000, (100, "word"), (700, "word"), (750, "more"))
    assert found == [
        SpeechStart(100),
        Endpoint(600, FinalCause.SILENCE, 1, 100),
        SpeechStart(700),
        Endpoint(1250, FinalCause.SILENCE, 3, 750),
    ]


def test_silence_is_not_counted_beyond_what_was_heard() -> None:
    """A token behind the audio's end, in the padding, belongs to the utterance before it."""
    endpointer = make()
    assert ends(hear(endpointer, 550, (100, "word"), (700, "more"))) == []
    assert endpointer.speech_end(550) == 700


def test_nobody_speaks() -> None:
    endpointer = make(no_speech_ms=1000)
    assert ends(hear(endpointer, 2500)) == [
        (1000, FinalCause.NO_SPEECH, 0),
        (2000, FinalCause.NO_SPEECH, 0),
    ]
    assert ends(hear(endpointer, 3500, (2900, "word"))) == [(3400, FinalCause.SILENCE, 1)]


def test_a_long_utterance_ends_before_a_word_never_within_one() -> None:
    endpointer = make(max_utterance_ms=1000)
    sounds = [(at, "word" if at % 600 == 0 else "more") for at in range(300, 3300, 300)]
    assert ends(hear(endpointer, 3100, *sounds)) == [
        (1800, FinalCause.MAX_UTTERANCE, 5),
        (3000, FinalCause.MAX_UTTERANCE, 9),
    ]


def test_an_end_token_ends_the_utterance_behind_itself() -> None:
    endpointer = make(EndpointDetector.END_TOKEN, min_silence_ms=None)
    found = hear(endpointer, 9000, (100, "word"), (300, "end"), (400, "word"))
    assert found == [
        SpeechStart(100),
        Endpoint(300, FinalCause.END_TOKEN, 2, 100),
        SpeechStart(400),
    ]


def test_other_detectors_take_no_notice_of_end_tokens() -> None:
    assert ends(hear(make(), 700, (100, "word"), (300, "end"))) == [(600, FinalCause.SILENCE, 2)]


def test_the_vad_decides_whatever_the_tokens_do() -> None:
    endpointer = make(EndpointDetector.VAD)
    found = hear(endpointer, 2000, (200, "on"), (300, "word"), (1400, "off"))
    assert found == [SpeechStart(200), Endpoint(1900, FinalCause.SILENCE, 1, 1400)]


def test_a_word_the_vad_missed_still_ends_with_a_final() -> None:
    found = hear(make(EndpointDetector.VAD), 2000, (300, "word"))
    assert found == [SpeechStart(300), Endpoint(800, FinalCause.SILENCE, 1, 300)]


def test_speech_that_goes_on_at_an_endpoint_is_the_next_utterances_too() -> None:
    endpointer = make(EndpointDetector.VAD, max_utterance_ms=1000)
    found = hear(endpointer, 2000, (200, "on"), (300, "word"), (1500, "word"))
    assert found == [
        SpeechStart(200),
        Endpoint(1500, FinalCause.MAX_UTTERANCE, 1, 1500),
        SpeechStart(1500),
    ]


def test_a_voice_that_is_heard_to_the_end_ends_there() -> None:
    endpointer = make(EndpointDetector.VAD)
    hear(endpointer, 2000, (200, "on"), (300, "word"))
    assert endpointer.speech_end(2000) == 2000
    hear(endpointer, 2400, (2300, "off"))
    assert endpointer.speech_end(2400) == 2300


@pytest.mark.parametrize("until", [1, 7, 80, 560, 5000])
def test_the_size_of_chunks_changes_no_endpoint(until: int) -> None:
    sounds = [(120, "word"), (400, "more"), (1300, "word"), (1310, "more"), (3500, "word")]
    endpointer = make(no_speech_ms=1500)
    found: list[tuple[int, FinalCause]] = []
    for start in range(0, 5000, until):
        heard = [sound for sound in sounds if start <= sound[0] < start + until]
        found += [end[:2] for end in ends(hear(endpointer, start + until - 1, *heard))]
    assert found == [
        (900, FinalCause.SILENCE),
        (1810, FinalCause.SILENCE),
        (3310, FinalCause.NO_SPEECH),
        (4000, FinalCause.SILENCE),
    ]


def test_other_rules_leave_the_utterance_as_it_is() -> None:
    endpointer = Endpointer(None, HERTZ, start_samples=0)
    hear(endpointer, 1000, (100, "word"), (900, "more"))
    endpointer.set_rules(
        EndpointRules(EndpointDetector.DECODER, min_silence_ms=500), from_samples=1000
    )
    assert hear(endpointer, 2000) == [Endpoint(1400, FinalCause.SILENCE, 0, 900)]


@pytest.mark.parametrize(
    ("sounds", "cause"),
    [([(100, "word")], FinalCause.SILENCE), ([], FinalCause.NO_SPEECH)],
)
def test_a_silence_from_before_the_rules_ends_one_utterance_where_they_begin(
    sounds: list[tuple[int, str]], cause: FinalCause
) -> None:
    endpointer = Endpointer(None, HERTZ, start_samples=0)
    hear(endpointer, 4000, *sounds)
    rules = EndpointRules(EndpointDetector.DECODER, min_silence_ms=500, no_speech_ms=1500)
    endpointer.set_rules(rules, from_samples=4000)
    assert [end[:2] for end in ends(hear(endpointer, 6000))] == [
        (4000, cause),
        (5500, FinalCause.NO_SPEECH),
    ]

"""Promises 1 and 4 where they are made."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from siren_grpc.domain.endpointing import EndpointDetector, EndpointRules, FinalCause
from siren_grpc.domain.geometry import BufferedContext
from siren_grpc.domain.results import (
    Final,
    Partial,
    Reconfigured,
    Result,
    SpeechEvent,
    SpeechEventKind,
)
from siren_grpc.domain.step import StepResult
from siren_grpc.domain.work import (
    Chunk,
    DiscardUtterance,
    EndUtterance,
    Reconfigure,
    RestartState,
    StreamOptions,
)
from siren_grpc.session.utterance import RewindPoint, Utterance
from siren_grpc.text.detokenizer import Detokenizer
from tests.support.builders import make_buffered_geometry, make_chunk, make_info, make_preview

INFO = make_info()


def make_utterance() -> Utterance:
    geometry = INFO.geometry(INFO.default_chunk_frames)
    return Utterance(Detokenizer(INFO.token_texts, INFO.punctuation), geometry)


def found(text: str, *frames: int) -> StepResult:
    """Spell text in tokens: a letter each, a space before a letter joined to it."""
    tokens, is_start = [], False
    for letter in text:
        if letter == " ":
            is_start = True
        else:
            tokens.append(ord(letter) - ord("a") + (26 if is_start else 0))
            is_start = False
    return StepResult(tuple(tokens), frames or tuple(range(len(tokens))))


STEPS = st.lists(
    st.tuples(
        st.sampled_from(["chunk", "preview", "end", "discard"]),
        st.text(alphabet="ab ", max_size=6),
        st.text(alphabet="ab ", max_size=3),
    ),
    max_size=30,
)


@settings(max_examples=300)
@given(STEPS)
def test_the_stable_prefix_never_changes_and_each_utterance_has_one_final(
    steps: list[tuple[str, str, str]],
) -> None:
    utterance = make_utterance()
    stable, committed, at, start = "", "", 0, 0
    events: list[SpeechEvent] = []
    shown: tuple[str, int] | None = None
    for kind, text, tail in steps:
        at += 1280
        results: list[Result] = []
        if kind == "chunk":
            committed += text
            first_frame = (at - start) // 1280 - 1
            result = replace(found(text), tail=found(tail).tokens)
            frames = tuple(first_frame for _ in result.tokens)
            results = utterance.advance(make_chunk(end=at), replace(result, token_frames=frames))
        elif kind == "preview":
            results = utterance.advance(make_preview(end=at), found(text))
        elif kind == "end":
            results = utterance.finish(EndUtterance(at, seq=7))
            finals = [result for result in results if isinstance(result, Final)]
            assert len(finals) == 1
            assert finals[0].text.startswith(stable)
            assert finals[0].seq == 7
            assert results[-1] is finals[0]
            assert (finals[0].start_samples, finals[0].end_samples) == (start, at)
            assert finals[0].text.replace(" ", "") == committed.replace(" ", ""), "promise 4"
        else:
            utterance.discard(DiscardUtterance(at))
        for result in results:
            if isinstance(result, Partial):
                assert result.text.startswith(stable), "promise 1"
                assert len(stable) <= result.stable_len <= len(result.text)
                assert (result.text, result.stable_len) != shown, "nothing moved"
                shown = (result.text, result.stable_len)
                stable = result.text[: result.stable_len]
                assert stable.replace(" ", "") == committed.replace(" ", "")
            elif isinstance(result, SpeechEvent):
                events.append(result)
                assert start <= result.at_samples <= at
        kinds = [event.kind for event in events]
        times = [event.at_samples for event in events]
        assert times == sorted(times)
        if kind in ("end", "discard"):
            has_speech = bool(committed.strip())
            both = [SpeechEventKind.SPEECH_STARTED, SpeechEventKind.SPEECH_ENDED]
            assert kinds == (both if kind == "end" else both[:1]) * has_speech
            stable, committed, shown, start = "", "", None, at
            events.clear()
        else:
            assert kinds == [SpeechEventKind.SPEECH_STARTED] * bool(committed.strip())


def test_a_preview_moves_behind_the_stable_part() -> None:
    utterance = make_utterance()
    (event, first) = utterance.advance(
        make_chunk(end=10_000, seq=3), found(" seven", 2, 3, 3, 4, 5)
    )
    assert event == SpeechEvent(SpeechEventKind.SPEECH_STARTED, 2 * 1280)
    assert first == Partial("seven", 5, 3, 10_000)
    (moving,) = utterance.advance(make_preview(end=12_000, seq=4), found(" u"))
    assert moving == Partial("seven u", 5, 4, 12_000)
    (other,) = utterance.advance(make_preview(end=12_500, seq=4), found(" on"))
    assert other == Partial("seven on", 5, 4, 12_500)
    (settled,) = utterance.advance(make_chunk(end=13_000, seq=5), found(" up"))
    assert settled == Partial("seven up", 8, 5, 13_000)
    ended, final = utterance.finish(EndUtterance(13_100, seq=6))
    assert isinstance(ended, SpeechEvent)
    assert ended.kind is SpeechEventKind.SPEECH_ENDED
    assert final == Final("seven up", 6, 0, 13_100)


def test_the_right_context_is_shown_and_not_stable() -> None:
    utterance = make_utterance()
    tail = found(" ut").tokens
    _, first = utterance.advance(
        make_chunk(end=9000, seq=1), replace(found(" seven", 2, 3, 3, 4, 5), tail=tail)
    )
    assert first == Partial("seven ut", 5, 1, 9000)
    (settled,) = utterance.advance(make_chunk(end=9500, seq=2), found(" up"))
    assert settled == Partial("seven up", 8, 2, 9500)


def test_a_right_context_alone_starts_no_speech() -> None:
    utterance = make_utterance()
    (partial,) = utterance.advance(
        make_chunk(end=9000), replace(found(""), tail=found(" a").tokens)
    )
    assert partial == Partial("a", 0, 0, 9000)
    assert utterance.finish(EndUtterance(9100, 1)) == [Final("", 1, 0, 9100)]


def test_nothing_is_said_twice() -> None:
    utterance = make_utterance()
    assert utterance.advance(make_chunk(end=1), found("")) == []
    assert len(utterance.advance(make_chunk(end=9999), found(" a"))) == 2
    assert utterance.advance(make_chunk(end=10_000), found("")) == []
    assert utterance.advance(make_preview(end=10_100), found("")) == []


def test_an_updated_interval_counts_from_the_partial_before_it() -> None:
    utterance = make_utterance()
    n_partials = []
    for i, interval_ms in enumerate([60_000, 60_000, 60_000, 0, 0, 250, 250, 250]):
        options = StreamOptions(partial_interval_ms=interval_ms)
        utterance.reconfigure(Reconfigure(options, at_samples=i * 1600))
        results = utterance.advance(make_chunk(end=(i + 1) * 1600), found(" a", 0))
        n_partials.append(sum(isinstance(result, Partial) for result in results))
    assert n_partials == [1, 0, 0, 1, 1, 0, 0, 1]


def test_silence_has_a_final_and_no_event() -> None:
    assert make_utterance().finish(EndUtterance(500, 2)) == [Final("", 2, 0, 500)]


def test_utterances_follow_one_another_in_the_stream() -> None:
    utterance = make_utterance()
    utterance.advance(make_chunk(end=20_000), found(" a", 3))
    utterance.finish(EndUtterance(20_000, 1))
    event, _ = utterance.advance(make_chunk(end=40_000), found(" b", 2))
    assert event == SpeechEvent(SpeechEventKind.SPEECH_STARTED, 20_000 + 2 * 1280)
    utterance.discard(DiscardUtterance(41_000))
    assert utterance.finish(EndUtterance(42_000, 1)) == [Final("", 1, 41_000, 42_000)]


def test_a_token_in_the_padding_is_at_the_end_of_the_audio() -> None:
    utterance = make_utterance()
    chunk = replace(make_chunk(), end_samples=1000)
    event, _ = utterance.advance(chunk, found(" a", 5))
    assert event == SpeechEvent(SpeechEventKind.SPEECH_STARTED, 1000)


RULES = st.builds(
    EndpointRules,
    detector=st.sampled_from([EndpointDetector.DECODER, EndpointDetector.END_TOKEN]),
    min_silence_ms=st.sampled_from([None, 100, 240, 800]),
    max_utterance_ms=st.sampled_from([None, 1000]),
    no_speech_ms=st.sampled_from([None, 1000]),
)


@settings(max_examples=200, deadline=None)
@given(
    rules=RULES,
    chunk_frames=st.sampled_from([2, 7]),
    sounds=st.lists(st.text(alphabet="ab ", max_size=2), max_size=80),
    interval_ms=st.sampled_from([0, 500]),
)
def test_endpoints_lose_no_token_and_their_utterances_tile_the_stream(
    *, rules: EndpointRules, chunk_frames: int, sounds: list[str], interval_ms: int
) -> None:
    """sounds: what is said in each encoder frame."""
    options = StreamOptions(rules, partial_interval_ms=interval_ms)
    geometry = INFO.geometry(chunk_frames)
    b = frozenset({1})
    detokenizer = Detokenizer(INFO.token_texts, INFO.punctuation)
    utterance = Utterance(detokenizer, geometry, options, end_tokens=b)
    finals: list[Final] = []
    stable, end, last_partial = "", 0, -interval_ms
    for start in range(0, len(sounds), chunk_frames):
        is_first = start == 0
        end += geometry.chunk_samples(is_first=is_first)
        chunk = Chunk(
            np.zeros(0, np.float32), geometry.feature_frames(is_first=is_first), is_first, end, 0
        )
        spoken = [
            (token, start + i)
            for i, text in enumerate(sounds[start : start + chunk_frames])
            for token in found(text).tokens
        ]
        result = StepResult(tuple(t for t, _ in spoken), tuple(frame for _, frame in spoken))
        for what in utterance.advance(chunk, result):
            if isinstance(what, Partial):
                assert what.text.startswith(stable)
                stable = what.text[: what.stable_len]
                assert (what.processed_samples - last_partial) / 16 >= interval_ms or not finals
                last_partial = what.processed_samples
            elif isinstance(what, Final):
                assert what.text.startswith(stable)
                stable = ""
                last_partial = -interval_ms * 16
                finals.append(what)
    (final,) = [w for w in utterance.finish(EndUtterance(end, 0)) if isinstance(w, Final)]
    assert final.text.startswith(stable)
    finals.append(final)
    said = "".join(sounds).replace(" ", "")
    assert "".join(f.text for f in finals).replace(" ", "") == said
    assert [f.start_samples for f in finals] == [0, *(f.end_samples for f in finals[:-1])]
    assert finals[-1].end_samples == end
    assert finals[-1].cause is FinalCause.END
    if rules.detector is EndpointDetector.END_TOKEN:
        said_so = [f for f in finals if f.cause is FinalCause.END_TOKEN]
        assert all(f.text.endswith("b") for f in said_so)


def test_a_hard_endpoint_asks_for_a_rewind_into_the_silence_and_drops_what_lies_behind() -> None:
    rules = EndpointRules(EndpointDetector.DECODER, min_silence_ms=240, is_hard=True)
    geometry = INFO.geometry(7)
    detokenizer = Detokenizer(INFO.token_texts, INFO.punctuation)
    utterance = Utterance(detokenizer, geometry, StreamOptions(rules))
    chunk = Chunk(
        np.zeros(0, np.float32),
        geometry.feature_frames(is_first=True),
        is_first=True,
        end_samples=geometry.chunk_samples(is_first=True),
        seq=0,
    )
    right_context = found("c").tokens
    results = utterance.advance(chunk, replace(found("ab", 1, 6), tail=right_context))
    # Frame 1 lies at 1280 samples, the silence of 3840 ends at 5120; half of it is heard again.
    final = next(result for result in results if isinstance(result, Final))
    assert (final.text, final.end_samples, final.cause) == ("a", 5120, FinalCause.SILENCE)
    assert utterance.rewind_to is not None
    assert utterance.rewind_to.at_samples == 5120 - 1920
    assert not any(isinstance(result, Partial) for result in results)
    utterance.restart_state(RestartState(3200))
    assert utterance.rewind_to is None
    again = replace(chunk, end_samples=3200 + chunk.end_samples)
    (start, partial) = utterance.advance(again, found("b", 5))
    assert start == SpeechEvent(SpeechEventKind.SPEECH_STARTED, 3200 + 5 * 1280)
    assert isinstance(partial, Partial)
    assert partial.text == "b"


def test_a_rewind_goes_back_320_ms_at_most() -> None:
    rules = EndpointRules(EndpointDetector.DECODER, min_silence_ms=1600, is_hard=True)
    (final, rewind) = ended_in_a_chunk(rules, found("a", 1))
    assert (final.cause, final.end_samples) == (FinalCause.SILENCE, 1280 + 25_600)
    assert rewind is not None
    assert rewind.at_samples == final.resume_samples == final.end_samples - 5120


def test_an_utterance_that_grew_too_long_ends_softly_whatever_was_asked() -> None:
    """It may end within speech, where a fresh model would lose a word."""
    rules = EndpointRules(
        EndpointDetector.DECODER, min_silence_ms=None, max_utterance_ms=1000, is_hard=True
    )
    final, rewind = ended_in_a_chunk(rules, found(" a b", 0, 14))
    assert (final.cause, final.text) == (FinalCause.MAX_UTTERANCE, "a")
    assert rewind is None
    assert final.resume_samples == 0


def ended_in_a_chunk(rules: EndpointRules, result: StepResult) -> tuple[Final, RewindPoint | None]:
    """Advance by a first chunk of 25 encoder frames, in which an utterance ends."""
    geometry = INFO.geometry(25)
    utterance = Utterance(
        Detokenizer(INFO.token_texts, INFO.punctuation), geometry, StreamOptions(rules)
    )
    end = geometry.chunk_samples(is_first=True)
    frames = geometry.feature_frames(is_first=True)
    chunk = Chunk(np.zeros(0, np.float32), frames, True, end, 0)
    return final_of(utterance.advance(chunk, result)), utterance.rewind_to


def test_what_lies_behind_a_hard_endpoint_is_not_accounted_for_yet() -> None:
    rules = EndpointRules(EndpointDetector.DECODER, min_silence_ms=240, is_hard=True)
    geometry = INFO.geometry(7)
    detokenizer = Detokenizer(INFO.token_texts, INFO.punctuation)
    utterance = Utterance(detokenizer, geometry, StreamOptions(rules))

    def chunk(start: int, seq: int, *marks: tuple[int, int]) -> Chunk:
        end = start + geometry.chunk_samples(is_first=True)
        frames = geometry.feature_frames(is_first=True)
        return Chunk(np.zeros(0, np.float32), frames, True, end, seq, marks=marks)

    first = final_of(utterance.advance(chunk(0, 9, (4000, 3), (8000, 9)), found("ab", 1, 6)))
    assert (first.seq, first.end_samples) == (3, 5120)
    assert utterance.rewind_to is not None
    at = utterance.rewind_to.at_samples
    utterance.restart_state(RestartState(at))
    # Heard again from 3200 on: no message ends before the next endpoint.
    second = final_of(utterance.advance(chunk(at, 9, (9000, 9)), found("cd", 1, 6)))
    assert (second.seq, second.end_samples) == (3, 8320)


def test_a_final_says_the_language_that_the_model_said_last() -> None:
    geometry = INFO.geometry(INFO.default_chunk_frames)
    detokenizer = Detokenizer(INFO.token_texts, INFO.punctuation)
    tags = {ord("x") - ord("a"): "de-DE", ord("y") - ord("a"): "fr-FR"}
    utterance = Utterance(detokenizer, geometry, language_code="en", language_tags=tags)

    def said(text: str) -> str:
        utterance.advance(make_chunk(), found(text))
        return final_of(utterance.finish(EndUtterance(0, 1))).language_code

    assert [said(text) for text in ("ab", "ax", "ab", "xaya", "a")] == [
        "en",
        "de-DE",
        "de-DE",
        "fr-FR",
        "fr-FR",
    ]


def final_of(results: list[Result]) -> Final:
    (final,) = [result for result in results if isinstance(result, Final)]
    return final


@pytest.mark.parametrize("is_hard", [False, True])
def test_an_utterance_that_the_server_cuts_short_has_one_final(is_hard: bool) -> None:
    """Silence is what the audio has, and not what stands in for audio that never came."""
    rules = EndpointRules(
        EndpointDetector.DECODER, min_silence_ms=240, max_utterance_ms=1000, is_hard=is_hard
    )
    geometry = INFO.geometry(7)
    utterance = Utterance(
        Detokenizer(INFO.token_texts, INFO.punctuation), geometry, StreamOptions(rules)
    )
    end = geometry.chunk_samples(is_first=True)
    chunk = Chunk(
        np.zeros(0, np.float32),
        geometry.feature_frames(is_first=True),
        is_first=True,
        end_samples=end,
        seq=0,
        is_cut_short=True,
    )
    results = utterance.advance(chunk, found(" a b", 0, 1))
    assert not any(isinstance(result, Final) for result in results)
    assert utterance.rewind_to is None
    *_, final = utterance.finish(EndUtterance(end, 0, FinalCause.SHUTDOWN))
    assert isinstance(final, Final)
    assert (final.text, final.cause) == ("a b", FinalCause.SHUTDOWN)


def test_speech_that_lasts_into_the_padding_ends_with_the_audio() -> None:
    """The detector hears whole windows, the last of them with zeros behind what was said."""
    geometry = INFO.geometry(7)
    utterance = Utterance(
        Detokenizer(INFO.token_texts, INFO.punctuation),
        geometry,
        StreamOptions(EndpointRules(EndpointDetector.VAD, min_silence_ms=240)),
    )
    end = 12 * geometry.features.voice_window_samples - 1
    chunk = make_chunk(end=end)
    heard = (0.0, 0.0, *[0.9] * 10)
    (start, *_) = utterance.advance(chunk, replace(found("a"), speech=heard))
    assert isinstance(start, SpeechEvent)
    ended, final = utterance.finish(EndUtterance(end, 1))
    assert ended == SpeechEvent(SpeechEventKind.SPEECH_ENDED, end)
    assert isinstance(final, Final)
    assert final.end_samples == end


def test_rules_that_come_later_end_no_utterance_before_their_place() -> None:
    rules = EndpointRules(EndpointDetector.DECODER, min_silence_ms=240)
    geometry = INFO.geometry(25)
    utterance = Utterance(Detokenizer(INFO.token_texts, INFO.punctuation), geometry)
    end = geometry.chunk_samples(is_first=True)
    frames = geometry.feature_frames(is_first=True)
    chunk = Chunk(np.zeros(0, np.float32), frames, True, end, 0)
    utterance.advance(chunk, found("a", 1))
    # The silence behind the word is long enough by now, but nobody had asked for it before.
    assert utterance.reconfigure(Reconfigure(StreamOptions(rules), end)) == [
        Reconfigured(StreamOptions(rules), end)
    ]
    later = replace(chunk, is_first=False, end_samples=end + geometry.chunk_samples(is_first=False))
    final = final_of(utterance.advance(later, StepResult((), ())))
    assert (final.text, final.end_samples, final.cause) == ("a", end, FinalCause.SILENCE)


def test_rules_that_come_later_have_nothing_heard_again_before_their_place() -> None:
    """What lies before is kept since then, at the earliest."""
    geometry = INFO.geometry(25)
    end = geometry.chunk_samples(is_first=True)
    frames = geometry.feature_frames(is_first=True)
    utterance = Utterance(Detokenizer(INFO.token_texts, INFO.punctuation), geometry)
    utterance.advance(Chunk(np.zeros(0, np.float32), frames, True, end, 0), found("a", 1))
    rules = EndpointRules(EndpointDetector.DECODER, min_silence_ms=240, is_hard=True)
    utterance.reconfigure(Reconfigure(StreamOptions(rules), end))
    behind = end + geometry.chunk_samples(is_first=False)
    frames = geometry.feature_frames(is_first=False)
    utterance.advance(Chunk(np.zeros(0, np.float32), frames, False, behind, 0), StepResult((), ()))
    assert utterance.rewind_to == RewindPoint(end, 0)


def test_the_same_rules_again_interrupt_nobody_who_speaks() -> None:
    rules = EndpointRules(EndpointDetector.VAD, min_silence_ms=1600)
    geometry = INFO.geometry(25)
    window = geometry.features.voice_window_samples
    utterance = Utterance(
        Detokenizer(INFO.token_texts, INFO.punctuation), geometry, StreamOptions(rules)
    )
    end = geometry.chunk_samples(is_first=True)
    frames = geometry.feature_frames(is_first=True)
    chunk = Chunk(np.zeros(0, np.float32), frames, True, end, 0)
    n_windows = end // window
    utterance.advance(chunk, replace(found("a"), speech=(0.9,) * n_windows))
    # A client may send its options whole to change one of them.
    utterance.reconfigure(Reconfigure(StreamOptions(rules, partial_interval_ms=500), end))
    behind = end + geometry.chunk_samples(is_first=False)
    frames = geometry.feature_frames(is_first=False)
    later = Chunk(np.zeros(0, np.float32), frames, False, behind, 0)
    # Too low for speech to begin, and not low enough for it to end.
    speech = (*[0.4] * 10, *[0.0] * (behind // window - n_windows - 10))
    final = final_of(utterance.advance(later, StepResult((), (), speech=speech)))
    assert (final.end_samples, final.cause) == (
        (n_windows + 10) * window + 25_600,
        FinalCause.SILENCE,
    )


def test_silence_that_the_detector_has_not_heard_yet_ends_nothing() -> None:
    """Its windows need not end where encoder frames do: the rest is heard with the next chunk."""
    rules = EndpointRules(EndpointDetector.VAD, min_silence_ms=240)
    geometry = INFO.geometry(25)
    window = geometry.features.voice_window_samples
    end = geometry.chunk_samples(is_first=True)
    frames = geometry.feature_frames(is_first=True)
    n_spoken = 52
    silent_at = n_spoken * window + 3840
    assert 59 * window < silent_at < 24 * 1280, "before the last frame, behind the 59th window"

    def ends(n_windows: int) -> list[int]:
        utterance = Utterance(
            Detokenizer(INFO.token_texts, INFO.punctuation), geometry, StreamOptions(rules)
        )
        chunk = Chunk(np.zeros(0, np.float32), frames, True, end, 0)
        speech = (*[0.9] * n_spoken, *[0.0] * (n_windows - n_spoken))
        results = utterance.advance(chunk, replace(found("a"), speech=speech))
        return [result.end_samples for result in results if isinstance(result, Final)]

    assert ends(59) == []
    assert ends(60) == [silent_at]


def test_what_a_right_context_may_still_say_ends_no_utterance() -> None:
    """The chunk's last frames are its right context: silence there is not certain yet."""
    context = BufferedContext(left_frames=25, chunk_frames=13, right_frames=12)
    geometry = make_buffered_geometry(context)
    rules = EndpointRules(EndpointDetector.DECODER, min_silence_ms=800)

    def ends(*, is_last: bool) -> list[int]:
        utterance = Utterance(
            Detokenizer(INFO.token_texts, INFO.punctuation), geometry, StreamOptions(rules)
        )
        end = geometry.chunk_samples(is_first=True)
        frames = geometry.feature_frames(is_first=True)
        chunk = Chunk(np.zeros(0, np.float32), frames, True, end, 0, is_last=is_last)
        results = utterance.advance(chunk, found("a", 3))
        return [result.end_samples for result in results if isinstance(result, Final)]

    assert ends(is_last=False) == []
    assert ends(is_last=True) == [13 * 1280]

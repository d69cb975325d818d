"""Words on the stream's time line."""

from __future__ import annotations

from hypothesis import given
from hypothesis import strategies as st

from siren_grpc.domain.results import Final, Partial, Word, WordDetail
from siren_grpc.domain.step import StepResult, StepTiming, TokenTiming
from siren_grpc.domain.work import Chunk, DiscardUtterance, EndUtterance, RestartState
from siren_grpc.session.utterance import Utterance
from siren_grpc.session.word_times import MOST_WORDS_OF_PARTIALS, WordTimes, utterance_confidence
from siren_grpc.text.detokenizer import Detokenizer
from tests.support.builders import FEATURES, make_chunk, make_geometry, make_info, make_preview

INFO = make_info()
FRAME = FEATURES.encoder_frame_samples
HOUR = 3600 * FEATURES.sample_rate_hertz


def make_utterance(words: WordDetail = WordDetail.PARTIALS) -> Utterance:
    detokenizer = Detokenizer(INFO.token_texts, INFO.punctuation)
    return Utterance(detokenizer, make_geometry(), words=words)


def found(
    letters: str,
    frames: list[int],
    *,
    ends: list[int] | None = None,
    sure: float = 0.5,
    tail: str = "",
    tail_frame: int = 0,
    held: tuple[int, float] | None = None,
) -> StepResult:
    """Spell letters in tokens, capitals those that start a word."""
    tokens = tuple(ord(c) - ord("a") if c.islower() else ord(c) - ord("A") + 26 for c in letters)
    behind = tuple(ord(c) - ord("A") + 26 for c in tail)
    ends = [frame + 1 for frame in frames] if ends is None else ends
    timing = StepTiming(
        TokenTiming(tuple(ends), (sure,) * len(tokens)),
        TokenTiming((tail_frame + 1,) * len(tail), (sure,) * len(tail)),
        (tail_frame,) * len(tail),
        TokenTiming() if held is None else TokenTiming((held[0],), (held[1],)),
    )
    return StepResult(tokens, tuple(frames), behind, timing=timing)


def final_of(utterance: Utterance, end: int) -> Final:
    final = utterance.finish(EndUtterance(end, seq=1))[-1]
    assert isinstance(final, Final)
    return final


def partials_of(results: list) -> list[Partial]:
    return [result for result in results if isinstance(result, Partial)]


def test_a_final_lists_its_words() -> None:
    utterance = make_utterance(WordDetail.FINALS)
    (_, partial) = utterance.advance(make_chunk(end=9000), found("AbC", [1, 2, 4], sure=0.25))
    assert isinstance(partial, Partial)
    assert partial.words == (), "only finals were asked for"
    final = final_of(utterance, 9000)
    assert final.words == (
        Word("ab", FRAME, 3 * FRAME, 0.25),
        Word("c", 4 * FRAME, 5 * FRAME, 0.25),
    )
    assert final.confidence == 0.25


def test_nobody_who_did_not_ask_gets_words() -> None:
    utterance = make_utterance(WordDetail.NONE)
    (_, partial) = utterance.advance(make_chunk(end=9000), found("A", [1]))
    assert isinstance(partial, Partial)
    assert partial.words == ()
    final = final_of(utterance, 9000)
    assert (final.words, final.confidence) == ((), None)


def test_a_partial_tells_its_stable_words() -> None:
    utterance = make_utterance()
    result = found("AB", [1, 3], tail="C", tail_frame=6)
    [first] = partials_of(utterance.advance(make_chunk(end=20_000), result))
    assert [(w.text, w.is_stable) for w in first.words] == [("a", True), ("b", True), ("c", False)]
    assert first.words[2].start_samples == 6 * FRAME
    [look] = partials_of(utterance.advance(make_preview(end=21_000), found("x", [5])))
    assert [(w.text, w.is_stable) for w in look.words] == [("a", True), ("bx", False)]
    assert look.words[1].end_samples == 6 * FRAME


def test_a_token_held_into_the_next_chunk_ends_there() -> None:
    utterance = make_utterance()
    utterance.advance(make_chunk(end=9000), found("A", [6], ends=[7], sure=0.75))
    utterance.advance(make_chunk(end=18_000), found("", [], held=(9, 0.5)))
    assert final_of(utterance, 18_000).words == (Word("a", 6 * FRAME, 9 * FRAME, 0.5),)


def test_words_do_not_reach_into_one_another_or_behind_the_audio() -> None:
    utterance = make_utterance()
    utterance.advance(make_chunk(end=9000), found("ABC", [2, 2, 6], ends=[5, 7, 40]))
    a, b, c = final_of(utterance, 9000).words
    assert (a.start_samples, a.end_samples) == (2 * FRAME, 2 * FRAME)
    assert (b.start_samples, b.end_samples) == (2 * FRAME, 6 * FRAME)
    assert (c.start_samples, c.end_samples) == (6 * FRAME, 9000)


def test_frames_are_counted_from_where_the_model_started_afresh() -> None:
    utterance = make_utterance()
    utterance.advance(make_chunk(end=9000), found("A", [2]))
    final_of(utterance, 10_001)
    utterance.advance(make_chunk(end=19_000), found("B", [3]))
    (word,) = final_of(utterance, 20_000).words
    assert word.start_samples == 10_001 + 3 * FRAME
    utterance.discard(DiscardUtterance(30_003))
    utterance.restart_state(RestartState(29_000))  # hears again what lies before
    utterance.advance(make_chunk(end=40_000), found("CD", [0, 4]))
    c, d = final_of(utterance, 40_000).words
    assert c.start_samples == 30_003, "no word begins before its utterance"
    assert d.start_samples == 29_000 + 4 * FRAME


STEPS = st.lists(
    st.tuples(
        st.sampled_from(["chunk", "chunk", "chunk", "preview", "end", "discard", "restart"]),
        st.lists(
            st.tuples(st.sampled_from("abAB"), st.integers(0, 3), st.integers(1, 9)), max_size=4
        ),
        st.integers(0, 2),
    ),
    max_size=25,
)


@given(STEPS, st.integers(0, 40 * HOUR))
def test_words_are_those_of_the_text_in_order_and_within_the_audio(
    steps: list, skipped: int
) -> None:
    """After any number of utterances, hours of them, too."""
    utterance = make_utterance()
    utterance.discard(DiscardUtterance(skipped))
    origin = at = behind_final = skipped
    frame = 0
    for kind, tokens, n_tail in steps:
        at += 2 * FRAME
        frames = sorted(frame + min(offset, 1) for _, offset, _ in tokens)
        result = found(
            "".join(letter for letter, _, _ in tokens),
            frames,
            ends=[f + last for f, (_, _, last) in zip(frames, tokens, strict=True)],
            tail="T" * n_tail if kind == "chunk" else "",
            tail_frame=frame + 2,
            held=(frame + 1, 0.25),
        )
        results = []
        if kind == "chunk":
            frame += 2
            results = utterance.advance(make_chunk(end=at), result)
        elif kind == "preview":
            results = utterance.advance(make_preview(end=at), result)
        elif kind == "end":
            results = utterance.finish(EndUtterance(at, seq=1))
        elif kind == "discard":
            utterance.discard(DiscardUtterance(at))
        if kind in ("end", "discard"):
            origin, frame = at, 0
        for shown in results:
            if not isinstance(shown, (Partial, Final)):
                continue
            assert " ".join(word.text for word in shown.words) == shown.text
            last = behind_final
            for word in shown.words:
                assert last <= word.start_samples <= word.end_samples <= at
                last = word.end_samples
                assert (word.start_samples - origin) % FRAME == 0 or word.start_samples == at
            if isinstance(shown, Final):
                behind_final = at
                assert all(word.is_stable for word in shown.words)
            else:
                stable = " ".join(word.text for word in shown.words if word.is_stable)
                assert shown.text[: shown.stable_len].startswith(stable)
                assert [w.is_stable for w in shown.words] == sorted(
                    (w.is_stable for w in shown.words), reverse=True
                )
        if kind == "discard":
            behind_final = at


def test_nothing_drifts_in_a_hundred_hours() -> None:
    """Chunk by chunk, in one utterance: the last word is where its frame is, to the sample."""
    utterance = make_utterance(WordDetail.FINALS)
    n_frames = 100 * HOUR // FRAME
    utterance.advance(make_chunk(end=100 * HOUR), found("A", [n_frames - 1]))
    (word,) = final_of(utterance, 100 * HOUR).words
    assert word.start_samples == (n_frames - 1) * FRAME
    assert word.end_samples == n_frames * FRAME == 100 * HOUR


def test_a_partial_of_a_long_utterance_lists_its_last_words_only() -> None:
    assert MOST_WORDS_OF_PARTIALS == 256, "as the protocol says"
    utterance = make_utterance()
    n = MOST_WORDS_OF_PARTIALS + 10
    [partial] = partials_of(
        utterance.advance(make_chunk(end=n * FRAME), found("A" * n, list(range(n))))
    )
    assert len(partial.words) == MOST_WORDS_OF_PARTIALS
    assert partial.words[-1].start_samples == (n - 1) * FRAME
    assert len(final_of(utterance, n * FRAME).words) == n


def test_the_confidence_of_an_utterance_is_the_mean_of_its_words() -> None:
    words = [Word("a", 0, 1, 0.2), Word("b", 1, 2, 0.6), Word("c", 2, 3, None)]
    assert utterance_confidence(words) == 0.4
    assert utterance_confidence([]) is None


def test_a_backend_that_tells_no_times_gives_each_token_a_frame() -> None:
    words = WordTimes(Detokenizer(INFO.token_texts, INFO.punctuation), FRAME)
    words.push(StepResult((26, 27), (3, 5)), 0, 2)
    assert words.finish(10 * FRAME) == (
        Word("a", 3 * FRAME, 4 * FRAME, None),
        Word("b", 5 * FRAME, 6 * FRAME, None),
    )
    assert isinstance(make_chunk(), Chunk)

"""Words are those of the text, whatever tokens spell them."""

from __future__ import annotations

from hypothesis import given
from hypothesis import strategies as st

from siren_grpc.text.detokenizer import Detokenizer
from siren_grpc.text.hypothesis import Hypothesis
from siren_grpc.text.words import TextWord, TimedToken, WordSequence

TEXTS = [" one", " two", "s", " ", "?", ".", " .", "\u2047", "", " ab c", *"日é🙂".encode(), 0xFF]
DETOKENIZER = Detokenizer(TEXTS, "?.")
TOKENS = st.lists(st.integers(0, len(TEXTS) - 1), max_size=12)


def spelled(tokens: list[int], *, of: Detokenizer = DETOKENIZER) -> WordSequence:
    """Push tokens of 10 samples each, one behind the other."""
    words = WordSequence(of)
    for i, token in enumerate(tokens):
        words.push(timed(token, i))
    return words


def timed(token: int, place: int, confidence: float | None = 0.5) -> TimedToken:
    return TimedToken(token, place * 10, place * 10 + 10, confidence)


@given(TOKENS)
def test_words_joined_by_spaces_are_the_text(tokens: list[int]) -> None:
    hypothesis = Hypothesis(DETOKENIZER)
    hypothesis.extend(tokens)
    text = hypothesis.finish()
    # White space that the model doubles is one space between words.
    assert " ".join(word.text for word in spelled(tokens).finish()) == " ".join(text.split())


@given(TOKENS, TOKENS, st.integers(1, 5))
def test_looking_ahead_shows_what_pushing_would_and_changes_nothing(
    tokens: list[int], more: list[int], most: int
) -> None:
    words = spelled(tokens)
    ahead = [timed(token, len(tokens) + i) for i, token in enumerate(more)]
    shown = list(words.last(most, ahead))
    assert words.last(len(tokens) + 1) == spelled(tokens).last(len(tokens) + 1)
    assert shown == spelled([*tokens, *more]).last(most)
    assert len(shown) <= most


@given(TOKENS)
def test_words_are_in_order_and_within_their_tokens(tokens: list[int]) -> None:
    words = list(spelled(tokens).finish())
    assert [word.start for word in words] == sorted(word.start for word in words)
    assert all(0 <= word.start <= word.end <= len(tokens) * 10 for word in words)


def test_a_word_begins_with_its_first_token_and_ends_with_its_last() -> None:
    words = WordSequence(DETOKENIZER)
    words.push(TimedToken(0, 100, 110, 0.9))
    words.push(TimedToken(2, 120, 140, 0.4))
    words.push(TimedToken(1, 200, 210, 0.8))
    assert list(words.finish()) == [
        TextWord("ones", 100, 140, 0.4, is_mark=False),
        TextWord("two", 200, 210, 0.8, is_mark=False),
    ]


def test_punctuation_belongs_to_the_word_before_and_adds_no_time() -> None:
    for mark in (4, 6):  # "?" and " ."
        words = WordSequence(DETOKENIZER)
        words.push(TimedToken(0, 100, 110, 0.9))
        words.push(TimedToken(mark, 900, 910, 0.3))
        words.prolong(950, 0.1)  # by which the mark is held, not the word
        (word,) = words.finish()
        assert (word.start, word.end, word.confidence) == (100, 110, 0.3)
        assert word.text == "one" + TEXTS[mark].strip()  # type: ignore[union-attr]


def test_a_space_of_its_own_is_the_start_of_the_word_behind_it() -> None:
    (_, word) = spelled([0, 3, 2]).finish()
    assert (word.text, word.start, word.end) == ("s", 10, 30)
    (_, word) = spelled([0, 3, 1]).finish()
    assert (word.text, word.start) == ("two", 20), "this one brings its own"
    (word,) = spelled([0, 3, 5]).finish()
    assert (word.text, word.start, word.end) == ("one.", 0, 10)


def test_a_character_of_several_bytes_takes_the_time_of_all_of_them() -> None:
    first = TEXTS.index("é".encode()[0])
    (_, word) = spelled([0, 3, first, first + 1]).finish()
    assert (word.text, word.start, word.end) == ("é", 10, 40)
    (_, unfinished) = spelled([0, 3, first]).finish()
    assert (unfinished.text, unfinished.start, unfinished.end) == ("\ufffd", 10, 30)


def test_a_held_token_prolongs_its_word() -> None:
    words = WordSequence(DETOKENIZER)
    words.prolong(50, 0.5)  # nothing is held
    words.push(TimedToken(0, 100, 110, 0.9))
    words.prolong(130, 0.2)
    words.prolong(120, 0.6)
    assert list(words.finish()) == [TextWord("one", 100, 130, 0.2, is_mark=False)]


def test_an_unknown_confidence_is_no_confidence() -> None:
    words = WordSequence(DETOKENIZER)
    words.push(timed(0, 0, None))
    assert words.finish()[0].confidence is None

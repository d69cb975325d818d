"""How written forms are settled, with a grammar small enough to see through.

Its written forms are digits: `one two` is 12, `five p m` is 17:00, anything else is as spoken.
The real grammars are tested in tests/unit/server/test_itn_grammar.py.
"""

from __future__ import annotations

from collections.abc import Sequence

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from siren_grpc.text.normalisation import (
    MAX_PENDING_WORDS,
    Part,
    Span,
    Task,
    split,
    write,
)
from siren_grpc.text.written_form import WrittenForm
from tests.support.writing import finish

DIGITS = {"one": "1", "two": "2", "five": "5"}


class Digits:
    """Joins two digits and more; knows one time of day. Counts the words it was given."""

    def __init__(self) -> None:
        self.n_read = 0

    def spans(self, words: Sequence[str]) -> Sequence[Span]:
        self.n_read += len(words)
        spans, i = [], 0
        while i < len(words):
            if tuple(words[i : i + 3]) == ("five", "p", "m"):
                spans.append(Span(3, "5 p.m."))
            else:
                end = i
                while end < len(words) and words[end] in DIGITS:
                    end += 1
                if end - i > 1:
                    spans.append(Span(end - i, "".join(DIGITS[word] for word in words[i:end])))
                else:
                    spans.append(Span(1, None))
            i += spans[-1].n_words
        return spans


def written(text: str) -> str:
    return finish(WrittenForm("en").final(text), Digits())[0]


@pytest.mark.parametrize(
    ("spoken", "text"),
    [
        ("one two", "12"),
        ("One, one two. Two", "One, 12. Two"),
        ("at five p m. Yes", "at 5 p.m. Yes"),
        ("at five p m.", "at 5 p.m."),
        ("at five p m...", "at 5 p.m..."),
        ("at five p m, yes", "at 5 p.m., yes"),
        ("one-two-year-old", "12-year-old"),
        ("«one two» — one", "«12» — one"),
        ("a-b  c", "a-b  c"),
        ("?!", "?!"),
        ("", ""),
    ],
)
def test_marks_stay_and_nothing_is_combined_across_them(spoken: str, text: str) -> None:
    assert written(spoken) == text


@pytest.mark.parametrize(
    ("spoken", "text"),
    [
        ("one two f*** five one", "12 f*** 51"),
        ("f***", "f***"),
        ("five f*** p m", "five f*** p m"),
        ("f*** f*** one two", "f*** f*** 12"),
    ],
)
def test_a_masked_word_is_no_concern_of_the_grammar(spoken: str, text: str) -> None:
    assert written(spoken) == text


def test_words_and_what_is_between_them_are_the_text() -> None:
    parts, marks = split("Well, twenty-five (25%) p.m. — ok?", at_hyphens=True)
    assert [part.word for part in parts] == ["Well", "twenty", "five", "25%", "p.m", "ok"]
    assert [part.joins for part in parts[1:]] == [False, True, False, False, False]
    assert "".join(part.before + part.word for part in parts) + marks == (
        "Well, twenty-five (25%) p.m. — ok?"
    )
    assert split("vingt-cinq", at_hyphens=False) == ([Part("", "vingt-cinq")], "")


def test_words_are_settled_when_enough_is_known_behind_them() -> None:
    form, grammar = WrittenForm("en"), Digits()

    def partial(text: str) -> tuple[str, int]:
        return finish(form.partial(text, len(text)), grammar)

    assert partial("at one") == ("at one", 0)
    assert partial("at one two") == ("at 12", 0)
    assert partial("at one two for the rest") == ("at 12 for the rest", 0)
    assert partial("at one two for the rest of it and so on") == (
        "at 12 for the rest of it and so on",
        len("at 12 for the rest"),
    )
    assert partial("at one two for the rest of it and so on. I see") == (
        "at 12 for the rest of it and so on. I see",
        len("at 12 for the rest of it and so on"),
    )


def test_the_tail_is_written_too_and_settles_nothing() -> None:
    form, grammar = WrittenForm("en"), Digits()
    text = "one two three four five six seven eight"
    assert finish(form.partial(text, 3), grammar) == ("12 three four five six seven eight", 0)
    assert finish(form.partial("one", 3), grammar) == ("one", 0)


def test_digits_without_end_are_settled_in_pieces_and_cost_no_more() -> None:
    words = ["one", "two"] * 200
    costs = []
    for n_words in (100, 200, 400):
        grammar = Digits()
        text, _ = finish(WrittenForm("en").final(" ".join(words[:n_words])), grammar)
        # A digit left alone by the end stays a word.
        assert text.replace(" ", "").replace("two", "2") == "12" * (n_words // 2)
        costs.append(grammar.n_read / n_words)
    assert costs[2] == pytest.approx(costs[1], rel=0.1)
    assert costs[2] < MAX_PENDING_WORDS


def test_what_cannot_be_split_is_settled_whole() -> None:
    parts = tuple(Part(" ", "one") for _ in range(MAX_PENDING_WORDS + 1))
    assert write(Task((), parts, ()), Digits()).settled == " " + "1" * len(parts)


@settings(max_examples=500)
@given(
    st.lists(st.sampled_from("one two five p m a, b. one-two ... «a».".split()), max_size=50),
    st.lists(
        st.tuples(st.integers(0, 250), st.sampled_from(["", " one", "x two", "."])), max_size=9
    ),
)
def test_promises_one_and_three(words: list[str], cuts: list[tuple[int, str]]) -> None:
    text = " ".join(words)
    form, grammar = WrittenForm("en"), Digits()
    stable = ""
    for cut, tail in sorted(cuts):
        certain = text[:cut].rstrip()
        shown, stable_len = finish(form.partial(certain + tail, len(certain)), grammar)
        assert len(stable) <= stable_len <= len(shown)
        assert shown.startswith(stable), "promise 1"
        stable = shown[:stable_len]
    whole, whole_len = finish(form.final(text), grammar)
    assert whole.startswith(stable), "promise 1"
    assert whole_len == len(whole)
    assert whole == written(text), "promise 3: the partials between do not matter"
    assert finish(form.final("one two"), grammar)[0] == "12", "the next utterance"

from __future__ import annotations

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from siren_grpc.text.options import TextOptions
from siren_grpc.text.spoken_form import SpokenForm

LOWER = TextOptions(is_lower_case=True)
WORDS = frozenset({"ab", "a", "ab'a", "bab", "bé", "'b"})


def final(text: str, options: TextOptions = LOWER) -> str:
    return SpokenForm(options).final(text)


@pytest.mark.parametrize(
    ("text", "lower"),
    [
        ("Hello, it's five P.M.", "hello it's five p.m"),
        ("«Was?» — Nein...", "was nein"),
        ("— Yes", "yes"),
        ("5% of R&D, twenty-five", "5% of r&d twenty-five"),
        ("ΑΣ ΣΑΣ", "ασ σασ"),
        ("?!", ""),
        ("", ""),
    ],
)
def test_small_letters_without_marks(text: str, lower: str) -> None:
    assert final(text) == lower


def test_masks_leave_everything_else_as_it_is() -> None:
    options = TextOptions(masked_words=frozenset({"damn"}))
    assert final("Oh, DAMN! It's — fine.", options) == "Oh, D***! It's — fine."


def test_a_word_that_may_still_be_masked_is_shown_and_not_stable() -> None:
    form = SpokenForm(TextOptions(masked_words=frozenset({"ass"})))
    assert form.partial("an as", 5) == ("an as", 3)
    assert form.partial("an ass", 6) == ("an a**", 3)
    assert form.partial("an assu", 7) == ("an assu", 7)
    assert form.final("an assumption") == "an assumption"


def test_a_mark_that_may_turn_out_to_be_within_a_word_is_not_shown_yet() -> None:
    form = SpokenForm(LOWER)
    assert form.partial("P.", 2) == ("p", 1)
    assert form.partial("P.M", 3) == ("p.m", 3)
    assert form.partial("P.M. Yes", 8) == ("p.m yes", 7)


def test_the_next_utterance_starts_afresh() -> None:
    form = SpokenForm(LOWER)
    form.partial("One two", 7)
    assert form.final("One two.") == "one two"
    assert form.partial("Three", 5) == ("three", 5)
    form.restart()
    assert form.partial("Four", 4) == ("four", 4)


def test_a_single_word() -> None:
    form = SpokenForm(TextOptions(is_lower_case=True, masked_words=frozenset({"damn"})))
    assert [form.word(word) for word in ("Damn!", "It", "—")] == ["d***", "it", ""]


@settings(max_examples=500)
@given(
    st.text(alphabet="abAB'\u2019.-Σ éé\u0301\u0323ß ", max_size=40),
    st.lists(
        st.tuples(st.integers(0, 40), st.text(alphabet="ab'\u2019\u0301. ", max_size=5)),
        max_size=12,
    ),
    st.booleans(),
    st.booleans(),
)
def test_the_stable_prefix_never_changes_and_the_final_is_as_at_once(
    text: str, cuts: list[tuple[int, str]], is_lower_case: bool, masks: bool
) -> None:
    text = " ".join(text.split())
    options = TextOptions(is_lower_case, WORDS if masks else frozenset())
    form = SpokenForm(options)
    stable = ""
    for cut, tail in sorted(cuts):
        certain = text[:cut].rstrip()
        shown, stable_len = form.partial(certain + tail, len(certain))
        assert len(stable) <= stable_len <= len(shown)
        assert shown.startswith(stable), "promise 1"
        stable = shown[:stable_len]
        if not cut:
            assert stable == ""
    at_once = final(text, options)
    assert form.final(text) == at_once
    assert at_once.startswith(stable), "promise 1"
    if is_lower_case:
        assert at_once == at_once.lower() or "Σ" in text
        assert len(at_once.split()) <= len(text.split())
